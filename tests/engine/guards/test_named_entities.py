"""Other names fire, abbreviations and other forms don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "Which bank in Zurich takes US citizens?",
            "Which bank in Geneva takes US citizens?",
            "differs: Zurich → Geneva",
        ),
        ("how do i pay with paypal", "how do i pay with klarna", "differs: paypal → klarna"),
        (
            "When did the UN move to New York?",
            "When did the United Nations move to New York?",
            None,
        ),
        ("Who was JFK's vice president?", "Who was John F. Kennedy's vice president?", None),
        (
            "What did Einstein get the prize for?",
            "What did Albert Einstein get the prize for?",
            None,
        ),
        ("Which hotels are in Bangalore city?", "Which hotels are in Banglore city?", None),
        ("Is Dr. Weber in today?", "Is Dr. Meyer in today?", "differs: Weber → Meyer"),
        ("HOW DO I PAY IN ROME TODAY", "HOW DO I PAY IN OSLO TODAY", None),
        (
            "Do you deliver orders to the US?",
            "Do you deliver orders to the UK?",
            "differs: US → UK",
        ),
        (
            "Is a US passport valid for the tour?",
            "Is a German passport valid for the tour?",
            "differs: US → German",
        ),
        ("Can you help us with the order?", "Can you help Anna with the order?", None),
        ("CAN YOU HELP US WITH IT?", "can you help us with it?", None),
        ("Is 1GB enough for the app?", "Is 1000 MB enough for the app?", None),
        ("Is 50 Mbps enough for it?", "Is 50 Mbit/s enough for it?", None),
        (
            "How long is a marathon from Athens?",
            "How long is a 10K from Athens?",
            "differs: marathon → K",
        ),
        ("How do I get a visa for the US?", "How do I get a visa for the U.S.?", None),
        ("best college in the U.S.A.", "best college in the USA", None),
        ("best college in the U.S.", "best college in the U.K.", "differs: U.S. → U.K."),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("named_entities", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "named_entities",
        "Which bank in Zurich takes US citizens?",
        "Which bank in Geneva takes US citizens?",
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("entity", ((14, 20),), ((14, 20),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("named_entities")
    assert precision >= 1.0
    assert recall >= 0.975
