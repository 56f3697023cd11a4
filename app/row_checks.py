"""What may stand in a cell of a file that is imported: the rules of a request's fields, in words about a column."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

from app.engine.rows import Row, TableFile, read_rows
from app.engine.text import normalize
from app.fields import Person, QuestionId, Text, id_text, sentence

ID: TypeAdapter[str] = TypeAdapter(QuestionId)
TEXT: TypeAdapter[str] = TypeAdapter(Text)
PERSON: TypeAdapter[str] = TypeAdapter(Person)

CheckedRow = tuple[Row, str | None]  # a row, and what is wrong with it


def cell_problem(column: str, value: Any, kind: TypeAdapter[str]) -> str | None:
    """What is wrong with a cell, if anything is."""
    try:
        kind.validate_python(value, strict=True)
    except ValidationError as error:
        return f"{column} {sentence(error.errors()[0])}"
    return None


def text_problem(column: str, value: Any, max_characters: int) -> str | None:
    """What is wrong with a cell that holds a text, if anything is."""
    problem = cell_problem(column, value, TEXT)
    if not problem and len(value) > max_characters:
        return f"{column} has {len(value):,} characters; at most {max_characters:,} (SAMEASK_MAX_CHARACTERS)"
    return problem


def checked_questions(
    file: TableFile | Path,
    columns: tuple[str | None, str],
    max_characters: int,
    prefix: str = "",
) -> Iterator[CheckedRow]:
    """Each row of a file of questions, its values an id and a text, and what is wrong with it.

    `columns` are those of id and text; where no column holds ids, the line's number is one. `prefix` is put before
    every id. Raises what `read_rows` raises.
    """
    id_column, text_column = columns
    name = id_column or "the line's number"
    line_of_id: dict[int, int] = {}  # by the id's hash: the ids themselves would take more memory
    for row in read_rows(file, [column for column in columns if column]):
        if row.error:
            yield row, row.error
            continue
        *ids, text = row.values
        question_id = id_text(ids[0] if ids else row.line)
        if isinstance(question_id, str):
            question_id = prefix + question_id
        problem = cell_problem(name, question_id, ID)
        problem = problem or text_problem(text_column, text, max_characters)
        if not problem:
            first_line = line_of_id.setdefault(hash(question_id), row.line)
            if first_line != row.line:
                problem = f"{name} stands on line {first_line} already"
        yield replace(row, values=(question_id, text)), with_lines(row, problem)


def with_lines(row: Row, problem: str | None) -> str | None:
    """What is wrong with a row, and up to where it goes where that is more than a line: a quote may be missing."""
    if problem and row.lines > 1:
        return f"{problem}; it takes {row.lines:,} lines, to line {row.line + row.lines - 1:,}"
    return problem


@dataclass
class Tally:
    """What is counted of a file while its rows are checked."""

    good: int = 0
    bad: int = 0
    bad_lines: int = 0  # that the bad rows take
    identical: int = 0  # texts of the same visible words as one before
    _texts: set[int] = field(default_factory=set)

    def add(self, row: Row, problem: str | None, text: str | None = None) -> None:
        """Count a row; `text` is what is looked for again."""
        if problem:
            self.bad += 1
            self.bad_lines += row.lines
            return
        self.good += 1
        if text is not None:
            of_words = hash(normalize(text))
            self.identical += of_words in self._texts
            self._texts.add(of_words)

    def forget_texts(self) -> None:
        """Look for none of them again: every row was counted. Of a large file they take a gigabyte."""
        self._texts = set()

    @property
    def bad_words(self) -> str:
        """How many rows are bad, in words, and how many lines they take where those are more."""
        rows = f"{self.bad:,} broken {'row' if self.bad == 1 else 'rows'}"
        return rows if self.bad_lines == self.bad else f"{rows} ({self.bad_lines:,} lines)"


def open_rejected(path: Path) -> IO[str]:
    """A new file for rejected rows. It holds lone surrogates, which UTF-8 has none of, as escapes.

    It begins with UTF-8's mark: without one, a spreadsheet takes it for cp1252.
    """
    return path.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="")


class RejectedRows:
    """A CSV of the rows that can't be taken: first line, why, and the wanted cells or the row as it stands."""

    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._writer = csv.writer(file)
        self._columns = len(columns)
        self._writer.writerow(["line", "why", *columns, "row"])

    def write(self, row: Row, problem: str) -> None:
        """Add a row."""
        cells = [*row.values, ""] if row.values else [*[""] * self._columns, row.raw]
        self._writer.writerow([row.line, problem, *cells])
