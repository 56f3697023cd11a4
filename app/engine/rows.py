"""Rows of a CSV, TSV, JSONL (each also gzipped) or Parquet file, one at a time, with the line they stand on."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from app.errors import UnreadableFile

MAX_LINE_CHARACTERS = 4 * 2**20  # no request holds more than that
PARQUET_ROWS, PARQUET_BYTES = 1024, 16 * 2**20  # held at once
MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO = 64 * 2**20, 100  # of one column of one group of rows
TRUTHS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Row:
    """Line (or row number, in Parquet) and the values of the wanted columns, or what is wrong with the line."""

    line: int
    values: Sequence[Any]
    error: str | None = None


def truth(value: Any) -> bool | None:
    """What a cell says that holds yes or no: 1 or true, 0 or false; None for anything else."""
    return TRUTHS.get(str(value).strip().lower())


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """The wanted columns of each row of a file; its ending says what it is. Never holds the file in memory.

    Those of `optional` come last, None where the file does not have them.

    TSV is read without quoting, CSV with it. Raises UnreadableFile for another kind of file, a missing
    column, or a file that is not what its ending says; a broken line is a Row with an error.
    """
    readers: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Iterator[Row]]] = {
        ".csv": _read_csv,
        ".tsv": _read_tsv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".parquet": _read_parquet,
    }
    kind = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
    if kind not in readers:
        raise UnreadableFile(f"{path} ends in none of {', '.join(readers)}")
    try:
        yield from readers[kind](path, columns, optional)
    except (OSError, EOFError, UnicodeError, csv.Error, zlib.error, pa.ArrowException) as error:
        raise UnreadableFile(f"can't read {path}: {error}") from error


def _read_csv(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    return _read_delimited(path, columns, optional, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _read_tsv(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    return _read_delimited(path, columns, optional, delimiter="\t", quoting=csv.QUOTE_NONE)


def _read_delimited(
    path: Path,
    columns: Sequence[str],
    optional: Sequence[str],
    delimiter: str,
    quoting: Literal[0, 3],
) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    with _open(path) as file:
        reader = csv.reader(_lines(path, file), delimiter=delimiter, quoting=quoting, strict=True)
        header = next(reader, [])
        places: list[int | None] = [_place(path, header, column) for column in columns]
        places += [header.index(column) if column in header else None for column in optional]
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
            if len(record) != len(header):
                yield Row(
                    reader.line_num, (), f"has {len(record)} columns, the header has {len(header)}"
                )
            else:
                yield Row(
                    reader.line_num, [None if place is None else record[place] for place in places]
                )


def _read_jsonl(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                found = [record[column] for column in columns]
                yield Row(number, found + [record.get(column) for column in optional])
            except (ValueError, RecursionError):
                yield Row(number, (), "is not JSON")
            except (KeyError, TypeError, IndexError):
                yield Row(number, (), f"is not an object with {' and '.join(map(repr, columns))}")


def _read_parquet(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    wanted = (*columns, *optional)
    # A text that many rows share is held once: a file of kilobytes could stand for gigabytes otherwise.
    schema = parquet.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        names = schema.names
        for column in columns:
            _place(path, names, column)
        present = [column for column in wanted if column in names]
        number = 0
        for batch in file.iter_batches(_parquet_rows(path, file, present), columns=present):
            values = {column: batch.column(column) for column in present}
            for place in range(batch.num_rows):
                number += 1
                row = [values[c][place].as_py() if c in values else None for c in wanted]
                yield Row(number, tuple(row))


def _parquet_rows(path: Path, file: parquet.ParquetFile, columns: Sequence[str]) -> int:
    """How many rows of these columns to hold at once. Raises UnreadableFile for one that unpacks to far more than it
    is: what a footer says of its pages is all that can be known before they are unpacked."""
    metadata = file.metadata
    largest_row = 1
    for group in (metadata.row_group(place) for place in range(metadata.num_row_groups)):
        for chunk in (group.column(place) for place in range(group.num_columns)):
            unpacked, packed = chunk.total_uncompressed_size, max(chunk.total_compressed_size, 1)
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
    """As text. What is not UTF-8 becomes lone surrogates, which no text may hold: so the line at fault gets named."""
    opened = gzip.open if path.suffix == ".gz" else open
    return cast(
        IO[str], opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    )


def _place(path: Path, header: Sequence[str], column: str) -> int:
    if column not in header:
        raise UnreadableFile(
            f"{path} has no column {column!r}; it has {', '.join(map(repr, header))}"
        )
    return header.index(column)
