"""Labelled pairs: good files by value, bad ones named by file and line."""

from pathlib import Path

import pytest

from app.errors import CommandError
from tests.engine.rows.test_delimited import QUORA, QUORA_PAIRS
from training.pairs import LabelledPair, fingerprint, read_pairs, write_pairs

HEADER = "question1\tquestion2\tis_duplicate\n"


def written(path: Path, content: str) -> Path:
    path.write_text(content, "utf-8")
    return path


def test_reads_columns_by_name(tmp_path: Path) -> None:
    file = written(
        tmp_path / "p.tsv", "id\tis_duplicate\tquestion2\tquestion1\n1\t1\tb\ta\n2\t0\td\tc\n"
    )
    assert read_pairs(file) == [LabelledPair("a", "b", True), LabelledPair("c", "d", False)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a\tb\t2", "the label must be 0 or 1, not '2'"),
        ("a\tb\tnan", "the label must be 0 or 1, not 'nan'"),
        ("a\tb", "has 2 columns, the header has 3"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    file = written(tmp_path / "p.tsv", f"{HEADER}a\tb\t1\n{line}\n")
    with pytest.raises(CommandError, match=rf"p\.tsv:3: {words}"):
        read_pairs(file)


def test_quoras_own_file_reads_as_it_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "quora_duplicate_questions.tsv", QUORA)
    assert read_pairs(file) == [
        LabelledPair(*texts, said)
        for texts, said in zip(QUORA_PAIRS, (False, False, True, True, False, False), strict=True)
        if texts[0]
    ]
    assert "1 pairs with a blank question left out" in capsys.readouterr().err


@pytest.mark.parametrize("rows", ["", "a\tb\t1\nc\td\t1\n"])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(CommandError, match="needs pairs of both classes"):
        read_pairs(written(tmp_path / "p.tsv", HEADER + rows))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no column 'is_duplicate'"):
        read_pairs(written(tmp_path / "p.tsv", "question1\tquestion2\na\tb\n"))


def test_the_fingerprint_is_of_the_pairs_and_not_of_their_order() -> None:
    one, other = LabelledPair("a", "b", True), LabelledPair("c", "d", False)
    assert fingerprint([one, other]) == fingerprint([other, one])
    assert fingerprint([one]) != fingerprint([LabelledPair("a", "b", False)])


def test_pairs_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A training takes a file that is there for whole."""
    pairs = [LabelledPair("a", "b", True), LabelledPair("c", "\ud800", False)]
    with pytest.raises(UnicodeEncodeError):
        write_pairs(tmp_path / "p.jsonl", pairs)
    assert not list(tmp_path.iterdir())
