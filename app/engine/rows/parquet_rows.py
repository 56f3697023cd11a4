"""Parquet: columns by name, rows by number. The unpacked size of a page is read from the page, not from the footer
alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet

from app.engine.parquet_footer import check_footer
from app.engine.rows.columns import places
from app.engine.rows.file import MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO, Row
from app.engine.rows.parquet_pages import pages
from app.errors import UnreadableFile

MAX_ROWS, MAX_BYTES = 1024, 16 * 2**20  # held at once


class ParquetRows:
    """The columns and rows of a Parquet file."""

    kind = "Parquet"

    def __init__(self, path: Path) -> None:
        self._path = path
        check_footer(path)

    def columns(self) -> list[str]:
        """The names in the footer."""
        return [name.strip() for name in parquet.read_schema(self._path).names]

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted columns of each row, which has its number for a line."""
        schema = parquet.read_schema(self._path)
        found = places(schema.names, columns, optional)
        names = [None if place is None else schema.names[place] for place in found]
        present = [name for name in names if name is not None]
        largest = {name: self._largest_value(name) for name in present}
        rows = MAX_BYTES // max([1, *(value.size for value in largest.values())])
        # A text that many rows share is held once: a file of kilobytes could stand for gigabytes otherwise.
        shared = [
            name
            for name, value in largest.items()
            if pa.types.is_string(schema.field(name).type) and not value.shares_beginnings
        ]
        with parquet.ParquetFile(self._path, read_dictionary=shared) as file:
            number = 0
            for batch in file.iter_batches(max(1, min(MAX_ROWS, rows)), columns=present):
                values = {name: batch.column(name) for name in present}
                for place in range(batch.num_rows):
                    number += 1
                    try:
                        cells = [name and values[name][place].as_py() for name in names]
                    except UnicodeError:
                        raise  # of the whole file
                    except (ValueError, OverflowError):  # a time that no calendar here has
                        yield Row(number, (), "has a value that can't be read")
                    else:
                        yield Row(number, cells)

    def _largest_value(self, column: str) -> "_Largest":
        """How large a value of a column may be. Raises UnreadableFile where it unpacks to far more than it is."""
        metadata = parquet.read_metadata(self._path)
        largest = _Largest(1, False)
        for group in (metadata.row_group(place) for place in range(metadata.num_row_groups)):
            for chunk in (group.column(place) for place in range(group.num_columns)):
                if chunk.path_in_schema.partition(".")[0] != column:
                    continue
                unpacked = chunk.total_uncompressed_size
                _refuse_trap(column, unpacked, chunk.total_compressed_size)
                largest = largest.or_of(unpacked // max(group.num_rows, 1), False)
                for page in pages(self._path, chunk):
                    _refuse_trap(column, page.unpacked_bytes, page.packed_bytes)
                    if page.shares_beginnings:
                        largest = largest.or_of(page.unpacked_bytes, True)
        return largest


class _Largest(NamedTuple):
    """The most bytes of a value, and whether values begin as the one before and take next to none in the file."""

    size: int
    shares_beginnings: bool

    def or_of(self, size: int, shares_beginnings: bool) -> "_Largest":
        return _Largest(max(self.size, size), self.shares_beginnings or shares_beginnings)


def _refuse_trap(column: str, unpacked: int, packed: int) -> None:
    if unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_UNPACKED_RATIO * max(packed, 1):
        raise UnreadableFile(
            f"has a column {column!r} that unpacks to {unpacked:,} bytes from {packed:,}"
        )
