"""Other versions fire, other numbers with points don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "Does it run on Firefox 102?",
            "Does it run on Firefox 115?",
            "the versions differ: 102 → 115",
        ),
        ("upgrade postgres 12 to 15", "upgrade postgres 12 to 14", "the versions differ: 15 → 14"),
        (
            "since 6.5.0 the search is slow",
            "since 6.0.5 the search is slow",
            "the versions differ: 6.5.0 → 6.0.5",
        ),
        ("Is version 5.0 out?", "Is v5 out?", None),
        ("I paid 3.99 for the app.", "I paid 4.99 for the app.", None),
        ("Who was born on 3.10.1990?", "Who was born on 3.11.1990?", None),
        ("Does the server listen on 127.0.0.1?", "Does the server listen on 127.0.0.2?", None),
        ("Is HTML5 still used?", "Is HTML 5 still used?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("versions", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference("versions", "Does it run on Firefox 102?", "Does it run on Firefox 115?")
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("version", ((23, 26),), ((23, 26),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("versions")
    assert precision >= 1.0
    assert recall >= 0.975
