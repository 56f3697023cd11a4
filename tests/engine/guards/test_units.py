"""Other units fire, equal amounts don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "How much is a fence of 40 metres?",
            "How much is a fence of 40 feet?",
            "the units differ: 40 metres → 40 feet",
        ),
        ("How long is 1 km?", "How long is 1000 m?", None),
        (
            "I earn 15 pounds an hour.",
            "I earn 15 euros an hour.",
            "the units differ: 15 pounds → 15 euros",
        ),
        (
            "Is 20 °C warm enough for a baby?",
            "Is 20 °F warm enough for a baby?",
            "the units differ: 20 °C → 20 °F",
        ),
        (
            "What is the price per kilo?",
            "What is the price per piece?",
            "the units differ: kilo → piece",
        ),
        (
            "What does it cost to print 50 pages a month?",
            "What does it cost to print 50 pages a day?",
            "the units differ: a month → a day",
        ),
        ("Do you deliver within 24 hours?", "Do you deliver within a day?", None),
        ("Is $20 enough for food?", "Is €20 enough for food?", "the units differ: $20 → €20"),
        ("Is a delay of 1 hour 30 enough?", "Is a delay of 90 min enough?", None),
        ("Do I pay tax on $60k?", "Do I pay tax on $60m?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("units", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "units", "How much is a fence of 40 metres?", "How much is a fence of 40 feet?"
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("unit", ((23, 32),), ((23, 30),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("units")
    assert precision >= 1.0
    assert recall >= 0.975
