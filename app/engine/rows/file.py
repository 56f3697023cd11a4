"""A file of rows as its reader names it, one of its rows, and the limits on reading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

MAX_LINE_CHARACTERS = 4 * 2**20  # no request holds more than that
MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO = 64 * 2**20, 100  # what is both above this is a trap
TRUTHS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class TableFile:
    """The path of a file, its name in messages, and the options on its format; None is found out by its bytes."""

    path: Path
    called: str = ""
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def name(self) -> str:
        """The name by which people know the file."""
        return self.called or str(self.path)


@dataclass(frozen=True)
class Row:
    """The line it begins on (of Parquet and of JSON arrays its number) and its wanted values, or the error in it."""

    line: int
    values: Sequence[Any]
    error: str | None = None
    lines: int = field(default=1, compare=False)  # that it takes
    raw: str = field(
        default="", compare=False
    )  # of an error: the row as it stands, as far as it was kept


class Table(Protocol):
    """The columns and rows of a file of one kind."""

    @property
    def kind(self) -> str:
        """The kind of the file, in words."""

    def columns(self) -> list[str]:
        """Their names; of JSON those of the first objects. Raises UnreadableFile."""

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted columns of each row, the optional ones last. Raises UnreadableFile."""


def truth(value: Any) -> bool | None:
    """The answer in a cell that holds yes or no: 1 or true, 0 or false; None for anything else."""
    return TRUTHS.get(str(value).strip().lower())
