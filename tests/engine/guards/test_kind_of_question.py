"""Another kind of question fires, other words for one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("Why is my account locked?", "How do I lock my account?", "another question: why → how"),
        ("Why is the sea green?", "How come the sea is green?", None),
        ("What's the price of a ticket?", "How much is a ticket?", None),
        ("Could you tell me where the exit is?", "Where is the exit?", None),
        (
            "Could you tell me where the exit is?",
            "When is the exit open?",
            "another question: where → when",
        ),
        ("Does the map show me where the bus is?", "Does the map show where the bus is?", None),
        ("Do you know when the shop opens?", "When does the shop open?", None),
        ("Is it possible to pay later?", "How can I pay later?", None),
        ("I want to close my account.", "How do I close my account?", None),
        (
            "How old is the oak tree?",
            "How tall is the oak tree?",
            "another question: how old → how tall",
        ),
        (
            "My order was cancelled. Why?",
            "Was my order cancelled?",
            "another question: why → whether",
        ),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("kind_of_question", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference("kind_of_question", "Why is my account locked?", "How do I lock my account?")
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("question", ((0, 3),), ((0, 3),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("kind_of_question")
    assert precision >= 1.0
    assert recall >= 0.7
