"""The beginning of a file in, its columns and first rows out; what is no file of questions is refused by what it is.

Only the beginning has been sent by then (of Parquet, which has its columns at its end, that too).
"""

import csv
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as parquet

from app.engine.parquet_footer import check_footer
from app.engine.rows import DELIMITERS, KINDS, read_rows
from app.errors import UnreadableFile

SAMPLE_BYTES = 64 * 1024  # of the beginning, and of the end
SAMPLE_ROWS = 3
SHOWN_CHARACTERS = 200
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
# How files begin that people take for tables, or drop by mistake.
BEGINNINGS = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP, as spreadsheets (.xlsx, .ods) and documents are: save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls, .doc): save it as CSV"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (GZIP, "packed by gzip"),
    (PARQUET, "Parquet"),
    (b"SQLite format 3", "a database"),
)
READ_HERE = "CSV, TSV, JSONL and Parquet can be read, each but Parquet packed by gzip too"


@dataclass(frozen=True)
class Preview:
    """A file's kind, its columns, and the values of its first rows."""

    kind: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def guess(self, *names: str) -> str | None:
        """The column that most likely is meant by one of these names."""
        by_name = {column.casefold(): column for column in self.columns}
        return next((by_name[name] for name in names if name in by_name), None)


def kind_of(name: str) -> str:
    """`.csv`, `.jsonl.gz`: the kind that a file's name says. Raises UnreadableFile for another."""
    path = Path(name.lower())
    packed = path.suffix if path.suffix == ".gz" else ""
    kind = Path(path.stem).suffix if packed else path.suffix
    if kind not in KINDS or (packed and kind == ".parquet"):
        raise UnreadableFile(f"its name ends in {kind or 'nothing'!r}; {READ_HERE}")
    return kind + packed


def preview(name: str, size: int, beginning: bytes, end: bytes) -> Preview:
    """What a file is by its name, its size in bytes and samples of it. Raises UnreadableFile."""
    kind = kind_of(name)
    _refuse_other_kind(kind, beginning)
    with TemporaryDirectory(prefix="sameask-preview-") as folder:
        path = Path(folder, f"sample{kind.removesuffix('.gz')}")
        if kind == ".parquet":
            _write_with_hole(path, size, beginning, end)
            return _preview_parquet(path)
        text = _whole_lines(kind, size, beginning)
        path.write_text(text, "utf-8", newline="")
        columns = _columns(kind.removesuffix(".gz"), text)
        return Preview(kind, columns, _first_rows(path, columns))


def _refuse_other_kind(kind: str, beginning: bytes) -> None:
    if not beginning:
        raise UnreadableFile("it is empty")
    named = GZIP if kind.endswith(".gz") else PARQUET if kind == ".parquet" else None
    if named and not beginning.startswith(named):
        raise UnreadableFile(f"its name ends in {kind}, and it does not begin as such a file does")
    for begins, what in BEGINNINGS:
        if begins != named and beginning.startswith(begins):
            raise UnreadableFile(f"it begins with {begins[:4]!r}, so it is {what}; {READ_HERE}")


def _whole_lines(kind: str, size: int, beginning: bytes) -> str:
    """The sample as text, up to its last whole line. Raises UnreadableFile for bytes that are no UTF-8 text."""
    whole = len(beginning) >= size
    content = beginning
    if kind.endswith(".gz"):
        try:
            unpacking = zlib.decompressobj(wbits=31)
            content = unpacking.decompress(beginning, SAMPLE_BYTES)
        except zlib.error as error:
            raise UnreadableFile("it is packed by gzip, and can't be unpacked") from error
        whole = unpacking.eof
    if not whole and b"\n" in content:
        content = content[: content.rindex(b"\n") + 1]
    if b"\x00" in content:
        raise UnreadableFile("it holds zero bytes: it is no text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableFile(f"line {line} is not UTF-8: save the file as UTF-8") from error


def _columns(kind: str, text: str) -> list[str]:
    """The names in the first line; of JSON lines those of the first objects."""
    if kind in DELIMITERS:
        delimiter, quoting = DELIMITERS[kind]
        reader = csv.reader(StringIO(text), delimiter=delimiter, quoting=quoting)
        header = next(reader, [])
        if len(header) < 2 and len(text.splitlines()) < 2:
            raise UnreadableFile("it has one line and one column: the first line names columns")
        return list(dict.fromkeys(header))
    names: dict[str, None] = {}
    for line in islice(filter(str.strip, text.splitlines()), SAMPLE_ROWS):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise UnreadableFile("its lines are not JSON") from None
        if not isinstance(record, dict):
            raise UnreadableFile("its lines are JSON, but no objects")
        names |= dict.fromkeys(record)
    return list(names)


def _first_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """The first rows, as far as they are whole; no value, and an empty one, are empty."""
    rows = islice(read_rows(path, (), optional=columns), SAMPLE_ROWS)
    return [[_cell(value) for value in row.values] for row in rows if row.error is None]


def _cell(value: object) -> str:
    return "" if value is None else str(value)[:SHOWN_CHARACTERS]


def _write_with_hole(path: Path, size: int, beginning: bytes, end: bytes) -> None:
    """A file of the true size that has its beginning and its end, and zeros between them."""
    with path.open("wb") as file:
        file.write(beginning)
        file.seek(max(size - len(end), 0))
        file.write(end)
        file.truncate(max(size, len(beginning)))


def _preview_parquet(path: Path) -> Preview:
    try:
        check_footer(path)
        columns = parquet.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFile("it begins as Parquet, and its end is not one of Parquet") from error
    try:
        return Preview(".parquet", columns, _first_rows(path, columns))
    except UnreadableFile:
        return Preview(".parquet", columns, [])  # its rows lie in the hole
