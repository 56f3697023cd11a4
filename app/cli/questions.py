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
from app.cli.terminal import print_note
from app.cli.upload import SHOWN_PROBLEMS, Upload, upload
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


def read_questions(
    file: Path, columns: tuple[str, str], *, skip_bad: bool = False
) -> list[tuple[str, str]]:
    """(id, text) of every row. Raises CommandError for a broken one, unless told to skip: the first are shown then."""
    questions = []
    bad = 0
    for row, problem in checked_questions(file, columns, Settings().max_characters):
        if problem is None:
            questions.append((row.values[0], row.values[1]))
            continue
        words = f"{file}:{row.line}: {problem}"
        if not skip_bad:
            raise CommandError(words)
        bad += 1
        if bad <= SHOWN_PROBLEMS:
            print_note(words, style="yellow")
    if bad:
        print_note(f"{bad:,} broken rows skipped", style="yellow")
    return questions
