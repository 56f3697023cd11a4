"""What commands print: results on standard output, all else on standard error.

Stored texts and names come from anybody. A character that steers a terminal, or turns the direction of what follows,
is shown as an escape (`\\x1b`), so that no text passes for something else.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

# Control characters but tab and line feed (C0, DEL, C1), and those that turn the direction of writing.
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

out = Console()
err = Console(stderr=True)


def visible(text: str) -> str:
    """The text with every steering character as an escape of Python's."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_line(words: str) -> None:
    """One line of result: nothing in it is markup, and it is not wrapped."""
    out.print(visible(words), markup=False, highlight=False, soft_wrap=True)


def print_note(words: str, style: str | None = None) -> None:
    """One line beside the result."""
    err.print(visible(words), style=style, markup=False, highlight=False, soft_wrap=True)


def as_json(value: object, indent: int | None = None) -> str:
    """JSON of the value; steering characters are escaped as JSON has it, so that it is read back as it was."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_json(value: object) -> None:
    """A result as JSON, indented."""
    typer.echo(as_json(value, indent=2))


def cell(value: object) -> Text:
    """A cell of a table, in which nothing is markup; empty for None."""
    return Text("" if value is None else visible(str(value)))


def fail(words: str) -> NoReturn:
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


def use_unicode() -> None:
    """Print UTF-8 into files and pipes, whatever the locale; on a terminal, what it lacks becomes an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def drop_output() -> None:
    """Give up what could not be written to standard output: Python would try once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
