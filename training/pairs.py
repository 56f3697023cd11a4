"""Labelled pairs in, from files and data sets."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError

from app.engine.rows import Row, read_rows, truth
from app.engine.text import digest, normalize
from app.errors import CommandError

COLUMNS = ("question1", "question2", "is_duplicate")

# Columns of the subsets of sentence-transformers/quora-duplicates, and of sets made like it.
LABELLED = ("sentence1", "sentence2", "label")
ANCHOR, POSITIVE, NEGATIVE = "anchor", "positive", "negative"


@dataclass(frozen=True)
class LabelledPair:
    """Two questions and whether they ask the same."""

    question1: str
    question2: str
    is_duplicate: bool


@dataclass(frozen=True)
class Report:
    """What stood in a set of pairs: counts, and the pairs that were labelled both ways and so left out."""

    rows: int
    duplicates: int
    repeats: int
    contradictions: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        share = self.duplicates / self.rows if self.rows else 0.0
        return (
            f"{self.rows:,} pairs, {self.duplicates:,} ({share:.1%}) duplicates, {self.repeats:,} repeats left out,"
            f" {len(self.contradictions):,} labelled both ways and left out"
        )


def read_pairs(path: Path, columns: Sequence[str] = COLUMNS) -> list[LabelledPair]:
    """The labelled pairs of a CSV, TSV, JSONL or Parquet file; `columns` name two questions and the label.

    Raises CommandError naming file and line for a broken row, and for a file with fewer than two classes.
    """
    return _with_both_classes(str(path), [_pair(path, row) for row in read_rows(path, columns)])


def read_dataset(name: str, subset: str, columns: Sequence[str] = LABELLED) -> list[LabelledPair]:
    """The labelled pairs of a data set on the hub, or in a folder, as `datasets.load_dataset` finds it.

    `columns` name two questions and the label. Subsets with an anchor, positives and negatives give a pair
    for each positive and each negative. Raises CommandError when it can't be had, or has other columns.
    """
    try:
        dataset = load_dataset(name, subset)
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise CommandError(f"can't load the data set {name!r} ({subset}): {error}") from error
    if not isinstance(dataset, DatasetDict):
        raise CommandError(f"the data set {name!r} ({subset}) has no splits")
    found: list[LabelledPair] = []
    for part, table in dataset.items():
        for number, values in enumerate(table, 1):
            found += _pairs_of(f"{name} ({subset}, {part}) row {number}", values, columns)
    return _with_both_classes(name, found, needs_both=subset != "pair")


def write_pairs(path: Path, pairs: Sequence[LabelledPair]) -> None:
    """JSON lines that `read_pairs` reads back."""
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs:
            values = (pair.question1, pair.question2, int(pair.is_duplicate))
            file.write(
                json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False) + "\n"
            )


def cleaned(pairs: Sequence[LabelledPair]) -> tuple[list[LabelledPair], Report]:
    """Each pair once, in its first form, without those that are labelled both ways; and what was found."""
    by_texts: dict[frozenset[bytes], list[LabelledPair]] = {}
    for pair in pairs:
        by_texts.setdefault(frozenset((digest(pair.question1), digest(pair.question2))), []).append(
            pair
        )
    contradictory = {
        texts for texts, same in by_texts.items() if len({p.is_duplicate for p in same}) > 1
    }
    kept = [same[0] for texts, same in by_texts.items() if texts not in contradictory]
    report = Report(
        rows=len(pairs),
        duplicates=sum(pair.is_duplicate for pair in pairs),
        repeats=sum(
            len(same) - 1 for texts, same in by_texts.items() if texts not in contradictory
        ),
        contradictions=[
            (by_texts[texts][0].question1, by_texts[texts][0].question2) for texts in contradictory
        ],
    )
    return kept, report


def open_pairs(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    """Those that are not equal after normalisation: the service answers the others without a model."""
    return [pair for pair in pairs if normalize(pair.question1) != normalize(pair.question2)]


def fingerprint(pairs: Sequence[LabelledPair]) -> str:
    """SHA-256 over the pairs, whatever their order."""
    lines = sorted(f"{p.question1}\t{p.question2}\t{p.is_duplicate:d}" for p in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def class_mix(pairs: Sequence[LabelledPair]) -> dict[str, int]:
    """How many pairs there are of each class."""
    counts = Counter(pair.is_duplicate for pair in pairs)
    return {"duplicate": counts[True], "different": counts[False]}


def _with_both_classes(
    source: str, pairs: list[LabelledPair], *, needs_both: bool = True
) -> list[LabelledPair]:
    if not pairs or (needs_both and len({pair.is_duplicate for pair in pairs}) < 2):
        raise CommandError(
            f"{source} needs pairs of both classes; it has {len(pairs)} pairs of one"
        )
    return pairs


def _pairs_of(
    place: str, values: dict[str, object], columns: Sequence[str]
) -> Iterator[LabelledPair]:
    """The labelled pairs that a row of a data set stands for."""
    if ANCHOR in values and POSITIVE in values:
        yield _checked(place, values[ANCHOR], values[POSITIVE], True)
        for name, value in values.items():
            if name.startswith(NEGATIVE) and value is not None:
                yield _checked(place, values[ANCHOR], value, False)
    elif missing := [column for column in columns if column not in values]:
        raise CommandError(
            f"{place} has no column {missing[0]!r}; it has {', '.join(map(repr, values))}"
        )
    else:
        first, second, label = (values[column] for column in columns)
        yield _checked(place, first, second, label)


def _pair(path: Path, row: Row) -> LabelledPair:
    if row.error:
        raise CommandError(f"{path}:{row.line}: {row.error}")
    return _checked(f"{path}:{row.line}", *row.values)


def _checked(place: str, first: object, second: object, label: object) -> LabelledPair:
    if not (
        isinstance(first, str) and isinstance(second, str) and first.strip() and second.strip()
    ):
        raise CommandError(f"{place}: both questions must be texts that are not blank")
    if (is_duplicate := truth(label)) is None:
        raise CommandError(f"{place}: the label must be 0 or 1, not {label!r}")
    return LabelledPair(first, second, is_duplicate)
