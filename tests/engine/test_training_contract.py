"""What the service and its training child write for each other is read back, and what is broken is named."""

import json
from pathlib import Path

import pytest

from app.engine.training_contract import (
    GateReport,
    GivenLabel,
    MoreLabels,
    PairToLabel,
    Progress,
    Request,
    Result,
    read_lines,
    read_one,
    write_lines,
    write_one,
)
from app.errors import CommandError

LABELS = [
    GivenLabel("Who pays?", "Who must pay?", True, True, False),
    GivenLabel("Où?", "Wo?\n", False, False, True),
]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    report = GateReport(
        "not enough evidence",
        ["labels: too few"],
        more_labels=MoreLabels(100, "both", "why"),
        to_label=[PairToLabel("a", "b", "one", "other", 0.5)],
    )
    for value in (
        Request(tmp_path, tmp_path / "new", "both", margin=0.01),
        Progress("training", 3, 10, 0.25, 60.0),
        Result("new", report),
    ):
        write_one(tmp_path / "file.json", value)
        assert read_one(tmp_path / "file.json", type(value)) == value
    write_lines(tmp_path / "labels.jsonl", LABELS)
    assert read_lines(tmp_path / "labels.jsonl", GivenLabel) == LABELS
    assert len((tmp_path / "labels.jsonl").read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "null"])
def test_a_loss_that_is_no_number_is_none(number: str, tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    file.write_text(f'{{"phase": "training", "step": 1, "loss": {number}}}', "utf-8")
    assert read_one(file, Progress) == Progress("training", 1)
    write_one(file, Progress("training", loss=float(number.replace("null", "nan"))))
    assert json.loads(file.read_text("utf-8"))["loss"] is None


def test_what_is_broken_is_named_and_its_text_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    broken = json.dumps({"question1": "secret", "question2": 5, "is_duplicate": True})
    file.write_text("\n" + broken, "utf-8")
    with pytest.raises(CommandError, match=r"labels\.jsonl:2: question2") as error:
        read_lines(file, GivenLabel)
    assert "secret" not in str(error.value)
    with pytest.raises(CommandError, match="can't read"):
        read_one(tmp_path / "gone.json", Result)
    file.write_text('{"release": "x", "ga', "utf-8")
    with pytest.raises(CommandError, match=r"labels\.jsonl"):
        read_one(file, Result)


def test_a_label_counts_if_it_stands_between_two_questions() -> None:
    assert [label.counts for label in LABELS] == [True, False]
    assert not GivenLabel("Who pays?", "who  PAYS?", True, True, False).counts
