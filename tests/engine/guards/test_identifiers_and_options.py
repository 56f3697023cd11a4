"""Other codes and options fire, other ways to write one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("What does curl -o do?", "What does curl -O do?", "the codes differ: -o → -O"),
        ("My oven shows E18", "My oven shows e18", None),
        ("My oven shows E18", "My oven shows E81", "the codes differ: E18 → E81"),
        (
            "How do I match \\w in a pattern?",
            "How do I match \\W in a pattern?",
            "the codes differ: \\w → \\W",
        ),
        ("Toner for the AX-300?", "Toner for the AX 300?", None),
        (
            "The variable max_len is undefined",
            "The variable min_len is undefined",
            "the codes differ: max_len → min_len",
        ),
        (
            "Why does the server answer 403?",
            "Why does the server answer 404?",
            "the codes differ: 403 → 404",
        ),
        ("Are X-rays free?", "Is an x-ray free?", None),
        ("My parcel of 5kg is lost", "My parcel of 6kg is lost", None),
        (
            "What does getUserName do in Java?",
            "What does setUserName do in Java?",
            "the codes differ: getUserName → setUserName",
        ),
        ("How do I sort a list in C?", "How do I sort a list in C++?", "the codes differ: C → C++"),
        (
            "How do I sort a list in C#?",
            "How do I sort a list in C++?",
            "the codes differ: C# → C++",
        ),
        ("Is an iPhone cheaper?", "Is an eBay phone cheaper?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("identifiers_and_options", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference("identifiers_and_options", "What does curl -o do?", "What does curl -O do?")
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("identifier", ((15, 17),), ((15, 17),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("identifiers_and_options")
    assert precision >= 1.0
    assert recall >= 1.0
