"""The output of commands: results on standard output, all else on standard error.

Stored texts and names come from anybody. A character that steers a terminal, or turns the direction of what follows, is
shown as an escape (`\\x1b`). So no text can pass for output of the command.
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
from rich.table import Table
from rich.text import Text

from sameask_client import as_document

# Control characters but tab and line feed (C0, DEL, C1), and those that turn the direction of writing.
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

FAILED, WRONG_USAGE, FAULT, INTERRUPTED = 1, 2, 70, 130
EXIT_CODES = {
    0: "The command did what it was asked to.",
    FAILED: "It could not: one line on standard error says why. Also `runs watch` of a run that did not succeed.",
    WRONG_USAGE: "It was called in a wrong way: an option or an argument that it does not know, or that is missing.",
    FAULT: "A fault of Sameask itself. With SAMEASK_LOG_LEVEL=debug it says where.",
    INTERRUPTED: "It was interrupted, by Ctrl-C.",
}
PIPED_WIDTH = 10_000  # columns: no table is cut in a file or a pipe

out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
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


def print_result(result: object) -> None:
    """A value that the client read from an answer, as the JSON that it was."""
    print_json(as_document(result))


def print_table(table: Table) -> None:
    """A result as a table. It is as wide as the terminal; in a file or a pipe, as wide as its content."""
    out.print(table, crop=False)


def cell(value: object) -> Text:
    """A cell of a table, in which nothing is markup; empty for None. A text that is too wide is folded."""
    return Text("" if value is None else visible(str(value)), overflow="fold")


def fail(words: str, code: int = FAILED) -> NoReturn:
    """End the command with this exit code, and say why."""
    print_note(f"sameask: {words}", style="red")
    raise SystemExit(code)


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
    """Print UTF-8 into files and pipes, whatever the locale. On a terminal, characters that it lacks become escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def drop_output() -> None:
    """Discard the output that could not be written: Python would try once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
