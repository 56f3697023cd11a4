"""What may stand in a cell of a file that is imported: the rules of a request's fields, in words about a column."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.http.fields import Person, QuestionId, Text

ID: TypeAdapter[str] = TypeAdapter(QuestionId)
TEXT: TypeAdapter[str] = TypeAdapter(Text)
PERSON: TypeAdapter[str] = TypeAdapter(Person)


def cell_problem(column: str, value: Any, kind: TypeAdapter[str]) -> str | None:
    """What is wrong with a cell, if anything is."""
    try:
        kind.validate_python(value, strict=True)
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        return f"{column} {words}"
    return None


def text_problem(column: str, value: Any, max_characters: int) -> str | None:
    """What is wrong with a cell that holds a text, if anything is."""
    problem = cell_problem(column, value, TEXT)
    if not problem and len(value) > max_characters:
        return f"{column} has {len(value):,} characters; at most {max_characters:,} (SAMEASK_MAX_CHARACTERS)"
    return problem
