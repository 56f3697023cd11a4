"""`sameask labels`: what people say of pairs, from a file and back into one."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from app.cli.client import run
from app.cli.download import page_size, print_all
from app.cli.input_file import named_file
from app.cli.options import (
    AsJsonLines,
    Delimiter,
    Encoding,
    InCollection,
    InFile,
    KeyFile,
    Rejected,
    SkipBad,
    Url,
)
from app.cli.upload import Target, Upload, upload
from app.engine.rows import Row, TableFile, read_rows, truth
from app.engine.text import Words, pair_digest
from app.row_checks import PERSON, CheckedRow, cell_problem, text_problem, with_lines
from app.settings import Settings
from sameask_client import AsyncClient, Label, NewLabel

COLUMNS = ("question1", "question2", "is_duplicate", "by", "note")

labels = typer.Typer(help="What people say of pairs.", no_args_is_help=True, add_completion=False)


@labels.command("import")
def import_labels(
    file: InFile,
    collection: InCollection = "default",
    by: Annotated[
        str | None,
        typer.Option(
            help="Who says so; without it, the column `by`, or the name of the key for --url."
        ),
    ] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    rejected: Rejected = None,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Label the pairs of a file: question1, question2, is_duplicate, by, and note if there is one.

    Importing it again changes nothing.
    """
    with named_file(file, delimiter, encoding) as given:
        wanted = Upload(
            given,
            rows=lambda: _checked_rows(given, by, is_named=url is not None),
            columns=COLUMNS,
            item=partial(_label, by=by),
            send=AsyncClient.import_labels,
            max_items=Settings().max_labels,
            counts=("added", "replaced", "unchanged"),
        )
        upload(wanted, Target(collection, url, key_file, skip_bad, rejected))


@labels.command("export")
def export_labels(
    collection: InCollection = "default",
    as_json: AsJsonLines = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Print every active label of a collection, as CSV that `labels import` and training read."""

    async def export(service: AsyncClient) -> None:
        stored = service.list_labels(collection=collection, page_size=page_size())
        await print_all(stored, COLUMNS, partial(_record, in_json=as_json), as_json)

    run(url, key_file, export)


def _record(label: Label, *, in_json: bool) -> list[object]:
    is_duplicate = label.is_duplicate if in_json else int(label.is_duplicate)
    return [*label.questions, is_duplicate, label.by, label.note]


def _checked_rows(file: TableFile, by: str | None, *, is_named: bool) -> Iterator[CheckedRow]:
    """Each row of a file of labels, and its problem, if it has one. `is_named`: the key may tell who speaks."""
    max_characters = Settings().max_characters
    needed = COLUMNS[:3] if by or is_named else COLUMNS[:4]
    firsts: dict[int, tuple[int, object]] = {}  # by a pair's and a person's hash: line, and label
    for row in read_rows(file, needed, optional=COLUMNS[len(needed) :]):
        problem = row.error or _problem(row, by, max_characters, is_named=is_named)
        if not problem:
            label = _label(row, by)
            content = (label.is_duplicate, label.note)
            one, other = (Words.of(text) for text in row.values[:2])
            key = hash((pair_digest(one, other), label.by))
            first_line, first_content = firsts.setdefault(key, (row.line, content))
            if content != first_content:
                problem = f"says otherwise than line {first_line} of the same pair"
        yield row, problem if row.error else with_lines(row, problem)


def _label(row: Row, by: str | None) -> NewLabel:
    """The label in a good row."""
    one, other, said, named, note = row.values
    return NewLabel(
        questions=(one, other),
        is_duplicate=bool(truth(said)),
        by=by or named or None,
        note=note or None,
    )


def _problem(row: Row, by: str | None, max_characters: int, *, is_named: bool) -> str | None:
    """The first thing that is wrong with a row, if anything is."""
    one, other, said, named, note = row.values
    problem = text_problem("question1", one, max_characters)
    problem = problem or text_problem("question2", other, max_characters)
    if not problem and truth(said) is None:
        problem = "is_duplicate must be 0 or 1"
    if by or named is not None or not is_named:
        problem = problem or cell_problem("by", by or named, PERSON)
    if not problem and note:
        problem = text_problem("note", note, max_characters)
    if not problem and one == other:
        problem = "is a pair of a text with itself"
    return problem
