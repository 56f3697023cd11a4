"""`sameask mine`: a file and a collection, to the same pairs."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.index.in_memory import IndexInMemory
from app.errors import CommandError
from tests.cli.commands import Sameask, assert_one_line, label_file, question_file


def test_a_collection_and_a_file_are_mined_to_the_same_pairs(
    sameask: Sameask, tmp_path: Path
) -> None:
    texts = ["Can I cancel my order?", "Can I cancel  my order?", "Who pays?", "Who may pay?"]
    file = question_file(tmp_path, rows=list(zip("abcd", texts, strict=True)))
    labels = label_file(tmp_path / "labels.csv", [(*texts[2:], "1", "anna", "")])
    assert sameask("import", file).code == 0
    assert sameask("labels", "import", labels).code == 0
    assert (
        "pairs in of_file.ndjson"
        in sameask("mine", file, "--out", "of_file.ndjson", "--similarity", 0.2).out
    )
    assert (
        sameask("mine", "-c", "default", "--out", "of_collection.ndjson", "--similarity", 0.2).code
        == 0
    )
    pairs = {
        name: {
            (p["id1"], p["id2"]): p
            for p in map(json.loads, (tmp_path / f"{name}.ndjson").read_text().splitlines())
        }
        for name in ("of_file", "of_collection")
    }
    assert pairs["of_file"].keys() == pairs["of_collection"].keys() >= {("a", "b"), ("c", "d")}
    assert {p["a", "b"]["verdict"] for p in pairs.values()} == {"duplicate"}
    assert pairs["of_collection"]["c", "d"]["verdict"] == "duplicate"  # a label says so


def test_questions_that_others_write_meanwhile_are_mined_too(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["Can I cancel my order?", "Can I cancel an order?", "Who pays?", "Who may pay?"]
    file = question_file(tmp_path, rows=list(zip("abcd", texts, strict=True)))
    assert sameask("import", file).code == 0
    mine = ("mine", "-c", "default", "--similarity", 0.2, "--out")
    assert sameask(*mine, "whole.ndjson").code == 0
    vectors = IndexInMemory.vectors

    def lacking(index: IndexInMemory, revisions: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        found = vectors(index, revisions)
        return {revision: found[revision] for revision in revisions if revision not in (2, 3)}

    monkeypatch.setattr(IndexInMemory, "vectors", lacking)
    assert sameask(*mine, "pairs.ndjson").code == 0
    whole, pairs = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("whole.ndjson", "pairs.ndjson")
    )
    assert len(pairs) == 6
    assert [(p["id1"], p["id2"]) for p in pairs] == [(p["id1"], p["id2"]) for p in whole]
    assert [p["similarity"] for p in pairs] == pytest.approx([p["similarity"] for p in whole])


def test_mining_is_refused_for_what_it_can_not_do(sameask: Sameask, tmp_path: Path) -> None:
    for named in ((), (question_file(tmp_path), "-c", "default")):
        refused = sameask("mine", *named, "--out", "pairs.ndjson")
        assert (refused.code, refused.out) == (2, "")
        assert "either a FILE or a --collection" in refused.err
    assert (
        sameask("mine", "-c", "default", "--out", "pairs.ndjson").err.strip()
        == "sameask: there are no questions to mine"
    )
    assert (
        "there is no collection 'none'"
        in sameask("mine", "-c", "none", "--out", "pairs.ndjson").err
    )
    for bound in ("--similarity", "--probability"):
        assert_one_line(
            sameask("mine", "-c", "default", "--out", "p.ndjson", bound, 1.5),
            f"{bound} must be above 0",
        )
    (tmp_path / "there.ndjson").write_text("precious")
    assert sameask("import", question_file(tmp_path)).code == 0
    refused = sameask("mine", "-c", "default", "--out", "there.ndjson")
    assert (refused.code, "exists: --overwrite replaces it" in refused.err) == (1, True)
    assert (tmp_path / "there.ndjson").read_text() == "precious"


def test_broken_rows_are_passed_over_on_request(sameask: Sameask, tmp_path: Path) -> None:
    rows = [("a", "Who pays?"), ("b", "\u200b \u00ad"), ("c", "Who pays?"), ("a", "Twice?")]
    file = question_file(tmp_path, rows=rows)
    refused = sameask("mine", file, "--out", "pairs.ndjson")
    assert refused.err.strip() == f"sameask: {file}:3: text must not be blank"
    mined = sameask("mine", file, "--out", "pairs.ndjson", "--skip-bad")
    assert mined.out == "1 pair in pairs.ndjson\n"
    lines = mined.err.splitlines()
    assert lines[:3] == [
        f"{file}:3: text must not be blank",
        f"{file}:5: id stands on line 2 already",
        "2 broken rows skipped",
    ]
    assert lines[3].startswith("making the data directory ")
    (pair,) = map(json.loads, (tmp_path / "pairs.ndjson").read_text().splitlines())
    assert (pair["id1"], pair["id2"], pair["ids1"], pair["id_count2"]) == ("a", "c", ["a", "c"], 2)


def test_progress_is_told_where_standard_error_is_no_terminal(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = question_file(tmp_path)
    (tmp_path / "data").mkdir()
    told = sameask("mine", file, "--out", "pairs.ndjson", "--similarity", 0.1).err.splitlines()
    phases = list(dict.fromkeys(line.partition(":")[0] for line in told))
    assert phases == ["embedding", "searching", "judging"]
    assert told[0] == "embedding: 0 of 3"
    assert "embedding: 3 of 3" in told


def test_the_wait_for_the_first_measurement_is_told(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word, the first run in a folder seems to hang for minutes."""

    def measuring(*_: object) -> NoReturn:
        logging.getLogger("app.engine.models.backends").info("measuring the encoder")
        raise CommandError("this is enough of it")

    monkeypatch.setattr("app.mining.sources.open_models", measuring)
    told = sameask("mine", question_file(tmp_path), "--out", "pairs.ndjson").err.splitlines()
    assert told == [
        f"making the data directory {tmp_path / 'data'} (SAMEASK_DATA_DIR names it)",
        "measuring the encoder",
        "sameask: this is enough of it",
    ]


def test_what_is_there_is_seen_before_a_model_is_loaded(sameask: Sameask, tmp_path: Path) -> None:
    file = question_file(tmp_path)
    (tmp_path / "there.ndjson").write_text("precious")
    for name, words in {
        "there.ndjson": "exists: --overwrite replaces it",
        "pairs.xlsx": "must end in .ndjson, .jsonl, .parquet",
    }.items():
        refused = sameask("mine", file, "--out", name)
        assert (refused.code, words in refused.err) == (1, True)
        assert len(refused.err.splitlines()) == 1  # no phase was begun
