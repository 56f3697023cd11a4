"""Somebody else fires, other words for one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "May a guest use the gym?",
            "May a member use the gym?",
            "about somebody else: guest → member",
        ),
        (
            "How do I change my password?",
            "How do I change my son's password?",
            "only one is about son's",
        ),
        ("What does a doctor earn?", "What does a physician earn?", None),
        ("How do I boil an egg?", "How does one boil an egg?", None),
        (
            "How do I book a seat for my mother?",
            "How do I book a seat for myself?",
            "about somebody else: mother → myself",
        ),
        ("My friend asked me: is tea healthy?", "Is tea healthy?", None),
        ("Can my daughter vote at her age?", "Can my child vote at her age?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("actor", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference("actor", "May a guest use the gym?", "May a member use the gym?")
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("actor", ((6, 11),), ((6, 12),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("actor")
    assert precision >= 0.975
    assert recall >= 0.975
