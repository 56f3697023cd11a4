"""Other numbers fire, other ways to write one don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "Which rucksack fits a hiker of 1.80 m?",
            "Which rucksack fits a nine-year-old hiker of 1.40 m?",
            "the numbers differ: 1.80 → 1.40",
        ),
        (
            "Can I return a coat after 20 days?",
            "Can I return a coat after 90 days?",
            "the numbers differ: 20 → 90",
        ),
        ("a cake for eight people", "a cake for 18 people", "the numbers differ: eight → 18"),
        ("a cake for eight people", "a cake for 8 people", None),
        ("A loan of 1.2 million?", "A loan of 1,200,000?", None),
        ("Can I pay 1.000,50 € by card?", "Can I pay €1,000.50 by card?", None),
        ("Is the flight at 6:40?", "Is the flight at 18:40?", "the numbers differ: 6:40 → 18:40"),
        ("The meeting is at 3 pm.", "The meeting is at 15:00.", None),
        ("Who was Louis XIV?", "Who was Louis the 14th?", None),
        ("My train is 60 minutes late.", "My train is an hour late.", None),
        ("call 555 0142", "call 5550142", None),
        ("roots 2 and 5", "roots 2 and -5", "the numbers differ: 5 → -5"),
        ("What is in chapter 2?", "What is in the book?", None),
        ("Do you close at 5 pm?", "Do you close at 5 am?", "the numbers differ: 5 pm → 5 am"),
        (
            "Do you close at 5:30 p.m.?",
            "Do you close at 5:30 a.m.?",
            "the numbers differ: 5:30 p.m → 5:30 a.m",
        ),
        ("Do you close at 12 am?", "Do you close at 12 pm?", "the numbers differ: 12 am → 12 pm"),
        ("Do you close at 17:00?", "Do you close at 5 p.m.?", None),
        ("Is midnight 12 am?", "Is midnight 0:00?", None),
        (
            "Is the door 5 foot 6 high?",
            "Is the door 5 foot 10 high?",
            "the numbers differ: 5 foot 6 → 5 foot 10",
        ),
        (
            "Is parking free for 1 hour 30 minutes?",
            "Is parking free for 1 hour?",
            "the numbers differ: 1 hour 30 minutes → 1",
        ),
        ("Is parking free for 1 hour 30 minutes?", "Is parking free for 1.5 hours?", None),
        ("Is parking free for 3 hours and 30 minutes?", "Is parking free for 3.5 hours?", None),
        (
            "Can I take it once a day?",
            "Can I take it twice a day?",
            "the numbers differ: once → twice",
        ),
        (
            "Can I take it once a week?",
            "Can I take it three times a week?",
            "the numbers differ: once → three",
        ),
        ("Is it delivered in 1 day?", "Is it delivered in a day?", None),
        ("Do I pay tax on $60k?", "Do I pay tax on $60,000?", None),
        ("Do I pay tax on 60k €?", "Do I pay tax on 60 €?", "the numbers differ: 60k → 60"),
        ("Who runs a 5k?", "Who runs a 5 km?", None),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("numbers", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "numbers", "Can I return a coat after 20 days?", "Can I return a coat after 90 days?"
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == ("number", ((26, 28),), ((26, 28),))


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("numbers")
    assert precision >= 0.975
    assert recall >= 1.0
