"""`sameask import` and `sameask export`: the questions of a collection, from a file and back into one."""

from typing import Annotated

import typer

from app.cli.client import run
from app.cli.download import page_size, print_all
from app.cli.input_file import named_file
from app.cli.options import (
    AsJsonLines,
    Delimiter,
    Encoding,
    IdColumn,
    InCollection,
    InFile,
    KeyFile,
    Rejected,
    SkipBad,
    TextColumn,
    Url,
)
from app.cli.terminal import print_note
from app.cli.upload import SHOWN_PROBLEMS, Target, Upload, upload
from app.engine.rows import TableFile
from app.errors import CommandError
from app.row_checks import Tally, checked_questions
from app.settings import Settings
from sameask_client import AsyncClient, Question

COLUMN_OPTIONS = "--id-column and --text-column name others"


def import_(
    file: InFile,
    collection: InCollection = "default",
    create: Annotated[
        bool, typer.Option("--create", help="Make the collection, if it is not there.")
    ] = False,
    id_column: IdColumn = "id",
    text_column: TextColumn = "text",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    rejected: Rejected = None,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Write a file of questions into a collection. Importing it again changes nothing."""
    columns = (id_column, text_column)
    with named_file(file, delimiter, encoding) as given:
        wanted = Upload(
            given,
            rows=lambda: checked_questions(given, columns, Settings().max_characters),
            columns=("id", "text"),
            item=lambda row: (row.values[0], row.values[1]),
            send=AsyncClient.import_questions,
            max_items=Settings().max_upsert,
            counts=("added", "updated", "unchanged"),
            is_of_texts=True,
            column_options=COLUMN_OPTIONS,
        )
        upload(wanted, Target(collection, url, key_file, skip_bad, rejected, create))


def export(
    collection: InCollection = "default",
    as_json: AsJsonLines = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Print every question of a collection, as CSV that `import` reads."""

    async def export_all(service: AsyncClient) -> None:
        stored = service.list_questions(collection=collection, page_size=page_size())
        await print_all(stored, ("id", "text"), _record, as_json)

    run(url, key_file, export_all)


def _record(question: Question) -> list[object]:
    return [question.id, question.text]


def read_questions(
    file: TableFile, columns: tuple[str, str], *, skip_bad: bool = False
) -> list[tuple[str, str]]:
    """(id, text) of every row. Raises CommandError for a broken one, unless told to skip: the first are shown then."""
    questions = []
    tally = Tally()
    for row, problem in checked_questions(file, columns, Settings().max_characters):
        tally.add(row, problem)
        if problem is None:
            questions.append((row.values[0], row.values[1]))
            continue
        words = f"{file.name}:{row.line}: {problem}"
        if not skip_bad:
            raise CommandError(words)
        if tally.bad <= SHOWN_PROBLEMS:
            print_note(words, style="yellow")
    if tally.bad:
        print_note(f"{tally.bad_words} skipped", style="yellow")
    return questions
