"""Other times fire, other words for one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "What should I eat before a marathon?",
            "What should I eat after a marathon?",
            "the time differs: before → after",
        ),
        ("What should I eat before a marathon?", "What should I eat prior to a marathon?", None),
        (
            "Is the office open on Saturday?",
            "Is the office open on Mondays?",
            "the time differs: Saturday → Mondays",
        ),
        (
            "Why was the pool shut last week?",
            "Why will the pool be shut next week?",
            "the time differs: last → next",
        ),
        (
            "What has the council decided?",
            "What will the council decide?",
            "the time differs: has → will",
        ),
        ("Who is the mayor?", "Who was the mayor?", "the time differs: is → was"),
        ("Did the train leave on time?", "Has the train left on time?", None),
        (
            "How do I save the file every hour?",
            "How do I save the file every day?",
            "the time differs: hour → day",
        ),
        ("I soaked it for three days", "I soaked it for three nights", None),
        ("Is it open on 3 June?", "Is it open on 3 July?", "the time differs: June → July"),
        ("Is it open in May?", "Is it open in June?", "the time differs: May → June"),
        ("Is it open on May 3?", "Is it open on June 3?", "the time differs: May → June"),
        ("May I open it in June?", "Can I open it in June?", None),
        (
            "Does it cost 5€ monthly?",
            "Does it cost 5€ yearly?",
            "the time differs: monthly → yearly",
        ),
        (
            "Was the temple built in 20 BC?",
            "Was the temple built in 20 AD?",
            "the time differs: BC → AD",
        ),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("time", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "time", "What should I eat before a marathon?", "What should I eat after a marathon?"
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("time", ((18, 24),), ((18, 23),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("time")
    assert precision >= 1.0
    assert recall >= 0.85
