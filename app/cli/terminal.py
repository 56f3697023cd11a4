"""What commands print: results on standard output, all else on standard error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

out = Console()
err = Console(stderr=True)


def print_line(words: str) -> None:
    """One line of result, as it stands: nothing in it is markup, and it is not wrapped."""
    out.print(words, markup=False, highlight=False, soft_wrap=True)


def print_note(words: str, style: str | None = None) -> None:
    """One line beside the result, as it stands."""
    err.print(words, style=style, markup=False, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """A result as JSON, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def cell(value: object) -> Text:
    """A cell of a table, as it stands; empty for None."""
    return Text("" if value is None else str(value))


def fail(words: str) -> None:
    """End the command with exit code 1, and say why."""
    print_note(f"sameask: {words}", style="red")
    raise SystemExit(1)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Bars that show how much is done, on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield progress
