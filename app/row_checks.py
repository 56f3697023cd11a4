"""What may stand in a cell of a file that is imported: the rules of a request's fields, in words about a column."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.engine.rows import Row, read_rows
from app.fields import Person, QuestionId, Text, sentence

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
    file: Path, columns: tuple[str | None, str], max_characters: int, prefix: str = ""
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
        question_id = ids[0] if ids else str(row.line)
        if isinstance(question_id, str):
            question_id = prefix + question_id
        problem = cell_problem(name, question_id, ID)
        problem = problem or text_problem(text_column, text, max_characters)
        if not problem:
            first_line = line_of_id.setdefault(hash(question_id), row.line)
            if first_line != row.line:
                problem = f"{name} stands on line {first_line} already"
        yield replace(row, values=(question_id, text)), problem
