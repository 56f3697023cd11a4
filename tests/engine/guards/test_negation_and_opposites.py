"""A negation or an opposite fires, two that cancel and a polite one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "How do I turn on the oven light?",
            "How do I turn off the oven light?",
            "opposite: turn on → turn off",
        ),
        (
            "Which apps are allowed here?",
            "Which apps are not allowed here?",
            "only one of the two says “not”",
        ),
        ("Why don't I get mail?", "Why do I get mail?", "only one of the two says “not”"),
        (
            "how can i see it if i dont have an account",
            "how can i see it if i have an account",
            "only one of the two says “not”",
        ),
        ("Who pays a paid leave?", "Who pays an unpaid leave?", "opposite: paid → unpaid"),
        ("The invoice is not correct.", "The invoice is incorrect.", None),
        ("Isn't it too late to apply?", "Is it too late to apply?", None),
        ("Can't you deliver on Friday?", "Can you deliver on Friday?", None),
        ("The shop is closed.", "The shop is not open.", None),
        ("Which plants need little sun?", "Which plants need much sun?", "opposite: little → much"),
        ("Why is my parcel missing?", "Why has my parcel not come?", None),
        ("The lid of the jar is stuck", "The lid won't come off the jar", None),
        ("I lost access to the shared drive", "I have no access to the shared drive now", None),
        ("sugar free lemon cake", "lemon cake without sugar", None),
        ("How do I stop glasses fogging?", "How do I prevent glasses from fogging?", None),
        ("How is paper made from wood?", "How is paper removed from wood?", None),
        ("Is it dangerous to burn plastic?", "How do I safely burn plastic?", None),
        ("Is it older than the tower?", "Is the tower younger than it?", None),
        ("Where is invoice no. 4711?", "Where is invoice number 4711?", None),
        ("Is flight no 12 late?", "Is flight 12 late?", None),
        (
            "Do you offer no 12-month contract?",
            "Do you offer a 12-month contract?",
            "only one of the two says “no”",
        ),
        (
            "My discount code isn't working at checkout",
            "My discount code is invalid at checkout",
            None,
        ),
        ("How do I switch to a cheaper plan?", "How do I switch to a less expensive plan?", None),
        (
            "How do I get the less expensive plan?",
            "How do I get the more expensive plan?",
            "opposite: less → more",
        ),
        ("Why is the item out of stock?", "Why is the item not in stock?", None),
        (
            "How do I turn on dark mode?",
            "How do I turn dark mode off?",
            "opposite: turn on → turn dark mode off",
        ),
        ("Can I recall an email in Outlook?", "Can I recall an email that has gone out?", None),
        (
            "How do I login to the portal?",
            "How do I logout of the portal?",
            "opposite: login → logout",
        ),
        (
            "My phone shows no 5G signal",
            "My phone shows a 5G signal",
            "only one of the two says “no”",
        ),
        (
            "Does it include no 2 year warranty?",
            "Does it include a 2 year warranty?",
            "only one of the two says “no”",
        ),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("negation_and_opposites", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "negation_and_opposites",
        "How do I turn on the oven light?",
        "How do I turn off the oven light?",
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == (
        "opposite",
        ((9, 13), (14, 16)),
        ((9, 13), (14, 17)),
    )


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("negation_and_opposites")
    assert precision >= 0.948
    assert recall >= 0.925
