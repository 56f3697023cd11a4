"""Verdicts of labelled pairs: shares and precision, by hand and by group."""

import csv
from pathlib import Path

import pytest

from app.errors import UnreadableFile
from training import sources
from training.called import verdict_figures
from training.pairs import LabelledPair

PAIRS = [
    LabelledPair("a?", "b?", is_duplicate=True),
    LabelledPair("a?", "c?", is_duplicate=True),
    LabelledPair("a?", "d?", is_duplicate=False),
    LabelledPair("e?", "f?", is_duplicate=False),
]


def test_shares_precision_and_recall_of_all_and_of_each_group() -> None:
    groups = {PAIRS[0]: "domain bikes", PAIRS[2]: "domain bikes", PAIRS[3]: "domain pets"}
    figures = verdict_figures(["duplicate", "review", "duplicate", "different"], PAIRS, [groups])
    assert figures["all"] == {
        "pairs": 4,
        "duplicate": 0.5,
        "review": 0.25,
        "different": 0.25,
        "precision": 0.5,
        "recall": 0.5,
    }
    bikes = figures["domain bikes"]
    assert (bikes["pairs"], bikes["precision"], bikes["recall"]) == (2, 0.5, 1.0)
    pets = figures["domain pets"]
    assert (pets["different"], pets["precision"], pets["recall"]) == (1.0, None, None)


def test_groups_are_the_values_of_a_column(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    rows = [("bikes", "a?", "b?", 1), ("pets", "e?", "f?", 0)]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("domain", "question1", "question2", "is_duplicate"), *rows])
    assert sources.groups([str(file)], "domain") == {
        PAIRS[0]: "domain bikes",
        PAIRS[3]: "domain pets",
    }
    with pytest.raises(UnreadableFile, match="kind"):
        sources.groups([str(file)], "kind")
