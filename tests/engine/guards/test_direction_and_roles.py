"""Exchanged roles fire, passives and lists don't."""

import pytest

from tests.engine.guards.pairs import difference, fires, sentence


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            "How do I convert JSON to YAML?",
            "How do I convert YAML to JSON?",
            "swapped: JSON and YAML",
        ),
        (
            "Can a patient report his doctor?",
            "Can a doctor report his patient?",
            "swapped: patient and doctor",
        ),
        ("Did the dog bite the postman?", "Was the postman bitten by the dog?", None),
        (
            "Did the dog bite the postman?",
            "Was the dog bitten by the postman?",
            "swapped: dog and postman",
        ),
        ("How far is Ulm from Graz?", "How far is Graz from Ulm?", None),
        (
            "Are cats and dogs able to live together?",
            "Are dogs and cats able to live together?",
            None,
        ),
        (
            "From Paris to Nice, which train is fastest?",
            "Which is the fastest train from Paris to Nice?",
            None,
        ),
        ("Is a kilo heavier than a pound?", "Is a pound lighter than a kilo?", None),
        ("Can I contact support by phone?", "Can I phone support?", None),
        ("Can I return the parcel by post?", "Can I post the parcel to return it?", None),
        ("How do I pay the invoice by card?", "How do I use a card to pay the invoice?", None),
        ("How do I use the app by Google?", "How do I use the Google app?", None),
        (
            "Can the parcel be found by its owner?",
            "Can the owner be found by his parcel?",
            "swapped: parcel and owner",
        ),
        ("People killed by police", "People killed police", "swapped: People and police"),
        ("Did Anna hurt Bob?", "Was Anna hurt by Bob?", "swapped: Anna and Bob"),
        (
            "Was Anna attacked with a knife by Bob?",
            "Did Anna attack Bob with a knife?",
            "swapped: Anna and Bob",
        ),
        ("Can a bear get killed by a wolf?", "Can a bear kill a wolf?", "swapped: bear and wolf"),
        ("Which book was written by Anna?", "Which book did Anna write?", None),
        ("Songs covered by Anna", "Songs Anna covered", None),
        (
            "Is lactose intolerance the same as a milk allergy?",
            "Is a milk allergy the same as lactose intolerance?",
            None,
        ),
    ],
)
def test_it_says_what_differs(first: str, second: str, expected: str | None) -> None:
    assert sentence("direction_and_roles", first, second) == expected


def test_the_places_are_those_of_what_differs() -> None:
    seen = difference(
        "direction_and_roles", "How do I convert JSON to YAML?", "How do I convert YAML to JSON?"
    )
    assert seen
    assert (seen.code, seen.spans1, seen.spans2) == (
        "direction",
        ((17, 21), (25, 29)),
        ((17, 21), (25, 29)),
    )


def test_it_fires_where_it_must_and_seldom_elsewhere() -> None:
    precision, recall = fires("direction_and_roles")
    assert precision >= 1.0
    assert recall >= 0.875
