"""Files as a command names them: the columns that it names are those of all of its files."""

from pathlib import Path

from tests.training.generated import generated_pairs
from training import sources
from training.pairs import LabelledPair, write_pairs

COLUMNS = "one,other,same"


def written(file: Path, pairs: list[LabelledPair]) -> Path:
    rows = [f"bikes,{pair.question1},{pair.question2},{pair.is_duplicate:d}" for pair in pairs]
    file.write_text("\n".join(["domain,one,other,same", *rows]) + "\n", "utf-8")
    return file


def test_pairs_to_tune_and_to_report_on_have_the_columns_that_are_named(tmp_path: Path) -> None:
    pairs = generated_pairs(300)
    file = written(tmp_path / "pairs.csv", pairs[:100])
    tune_file = written(tmp_path / "tune.csv", pairs[100:200])
    report_file = written(tmp_path / "report.csv", pairs[200:])
    given = sources.read([str(file)], "pair-class", COLUMNS)
    cut = sources.cut(given, tune_file, [report_file], 1, by_row=False, columns=COLUMNS)
    train, tune, report = cut
    assert set(train.pairs) == set(pairs[:100])
    assert tune.pairs == pairs[100:200]
    assert report[0].pairs == pairs[200:]


def test_files_that_lack_the_named_columns_have_the_usual_ones(tmp_path: Path) -> None:
    pairs = generated_pairs(200)
    given = sources.read([str(written(tmp_path / "pairs.csv", pairs[:100]))], "", COLUMNS)
    report_file = tmp_path / "report.jsonl"
    write_pairs(report_file, pairs[100:])
    (report,) = sources.files([report_file], COLUMNS)
    assert report.pairs == pairs[100:]
    assert given.pairs == pairs[:100]


def test_groups_are_of_files_with_the_columns_that_are_named(tmp_path: Path) -> None:
    pair = LabelledPair("a?", "b?", is_duplicate=True)
    file = written(tmp_path / "pairs.csv", [pair])
    assert sources.groups([str(file)], "domain", COLUMNS) == {pair: "domain bikes"}
