"""The beginning of a file in, its columns and first rows out; what is no file of questions is refused by what it is.

Only the beginning and the end have been sent by then. They are enough for text, for Parquet, which has its columns at
its end, and for small files of any kind; of others the columns are not seen yet.
"""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from app.engine.rows import Row, TableFile, read_columns, read_rows
from app.engine.rows.content import GZIP, PARQUET, ZIP
from app.errors import UnreadableFile

SAMPLE_BYTES = 512 * 1024  # of the beginning, and of the end
SAMPLE_ROWS = 3
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Preview:
    """A file's kind, its columns (none: not seen yet), and the values of its first rows."""

    kind: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def guess(self, *names: str) -> str | None:
        """The column that most likely is meant by one of these names."""
        by_name = {column.casefold(): column for column in self.columns}
        return next((by_name[name] for name in names if name in by_name), None)


def preview(name: str, size: int, beginning: bytes, end: bytes) -> Preview:
    """What a file is, by its size in bytes and samples of it. Raises UnreadableFile, which names it."""
    with TemporaryDirectory(prefix="sameask-preview-") as folder:
        path = Path(folder, "sample")
        is_seen = _write(path, size, beginning, end)
        if not is_seen:
            return Preview("ZIP or Excel workbook", [], [])
        file = TableFile(path, name)
        kind, names = read_columns(file)
        columns = [name for name in dict.fromkeys(names) if names.count(name) == 1]
        columns = [name for name in columns if name == _readable(name)]  # a page can name these
        return Preview(kind, columns, _first_rows(file, columns))


def _write(path: Path, size: int, beginning: bytes, end: bytes) -> bool:
    """A file like the true one as far as it is known; False where that is too little to read it."""
    if size <= len(beginning) + len(end):
        path.write_bytes(beginning + end[len(beginning) + len(end) - size :])
    elif beginning.startswith(PARQUET):
        _write_with_hole(path, size, beginning, end)
    elif beginning.startswith(ZIP):
        return False
    else:
        path.write_bytes(_whole_lines(_unpacked(beginning)))
    return True


def _unpacked(beginning: bytes) -> bytes:
    if not beginning.startswith(GZIP):
        return beginning
    with suppress(zlib.error):  # who reads it will say so
        return zlib.decompressobj(wbits=31).decompress(beginning, SAMPLE_BYTES)
    return beginning


def _whole_lines(sample: bytes) -> bytes:
    """Up to its last line break, and to an even number of bytes, as UTF-16 has them."""
    whole = sample[: sample.rfind(b"\n") + 1] or sample
    return whole if len(whole) % 2 == 0 or b"\x00" not in whole[:100] else sample[: len(whole) + 1]


def _first_rows(file: TableFile, columns: Sequence[str]) -> list[list[str]]:
    """The first rows, as far as they are whole; no value, and an empty one, are empty."""
    rows: list[Row] = []
    with suppress(UnreadableFile):  # the sample breaks off, or its rows lie in the hole
        rows.extend(islice(read_rows(file, (), optional=columns), SAMPLE_ROWS))
    return [[_cell(value) for value in row.values] for row in rows if row.error is None]


def _cell(value: object) -> str:
    return "" if value is None else _readable(str(value)[:SHOWN_CHARACTERS])


def _readable(text: str) -> str:
    """The text with an escape for whatever is no Unicode: a byte of another encoding, half a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode()


def _write_with_hole(path: Path, size: int, beginning: bytes, end: bytes) -> None:
    """A file of the true size that has its beginning and its end, and zeros between them."""
    with path.open("wb") as file:
        file.write(beginning)
        file.seek(max(size - len(end), 0))
        file.write(end)
        file.truncate(max(size, len(beginning)))
