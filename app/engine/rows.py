"""Rows of a CSV, TSV, JSONL (each also gzipped) or Parquet file, one at a time, with the line they stand on."""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from app.errors import UnreadableFile

Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
DELIMITERS: dict[str, tuple[str, Quoting]] = {
    ".csv": (",", csv.QUOTE_MINIMAL),
    ".tsv": ("\t", csv.QUOTE_NONE),
}
KINDS = (*DELIMITERS, ".jsonl", ".ndjson", ".parquet")
BATCH_ROWS = 1024  # of a Parquet file that are held at a time
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
    csv.field_size_limit(sys.maxsize)
    delimiter, quoting = DELIMITERS[kind]
    with _open(path) as file:
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
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
                error_text = f"has {len(record)} columns, the header has {len(header)}"
                yield Row(reader.line_num, (), error_text)


def _read_jsonl(path: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    names = " and ".join(repr(column) for column in columns)
    with _open(path) as file:
        for number, line in enumerate(file, 1):
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
    with parquet.ParquetFile(path) as file:
        header = file.schema_arrow.names
        _places(path, header, columns, optional)
        wanted = [*columns, *optional]
        present = [column for column in wanted if column in header]
        number = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=present):
            for record in batch.to_pylist():
                number += 1
                yield Row(number, tuple(record.get(column) for column in wanted))


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
