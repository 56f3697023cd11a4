"""`sameask import` and `sameask export`: the questions of a collection, from a file and back into one."""

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
from app.cli.upload import Upload, upload
from app.errors import CommandError
from app.row_checks import checked_questions
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
        rows=lambda: checked_questions(file, columns, Settings().max_characters),
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
    for row, problem in checked_questions(file, columns, Settings().max_characters):
        if problem:
            raise CommandError(f"{file}:{row.line}: {problem}")
        questions.append((row.values[0], row.values[1]))
    return questions
