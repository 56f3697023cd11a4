"""Data sets as `datasets` finds them: a folder laid out like the hub's, with its subsets and their columns."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from app.errors import CommandError
from training.pairs import LabelledPair, read_dataset

Rows = Sequence[Mapping[str, Any]]

TRIPLETS = [
    {"anchor": "a", "positive": "b", "negative": "c"},
    {"anchor": "d", "positive": "e", "negative": "f"},
]
SUBSETS: Mapping[str, Rows] = {
    "pair-class": [
        {"sentence1": "a", "sentence2": "b", "label": 1},
        {"sentence1": "c", "sentence2": "d", "label": 0},
    ],
    "pair": [{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d"}],
    "triplet": TRIPLETS,
    "triplet-all": [*TRIPLETS, {"anchor": "a", "positive": "b", "negative": "g"}],
    "triplet-hard": [{"anchor": "a", "positive": "b", "negative_1": "c", "negative_2": "d"}],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def data_set(folder: Path, subsets: Mapping[str, Rows]) -> str:
    """A folder as the hub has it: a README that names the subsets, and their files."""
    configs = [f"- config_name: {name}\n  data_files: {name}/train.jsonl" for name in subsets]
    for name, rows in subsets.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "train.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), "utf-8"
        )
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n", "utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ("pair-class", [("a", "b", True), ("c", "d", False)]),
        ("pair", [("a", "b", True), ("c", "d", True)]),
        ("triplet", [("a", "b", True), ("a", "c", False), ("d", "e", True), ("d", "f", False)]),
        (
            "triplet-all",
            [
                *(("a", "b", True), ("a", "c", False), ("d", "e", True), ("d", "f", False)),
                *(("a", "b", True), ("a", "g", False)),
            ],
        ),
        ("triplet-hard", [("a", "b", True), ("a", "c", False), ("a", "d", False)]),
    ],
)
def test_each_subset_of_the_source_gives_its_pairs(
    tmp_path: Path, subset: str, expected: list[tuple[str, str, bool]]
) -> None:
    found = read_dataset(data_set(tmp_path / "quora-duplicates", SUBSETS), subset)
    assert found == [LabelledPair(*values) for values in expected]


def test_other_columns_are_mapped(tmp_path: Path) -> None:
    rows = [{"q1": "a", "q2": "b", "same": 1}, {"q1": "c", "q2": "d", "same": 0}]
    name = data_set(tmp_path / "mine", {"all": rows})
    assert read_dataset(name, "all", ("q1", "q2", "same"))[1] == LabelledPair(
        "c", "d", is_duplicate=False
    )
    with pytest.raises(
        CommandError, match=r"row 1 has no column 'sentence1'; it has 'q1', 'q2', 'same'"
    ):
        read_dataset(name, "all")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [{"sentence1": "a", "sentence2": "b", "label": None}],
            "row 1: the label must be 0 or 1, not None",
        ),
        ([{"sentence1": "a", "sentence2": " ", "label": 1}], "row 1: both questions must be texts"),
        ([{"sentence1": "a", "sentence2": "b", "label": 1}], "needs pairs of both classes"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, rows: Rows, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        read_dataset(data_set(tmp_path / "mine", {"pair-class": rows}), "pair-class")


def test_a_subset_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't load the data set"):
        read_dataset(data_set(tmp_path / "mine", SUBSETS), "nothing")
