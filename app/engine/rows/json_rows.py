"""JSON: an object a line, or one array of objects. Numbers and other values are handed on as they are."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

from app.engine.rows.content import Content
from app.engine.rows.encoding import numbered_lines, open_text
from app.engine.rows.file import MAX_LINE_CHARACTERS, Row
from app.errors import UnreadableFile

SAMPLE_ROWS = 3
READ_CHARACTERS = 2**16
SPACE = " \t\r\n"


class JsonLines:
    """Objects, one a line: a line that is none is an error, and the next one is read."""

    kind = "JSON lines"

    def __init__(self, content: Content, encoding: str) -> None:
        self._content = content
        self._encoding = encoding

    def columns(self) -> list[str]:
        """The names in the first objects."""
        return _names(value for _, value, _ in self._values())

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted values of each object."""
        for number, value, line in self._values():
            if value is None:
                yield Row(number, (), "is not JSON", raw=line)
            else:
                yield _row(number, value[0], columns, optional, line)

    def _values(self) -> Iterator[tuple[int, tuple[Any] | None, str]]:
        """Number, value (None: no JSON) and text of each line that is not blank."""
        with open_text(self._content.open(), self._encoding) as file:
            for number, line in numbered_lines(file):
                if not line.strip():
                    continue
                try:
                    value = (json.loads(line),)
                except (ValueError, RecursionError):
                    yield number, None, line
                else:
                    yield number, value, line


class JsonArray:
    """Objects in one array, known by their number. Where one is broken, nobody can tell where the next begins."""

    kind = "JSON array"

    def __init__(self, content: Content, encoding: str) -> None:
        self._content = content
        self._encoding = encoding

    def columns(self) -> list[str]:
        """The names in the first objects."""
        return _names((value,) for value in self._values())

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted values of each object."""
        for number, value in enumerate(self._values(), 1):
            yield _row(number, value, columns, optional)

    def _values(self) -> Iterator[Any]:
        with open_text(self._content.open(), self._encoding) as file:
            yield from _Items(file).read()


class _Items:
    """The items of an array, decoded as it is read."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0
        self._is_whole = False  # all of the file is read
        self._number = 0

    def read(self) -> Iterator[Any]:
        """Each item. Raises UnreadableFile where what follows is none."""
        self._expect("[", "is no array of JSON")
        if self._next() == "]":
            return self._end()
        while True:
            self._number += 1
            self._next()
            yield self._item()
            if self._next() == "]":
                return self._end()
            self._expect(",", f"is no JSON after item {self._number}")

    def _next(self) -> str:
        """The next character that is no white space, not taken yet; empty at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in SPACE:
                self._place += 1
            if self._place < len(self._text) or not self._read_on():
                return self._text[self._place : self._place + 1]

    def _expect(self, character: str, problem: str) -> None:
        if self._next() != character:
            raise UnreadableFile(problem)
        self._place += 1

    def _end(self) -> None:
        self._place += 1
        if self._next():
            raise UnreadableFile(f"goes on after its array of {self._number:,} items")

    def _item(self) -> Any:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except RecursionError:
                raise UnreadableFile(
                    f"has an item, number {self._number}, that is nested too deep"
                ) from None
            except ValueError as error:
                if not self._read_on():
                    raise UnreadableFile(f"is no JSON in item {self._number}: {error}") from None
            else:
                if end < len(self._text) or not self._read_on():
                    self._place = end
                    return value

    def _read_on(self) -> bool:
        """Twice as much text; False at the file's end. Raises UnreadableFile for an item that no row needs."""
        left = len(self._text) - self._place
        if left > MAX_LINE_CHARACTERS:
            raise UnreadableFile(
                f"is no JSON in item {self._number}, or it has more than {MAX_LINE_CHARACTERS:,} characters"
            )
        more = self._file.read(max(READ_CHARACTERS, left))
        self._text = self._text[self._place :] + more
        self._place = 0
        return bool(more)


def _row(
    number: int, record: Any, columns: Sequence[str], optional: Sequence[str], line: str = ""
) -> Row:
    try:
        required = [record[column] for column in columns]
        others = [record.get(column) for column in optional]
    except (KeyError, TypeError, IndexError, AttributeError):
        names = " and ".join(repr(column) for column in columns)
        return Row(number, (), f"is not an object with {names}", raw=line or repr(record))
    return Row(number, required + others)


def _names(values: Iterator[tuple[Any] | None]) -> list[str]:
    """The names in the first objects, of those that are there where the file breaks off."""
    names: dict[str, None] = {}
    try:
        for value in islice(values, SAMPLE_ROWS):
            if value is None:
                raise UnreadableFile("has lines that are not JSON")
            if not isinstance(value[0], dict):
                raise UnreadableFile("is JSON, but not of objects")
            names |= dict.fromkeys(value[0])
    except UnreadableFile:
        if not names:
            raise
    return list(names)
