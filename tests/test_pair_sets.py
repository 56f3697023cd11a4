"""The form of the sets of pairs in `tests/data`: their columns, counts and labels, and no pair twice."""

import csv
from collections import Counter
from pathlib import Path

import pytest

SETS = Path(__file__).parent / "data"
GUARDS = (
    "actor",
    "direction_and_roles",
    "identifiers_and_options",
    "kind_of_question",
    "named_entities",
    "negation_and_opposites",
    "numbers",
    "time",
    "units",
    "versions",
)
KINDS_OF_COMPLAINTS = {
    "0": {
        "roles": 17,
        "opposite": 14,
        "negation": 7,
        "identifier": 6,
        "entity": 6,
        "case": 6,
        "number": 5,
        "version": 4,
        "unit": 3,
        "actor": 3,
        "time": 3,
        "scope": 3,
        "question": 3,
        "accent": 3,
        "emoji": 3,
        "script": 3,
        "cut": 3,
        "form": 2,
    },
    "1": {"paraphrase": 44, "surface": 12},
}
KINDS_OF_OTHER_LANGUAGES = {
    "0": {"german": 34, "french": 33, "spanish": 33},
    "1": {"german": 10, "french": 10, "spanish": 10},
}
SETS_OF_KINDS = {"complaints": KINDS_OF_COMPLAINTS, "other_languages": KINDS_OF_OTHER_LANGUAGES}
FILES = [*SETS_OF_KINDS, *(f"guards/{guard}" for guard in GUARDS)]


def read(name: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a set."""
    text = (SETS / f"{name}.tsv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.split("\n")[:-1], delimiter="\t", quoting=csv.QUOTE_NONE)
    return header, rows


@pytest.mark.parametrize("name", FILES)
def test_a_pair_has_two_texts_that_differ_and_stands_once_in_its_set(name: str) -> None:
    header, rows = read(name)
    pairs = Counter(frozenset(row[:2]) for row in rows)

    assert [row for row in rows if len(row) != len(header)] == []
    assert [row for row in rows if not row[0].strip() or not row[1].strip()] == []
    assert [pair for pair in pairs if len(pair) == 1] == []
    assert [pair for pair, count in pairs.items() if count > 1] == []


@pytest.mark.parametrize("name", SETS_OF_KINDS)
def test_a_set_of_kinds_has_the_columns_and_counts_of_its_description(name: str) -> None:
    header, rows = read(name)
    counts = {label: Counter(row[3] for row in rows if row[2] == label) for label in ("0", "1")}

    assert header == ["question1", "question2", "is_duplicate", "kind"]
    assert counts == SETS_OF_KINDS[name]
    assert len(rows) == sum(counts["0"].values()) + sum(counts["1"].values())


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_has_as_many_pairs_that_must_fire_as_pairs_that_must_not(guard: str) -> None:
    header, rows = read(f"guards/{guard}")

    assert header == ["question1", "question2", "must_fire"]
    assert Counter(row[2] for row in rows) == {"0": 40, "1": 40}


def test_every_file_of_pairs_for_a_guard_is_known() -> None:
    assert sorted(path.stem for path in (SETS / "guards").iterdir()) == list(GUARDS)


def test_the_texts_of_a_cut_pair_are_long_and_differ_in_their_last_sentence_alone() -> None:
    _, rows = read("complaints")
    for first, second, _, kind in rows:
        if kind == "cut":
            shared, first_end = first.rsplit(". ", 1)
            assert second.startswith(f"{shared}. ")
            assert first_end not in second
            assert len(shared.split()) >= 350
