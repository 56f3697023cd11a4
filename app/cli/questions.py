"""`sameask import` and `sameask export`: the questions of a collection, from a file and back into one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.cli.client import run
from app.cli.download import print_all
from app.cli.options import (
    AsJsonLines,
    IdColumn,
    InCollection,
    InFile,
    KeyFile,
    SkipBad,
    TextColumn,
    Url,
)
from app.cli.row_checks import ID, cell_problem, text_problem
from app.cli.upload import CheckedRow, Upload, upload
from app.engine.rows import read_rows
from app.errors import CommandError
from app.settings import Settings


def import_(
    file: InFile,
    collection: InCollection = "default",
    id_column: IdColumn = "id",
    text_column: TextColumn = "text",
    skip_bad: SkipBad = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Write a file of questions into a collection. Importing it again changes nothing."""
    columns = (id_column, text_column)
    wanted = Upload(
        file,
        items="questions",
        max_items=Settings().max_upsert,
        rows=lambda: _checked_rows(file, columns),
        item=lambda row: {"id": row.values[0], "text": row.values[1]},
        counts=("added", "updated", "unchanged"),
    )
    upload(wanted, collection, skip_bad, url, key_file)


def export(
    collection: InCollection = "default",
    as_json: AsJsonLines = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Print every question of a collection, as CSV that `import` reads."""
    columns = ("id", "text")

    def record(question: dict[str, Any]) -> list[object]:
        return [question["id"], question["text"]]

    run(
        url,
        key_file,
        lambda service: print_all(service, "questions", collection, columns, record, as_json),
    )


def read_questions(file: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    """(id, text) of every row. Raises CommandError for a broken one."""
    questions = []
    for row, problem in _checked_rows(file, columns):
        if problem:
            raise CommandError(f"{file}:{row.line}: {problem}")
        questions.append((row.values[0], row.values[1]))
    return questions


def _checked_rows(file: Path, columns: tuple[str, str]) -> Iterator[CheckedRow]:
    """Each row of a file of questions, and what is wrong with it."""
    max_characters = Settings().max_characters
    line_of_id: dict[int, int] = {}  # by the id's hash: the ids themselves would take more memory
    for row in read_rows(file, columns):
        if row.error:
            yield row, row.error
            continue
        question_id, text = row.values
        problem = cell_problem(columns[0], question_id, ID)
        problem = problem or text_problem(columns[1], text, max_characters)
        if not problem:
            first_line = line_of_id.setdefault(hash(question_id), row.line)
            if first_line != row.line:
                problem = f"{columns[0]} stands on line {first_line} already"
        yield row, problem
