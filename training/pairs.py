"""Labelled pairs in, from files and data sets."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray
from rich.console import Console

from app.engine.files import replacing
from app.engine.rows import read_rows, truth
from app.engine.text import folded_digest, normalize
from app.errors import CommandError

err = Console(stderr=True)

COLUMNS = ("question1", "question2", "is_duplicate")

# Columns of the subsets of sentence-transformers/quora-duplicates, and of sets made like it.
LABELLED = ("sentence1", "sentence2", "label")
ANCHOR = "anchor"
POSITIVE = "positive"
NEGATIVE = "negative"


@dataclass(frozen=True)
class LabelledPair:
    """Two questions and whether they ask the same."""

    question1: str
    question2: str
    is_duplicate: bool

    @property
    def texts(self) -> tuple[str, str]:
        """Both questions."""
        return self.question1, self.question2


@dataclass(frozen=True)
class Report:
    """Counts of a set of pairs, and the pairs that were labelled both ways and so left out."""

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
    """The labelled pairs of a file of any kind that `read_rows` reads; `columns` name two questions and the label.

    A pair with a blank question, of which Quora's own file has a few, is left out. Raises CommandError naming file
    and line for a broken row, and for a file with fewer than two classes.
    """
    return with_both_classes(str(path), [pair for _, pair in read_labelled(path, columns)])


def read_labelled(
    path: Path, columns: Sequence[str] = COLUMNS
) -> Iterator[tuple[Sequence[Any], LabelledPair]]:
    """The values and the pair of each row, which may be of one class alone; the first three of `columns` make the pair.

    A pair with a blank question is left out, and how many there are is said on standard error. Raises CommandError
    naming file and line for a broken row.
    """
    blank = 0
    for row in read_rows(path, columns):
        if row.error:
            raise CommandError(f"{path}:{row.line}: {row.error}")
        if any(is_blank(value) for value in row.values[:2]):
            blank += 1
        else:
            yield row.values, _checked(f"{path}:{row.line}", *row.values[:3])
    if blank:
        err.print(
            f"{path}: {blank:,} pairs with a blank question left out",
            highlight=False,
            soft_wrap=True,
        )


def is_blank(value: object) -> bool:
    """Whether a cell holds no question."""
    return value is None or (isinstance(value, str) and not value.strip())


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
    pairs: list[LabelledPair] = []
    for part, table in dataset.items():
        for number, values in enumerate(table, 1):
            place = f"{name} ({subset}, {part}) row {number}"
            pairs += _pairs_of(place, values, columns)
    return with_both_classes(name, pairs, needs_both=subset != "pair")


def write_pairs(path: Path, pairs: Sequence[LabelledPair]) -> None:
    """Write JSON lines that `read_pairs` reads back, in one piece."""
    with replacing(path) as aside, aside.open("w", encoding="utf-8") as file:
        for pair in pairs:
            row = {
                "question1": pair.question1,
                "question2": pair.question2,
                "is_duplicate": int(pair.is_duplicate),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def cleaned(
    pairs: Sequence[LabelledPair],
) -> tuple[list[LabelledPair], Report]:
    """Each pair once, in its first form, without those that are labelled both ways; and a report of it."""
    by_texts: dict[frozenset[bytes], list[LabelledPair]] = {}
    for pair in pairs:
        texts = frozenset((folded_digest(pair.question1), folded_digest(pair.question2)))
        by_texts.setdefault(texts, []).append(pair)
    kept: list[LabelledPair] = []
    contradictions: list[tuple[str, str]] = []
    repeats = 0
    for same in by_texts.values():
        if has_both_classes(same):
            contradictions.append(same[0].texts)
        else:
            kept.append(same[0])
            repeats += len(same) - 1
    duplicates = len(duplicates_of(pairs))
    return kept, Report(len(pairs), duplicates, repeats, contradictions)


def open_pairs(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    """The pairs whose visible words are not the same: the service answers the others without a model."""
    return [pair for pair in pairs if normalize(pair.question1) != normalize(pair.question2)]


def duplicates_of(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    """The pairs that are labelled duplicates."""
    return [pair for pair in pairs if pair.is_duplicate]


def both_texts(pairs: Sequence[LabelledPair]) -> list[tuple[str, str]]:
    """The two questions of each pair."""
    return [pair.texts for pair in pairs]


def has_both_classes(pairs: Sequence[LabelledPair]) -> bool:
    """Whether some of the pairs are duplicates and some are not."""
    return 0 < len(duplicates_of(pairs)) < len(pairs)


def with_both_classes(
    source: str, pairs: list[LabelledPair], *, needs_both: bool = True
) -> list[LabelledPair]:
    """The pairs. Raises CommandError where they are of fewer than two classes, or of none."""
    if not pairs or (needs_both and not has_both_classes(pairs)):
        raise CommandError(
            f"{source} needs pairs of both classes; it has {len(pairs)} pairs of one"
        )
    return pairs


def labels_of(pairs: Sequence[LabelledPair]) -> NDArray[np.bool_]:
    """The labels (n,) of n pairs."""
    return np.array([pair.is_duplicate for pair in pairs], dtype=np.bool_)


def texts_of(pairs: Sequence[LabelledPair]) -> list[str]:
    """The distinct texts of pairs, in order of appearance."""
    texts: dict[str, None] = {}
    for pair in pairs:
        texts.update(dict.fromkeys(pair.texts))
    return list(texts)


def rows_of(texts: Sequence[str]) -> dict[str, int]:
    """The place of each of distinct texts."""
    return {text: number for number, text in enumerate(texts)}


def fingerprint(pairs: Sequence[LabelledPair]) -> str:
    """SHA-256 over the pairs, whatever their order."""
    lines = [f"{pair.question1}\t{pair.question2}\t{pair.is_duplicate:d}" for pair in pairs]
    lines.sort()
    text = "\n".join(lines)
    return hashlib.sha256(text.encode()).hexdigest()


def class_mix(pairs: Sequence[LabelledPair]) -> dict[str, int]:
    """How many pairs there are of each class."""
    duplicates = len(duplicates_of(pairs))
    return {
        "duplicate": duplicates,
        "different": len(pairs) - duplicates,
    }


def _pairs_of(
    place: str, values: dict[str, object], columns: Sequence[str]
) -> Iterator[LabelledPair]:
    """The labelled pairs that a row of a data set stands for."""
    if ANCHOR in values and POSITIVE in values:
        yield _checked(place, values[ANCHOR], values[POSITIVE], True)
        for name, value in values.items():
            if name.startswith(NEGATIVE) and value is not None:
                yield _checked(place, values[ANCHOR], value, False)
        return
    for column in columns:
        if column not in values:
            names = ", ".join(map(repr, values))
            raise CommandError(f"{place} has no column {column!r}; it has {names}")
    first, second, label = map(values.__getitem__, columns)
    yield _checked(place, first, second, label)


def _checked(place: str, first: object, second: object, label: object) -> LabelledPair:
    if not isinstance(first, str) or not isinstance(second, str):
        raise CommandError(f"{place}: both questions must be texts that are not blank")
    if is_blank(first) or is_blank(second):
        raise CommandError(f"{place}: both questions must be texts that are not blank")
    is_duplicate = truth(label)
    if is_duplicate is None:
        raise CommandError(f"{place}: the label must be 0 or 1, not {label!r}")
    return LabelledPair(first, second, is_duplicate)
