"""A file in, its table and the rows of it out: the one way in which files of questions, labels and pairs are read."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from app.engine.rows.content import Content, content_of
from app.engine.rows.delimited import Delimited
from app.engine.rows.encoding import find_encoding, open_text
from app.engine.rows.file import Row, Table, TableFile
from app.engine.rows.json_rows import JsonArray, JsonLines
from app.engine.rows.parquet_rows import ParquetRows
from app.engine.rows.spreadsheet import Spreadsheet
from app.errors import UnreadableFile

SAMPLE_CHARACTERS = 2**16


def read_rows(
    file: TableFile | Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Row]:
    """The wanted columns of each row of a file, whose kind is told by its bytes. Never holds the file in memory.

    The columns of `optional` come last, as None where the file does not have them. A broken row is a Row with an error.

    Raises UnreadableFile for a file of another kind, for a column that is missing or there twice, and for a file that
    breaks off. So it does for one that unpacks to far more than its size.
    """
    with _named(_as_file(file)) as given:
        yield from table_of(given).rows(columns, optional)


def read_columns(file: TableFile | Path) -> tuple[str, list[str]]:
    """The kind of a file in words, and the names of its columns. Raises UnreadableFile."""
    with _named(_as_file(file)) as given:
        table = table_of(given)
        return table.kind, table.columns()


def with_encoding(file: TableFile) -> TableFile:
    """The same file; of a text, with its encoding, so that it is looked for once. Raises UnreadableFile."""
    with _named(file):
        content = content_of(file.path)
        if content.kind != "text":
            return file
        return replace(file, encoding=find_encoding(content.open, file.encoding))


def table_of(file: TableFile) -> Table:
    """The table in a file. Raises UnreadableFile, without the file's name, and the errors of reading it."""
    content = content_of(file.path)
    if content.kind == "parquet":
        return ParquetRows(file.path)
    if content.kind == "spreadsheet":
        return Spreadsheet(file.path)
    encoding = find_encoding(content.open, file.encoding)
    begins = _first_character(content, encoding)
    if begins == "[":
        return JsonArray(content, encoding)
    if begins == "{":
        return JsonLines(content, encoding)
    return Delimited(content, encoding, file.delimiter)


def _first_character(content: Content, encoding: str) -> str:
    with open_text(content.open(), encoding) as text:
        return text.read(SAMPLE_CHARACTERS).lstrip()[:1]


def _as_file(file: TableFile | Path) -> TableFile:
    return file if isinstance(file, TableFile) else TableFile(file)


@contextmanager
def _named(file: TableFile) -> Iterator[TableFile]:
    """Name the file in the errors of reading it."""
    try:
        yield file
    except UnreadableFile as error:
        words = str(error)
        separator = ":" if words[:1].isdigit() else " "
        raise type(error)(f"{file.name}{separator}{words}") from error
    except (
        OSError,
        EOFError,
        UnicodeError,
        zlib.error,
        zipfile.BadZipFile,
        NotImplementedError,  # what a ZIP needs
        pa.ArrowException,
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFile(f"can't read {file.name}: {reason}") from error
