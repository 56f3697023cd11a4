"""Labelled pairs in, from files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.engine.table import Row, read_rows
from app.errors import CommandError

COLUMNS = ("question1", "question2", "is_duplicate")
LABELS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class LabelledPair:
    """Two questions and whether they ask the same."""

    question1: str
    question2: str
    is_duplicate: bool


def read_pairs(path: Path, columns: Sequence[str] = COLUMNS) -> list[LabelledPair]:
    """The labelled pairs of a CSV, TSV, JSONL or Parquet file.

    Raises CommandError naming file and line for a broken row, and for a file with fewer than two classes.
    """
    pairs = [_pair(path, row) for row in read_rows(path, columns)]
    if len({pair.is_duplicate for pair in pairs}) < 2:
        raise CommandError(f"{path} needs pairs of both classes; it has {len(pairs)} pairs of one")
    return pairs


def fingerprint(pairs: Sequence[LabelledPair]) -> str:
    """SHA-256 over the pairs, whatever their order."""
    lines = sorted(f"{p.question1}\t{p.question2}\t{p.is_duplicate:d}" for p in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pair(path: Path, row: Row) -> LabelledPair:
    if row.error:
        raise CommandError(f"{path}:{row.line}: {row.error}")
    first, second, label = row.values
    if not (isinstance(first, str) and isinstance(second, str) and first.strip() and second.strip()):
        raise CommandError(f"{path}:{row.line}: both questions must be texts that are not blank")
    if (is_duplicate := LABELS.get(str(label).strip().lower())) is None:
        raise CommandError(f"{path}:{row.line}: the label must be 0 or 1, not {label!r}")
    return LabelledPair(first, second, is_duplicate)
