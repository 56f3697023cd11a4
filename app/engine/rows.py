"""Rows of a CSV, TSV, JSONL (each also gzipped) or Parquet file, one at a time, with the line they stand on."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from app.engine.parquet_footer import check_footer
from app.errors import UnreadableFile

Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
DELIMITERS: dict[str, tuple[str, Quoting]] = {
    ".csv": (",", csv.QUOTE_MINIMAL),
    ".tsv": ("\t", csv.QUOTE_NONE),
}
KINDS = (*DELIMITERS, ".jsonl", ".ndjson", ".parquet")
MAX_LINE_CHARACTERS = 4 * 2**20  # no request holds more than that
PARQUET_ROWS, PARQUET_BYTES = 1024, 16 * 2**20  # held at once
MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO = 64 * 2**20, 100  # of one column of one group of rows
TRUTHS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Row:
    """Line (or row number, in Parquet) and the values of the wanted columns, or the error in the line."""

    line: int
    values: Sequence[Any]
    error: str | None = None


def truth(value: Any) -> bool | None:
    """The answer in a cell that holds yes or no: 1 or true, 0 or false; None for anything else."""
    return TRUTHS.get(str(value).strip().lower())


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The wanted columns of each row of a file, whose kind its ending says. Never holds the file in memory.

    Those of `optional` come last, None where the file does not have them.

    TSV is read without quoting, CSV with it. Raises UnreadableFile for another kind of file, a missing
    column, or a file that is not of the kind that its ending says; a broken line is a Row with an error.
    """
    kind = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
    if kind not in KINDS:
        raise UnreadableFile(f"{path} ends in none of {', '.join(KINDS)}")
    try:
        if kind == ".parquet":
            yield from _read_parquet(path, columns, optional)
        elif kind in DELIMITERS:
            yield from _read_delimited(path, columns, optional, kind)
        else:
            yield from _read_jsonl(path, columns, optional)
    except (OSError, EOFError, UnicodeError, csv.Error, zlib.error, pa.ArrowException) as error:
        raise UnreadableFile(f"can't read {path}: {error}") from error


def _read_delimited(
    path: Path, columns: Sequence[str], optional: Sequence[str], kind: str
) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    delimiter, quoting = DELIMITERS[kind]
    with _open(path) as file:
        reader = csv.reader(_lines(path, file), delimiter=delimiter, quoting=quoting, strict=True)
        header = next(reader, [])
        places = _places(path, header, columns, optional)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(reader.line_num, (), str(error))
                continue
            if not record:
                continue
            if len(record) == len(header):
                values = [None if place is None else record[place] for place in places]
                yield Row(reader.line_num, values)
            else:
                columns = "1 column" if len(record) == 1 else f"{len(record)} columns"
                error_text = f"has {columns}, the header has {len(header)}"
                yield Row(reader.line_num, (), error_text)


def _read_jsonl(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    names = " and ".join(repr(column) for column in columns)
    with _open(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                required = [record[column] for column in columns]
                others = [record.get(column) for column in optional]
                yield Row(number, required + others)
            except (ValueError, RecursionError):
                yield Row(number, (), "is not JSON")
            except (KeyError, TypeError, IndexError):
                yield Row(number, (), f"is not an object with {names}")


def _read_parquet(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    wanted = (*columns, *optional)
    check_footer(path)
    # A text that many rows share is held once: a file of kilobytes could stand for gigabytes otherwise.
    schema = parquet.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        names = schema.names
        _places(path, names, columns, optional)
        present = [column for column in wanted if column in names]
        number = 0
        for batch in file.iter_batches(_parquet_rows(path, file, present), columns=present):
            values = {column: batch.column(column) for column in present}
            for place in range(batch.num_rows):
                number += 1
                row = []
                for column in wanted:
                    cell = values[column][place].as_py() if column in values else None
                    row.append(cell)
                yield Row(number, tuple(row))


def _parquet_rows(path: Path, file: parquet.ParquetFile, columns: Sequence[str]) -> int:
    """How many rows of these columns to hold at once. Raises UnreadableFile for one that unpacks to far more than it
    is: what a footer says of its pages is all that can be known before they are unpacked."""
    metadata = file.metadata
    largest_row = 1
    for group_place in range(metadata.num_row_groups):
        group = metadata.row_group(group_place)
        for place in range(group.num_columns):
            chunk = group.column(place)
            unpacked = chunk.total_uncompressed_size
            packed = max(chunk.total_compressed_size, 1)
            if chunk.path_in_schema not in columns:
                continue
            if unpacked > MAX_UNPACKED_BYTES and unpacked > MAX_UNPACKED_RATIO * packed:
                raise UnreadableFile(
                    f"{path}: its column {chunk.path_in_schema!r} unpacks to {unpacked:,} bytes from {packed:,}"
                )
            largest_row = max(largest_row, unpacked // max(group.num_rows, 1))
    return max(1, min(PARQUET_ROWS, PARQUET_BYTES // largest_row))


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """The lines of a file. Raises UnreadableFile for one so long that no row needs it: it may be gigabytes, packed."""
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise UnreadableFile(
                f"{path}:{number}: the line has more than {MAX_LINE_CHARACTERS:,} characters"
            )
        yield line


def _open(path: Path) -> IO[str]:
    """As text. Bytes that are not UTF-8 become lone surrogates, which no text may hold: the line at fault is named."""
    opener = gzip.open if path.suffix == ".gz" else open
    file = opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return cast(IO[str], file)


def _places(
    path: Path, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int | None]:
    """Where each column stands, the optional ones last: None for one that is not there. Raises UnreadableFile."""
    places: list[int | None] = []
    for column in columns:
        if column not in header:
            names = ", ".join(repr(name) for name in header)
            raise UnreadableFile(f"{path} has no column {column!r}; it has {names}")
        places.append(header.index(column))
    places += [header.index(column) if column in header else None for column in optional]
    return places
