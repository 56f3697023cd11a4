"""Names of files and data sets in, as a command gets them; sets of labelled pairs out, cleaned and kept apart."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from app.engine.rows import read_rows
from app.engine.text import folded_digest
from app.errors import CommandError
from training.build import Source
from training.pairs import (
    COLUMNS,
    LABELLED,
    LabelledPair,
    cleaned,
    is_blank,
    read_dataset,
    read_labelled,
    read_pairs,
)
from training.splits import apart, split, split_rows

SHARES = {
    "train": 0.8,
    "tune": 0.1,
    "report": 0.1,
}  # where sets are cut from one
SHOWN_CONTRADICTIONS = 10

err = Console(stderr=True)


def read(sources: Sequence[str], subset: str, columns: str | None) -> Source:
    """The labelled pairs of files, or of data sets by their names or folders, as they stand there."""
    names = _names(columns)
    pairs: list[LabelledPair] = []
    called = []
    for source in sources:
        pairs += _read_one(source, subset, names)
        called.append(_name(Path(source)) if Path(source).is_file() else source)
    return Source(", ".join(called), pairs)


def _names(columns: str | None) -> list[str] | None:
    """The names of the two questions' and the label's columns, where they are given."""
    names = columns.split(",") if columns else None
    if names and len(names) != len(COLUMNS):
        raise CommandError(f"--columns takes three names with commas between them, not {columns!r}")
    return names


def _read_one(source: str, subset: str, names: Sequence[str] | None) -> list[LabelledPair]:
    path = Path(source)
    if path.is_file():
        return read_pairs(path, names or COLUMNS)
    if path.suffix and not path.is_dir():
        raise CommandError(f"there is no file {source}")
    return read_dataset(source, subset, names or LABELLED)


def files(paths: Sequence[Path], columns: str | None = None) -> list[Source]:
    """The cleaned pairs of files, by these columns, or in a file that lacks them by the usual ones."""
    names = _names(columns) or COLUMNS
    return [Source(_name(path), clean(_pairs_of(path, names))) for path in paths]


def _pairs_of(path: Path, names: Sequence[str]) -> list[LabelledPair]:
    try:
        return read_pairs(path, names)
    except CommandError:
        with suppress(CommandError):
            return read_pairs(path, COLUMNS)
        raise


def cut(
    given: Source,
    tune_file: Path | None,
    report_files: Sequence[Path],
    seed: int,
    *,
    by_row: bool,
    columns: str | None = None,
) -> tuple[Source, Source, list[Source]]:
    """Pairs to train on, to tune on and to report on; sets that have no file are cut from the pairs."""
    tune = files([tune_file] if tune_file else [], columns)
    report = files(report_files, columns)
    pairs = clean(given.pairs)
    if by_row:
        err.print(
            "split by row: questions leak from the training set into the others",
            style="yellow",
        )
    else:
        pairs = _free(pairs, [*tune, *report])
    shares = {"train": SHARES["train"]}
    if not tune:
        shares["tune"] = SHARES["tune"]
    if not report:
        shares["report"] = SHARES["report"]
    parts = (split_rows if by_row else split)(pairs, shares, seed)
    train = Source(given.name, parts["train"])
    tune = tune or [_part(given, "tune", parts["tune"])]
    report = report or [_part(given, "report", parts["report"])]
    return train, tune[0], report


def unseen(source: Source, learnt: Sequence[LabelledPair]) -> Source:
    """The pairs of a set of which no question was learnt from, nor stands in a set that an epoch draws from."""
    known = {folded_digest(text) for pair in learnt for text in (pair.question1, pair.question2)}
    pairs = [
        pair
        for pair in source.pairs
        if known.isdisjoint((folded_digest(pair.question1), folded_digest(pair.question2)))
    ]
    left_out = len(source.pairs) - len(pairs)
    if left_out:
        err.print(f"{left_out:,} pairs of {source.name} are left out: a question was learnt from")
    return Source(source.name, pairs)


def _part(given: Source, name: str, pairs: Sequence[LabelledPair]) -> Source:
    return Source(f"{given.name}: its part {name}", pairs)


def _free(pairs: Sequence[LabelledPair], others: Sequence[Source]) -> list[LabelledPair]:
    """The pairs that are tied to none of the other sets, with a line on the number of the rest."""
    free = apart(pairs, *(source.pairs for source in others))
    if len(free) < len(pairs):
        tied = len(pairs) - len(free)
        err.print(f"{tied:,} pairs left out: they are tied to pairs of the other sets")
    return free


def clean(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    """Each pair once, without those that are labelled both ways; a report of it goes to standard error."""
    kept, report = cleaned(pairs)
    err.print(str(report), highlight=False)
    for first, second in report.contradictions[:SHOWN_CONTRADICTIONS]:
        line = f"  labelled both ways: {first!r}, {second!r}"
        err.print(line, highlight=False, markup=False, soft_wrap=True)
    return kept


def texts(paths: Sequence[Path]) -> list[str]:
    """The distinct questions of files of pairs."""
    distinct: dict[str, None] = {}
    for path in paths:
        for row in read_rows(path, COLUMNS[:2]):
            if row.error:
                raise CommandError(f"{path}:{row.line}: {row.error}")
            distinct.update(dict.fromkeys(text for text in row.values if not is_blank(text)))
    return list(distinct)


def _name(path: Path) -> str:
    """A name by which a file can be told from others of its name, and which says nothing else of its folder."""
    return "/".join(path.resolve().parts[-2:])


def groups(
    paths: Sequence[str],
    column: str,
    columns: str | None = None,
) -> dict[LabelledPair, str]:
    """The values of another column of files of pairs, by pair. Raises UnreadableFile for a file that lacks it."""
    values: dict[LabelledPair, str] = {}
    names = [*(_names(columns) or COLUMNS), column]
    for path in paths:
        for (*_, value), pair in read_labelled(Path(path), names):
            values[pair] = f"{column} {value}"
    return values
