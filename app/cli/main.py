"""The `sameask` command: the list of commands, and the line that is printed when one fails.

A command's module is loaded by its name when the command is called, and not before. So `--help` loads none of them,
and a command that only speaks to a server loads neither the models nor the store.
"""

import os
import pkgutil
import sys
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from app.cli.terminal import FAULT, drop_output, fail, use_unicode
from app.errors import SameaskError


class Command(NamedTuple):
    """Where a command or a group of commands stands, and its line in the list of commands."""

    place: str
    help: str


COMMANDS = {
    "worker": Command(
        "app.cli.worker:worker",
        "Work on training runs in the data directory, beside a server or without one, until told to stop.",
    ),
    "serve": Command(
        "app.cli.serve:serve",
        "Start the service; SAMEASK_HOST, SAMEASK_PORT and the other settings say how.",
    ),
    "import": Command(
        "app.cli.questions:import_",
        "Write a file of questions into a collection. Importing it again changes nothing.",
    ),
    "find": Command("app.cli.ask:find", "Has this question been asked before?"),
    "pair": Command("app.cli.ask:pair", "Do these two ask the same?"),
    "label": Command(
        "app.cli.judging:label",
        "Say of two questions whether they ask the same. The next answer keeps to it.",
    ),
    "undo": Command(
        "app.cli.judging:undo",
        "Undo a label: the next answer is as if it had not been given. It stays for the record.",
    ),
    "review": Command(
        "app.cli.judging:review",
        "Label the pairs of the review queue, one after the other: a key and Enter for each.",
    ),
    "evidence": Command(
        "app.cli.evidence:evidence",
        "Show the precisions of `duplicate` that the labels support, and how many labels the others lack.",
    ),
    "collections": Command(
        "app.cli.collections:collections",
        "Collections: list, make, delete, and say which precision `duplicate` is to have.",
    ),
    "mine": Command(
        "app.cli.mine:mine",
        "Find all duplicate pairs of a file or a collection, the most similar first.",
    ),
    "export": Command(
        "app.cli.questions:export",
        "Print every question of a collection, as CSV that `import` reads.",
    ),
    "labels": Command("app.cli.labels:labels", "What people say of pairs."),
    "keys": Command(
        "app.cli.keys:keys",
        "Make, list and revoke keys: in the data directory, also while a server runs on it.",
    ),
    "runs": Command(
        "app.cli.training_runs:runs",
        "Training runs: a collection's labels become a release. A server works on them, or `sameask worker`.",
    ),
    "migrate": Command(
        "app.cli.migrate:migrate",
        "Bring the schema of the database of SAMEASK_DATABASE_URL up to date, also of an empty one.",
    ),
    "copy": Command(
        "app.cli.copy:copy",
        "Copy a whole store from a data directory to a PostgreSQL database, or back.",
    ),
    "releases": Command(
        "app.cli.releases:releases",
        "Which release is live, and how another takes its place.",
    ),
    "base": Command(
        "app.cli.base_model:base",
        "Fetch a model that releases stand on, and check its digest.",
    ),
}


class Commands(TyperGroup):
    """The commands of COMMANDS; the one that is called is loaded then."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name, the command, and its arguments."""
        name, _, arguments = super().resolve_command(ctx, args)
        return name, load(COMMANDS[str(name)].place), arguments


cli = typer.Typer(
    name="sameask",
    cls=Commands,
    help="Has this question been asked before?",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sameask {version('sameask')}")
        raise typer.Exit


@cli.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    """Has this question been asked before?"""


def load(place: str) -> Any:
    """The command or the group of commands that stands there."""
    loaded = pkgutil.resolve_name(place)
    if not isinstance(loaded, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command()(loaded)
        loaded = alone
    return typer.main.get_command(loaded)


def _name_only() -> None:
    """Takes the place of a command that is not loaded, in the list of commands."""


for _name, _command in COMMANDS.items():
    cli.command(_name, help=_command.help)(_name_only)


def main() -> None:
    """Entry point: one clear line for an error that is meant for a person."""
    use_unicode()
    try:
        _call()
    except SameaskError as error:
        fail(str(error))
    except ValidationError as error:
        fail("; ".join(_setting_words(e["loc"], e["msg"]) for e in error.errors()))
    except UnicodeEncodeError:
        broken = [argument for argument in sys.argv[1:] if not _is_unicode(argument)]
        if not broken:
            raise
        fail(f"an argument is not text in UTF-8: {broken[0]!a}")
    except BrokenPipeError:  # the reader of the pipe has closed it
        drop_output()
        raise SystemExit(1) from None
    except OSError as error:
        drop_output()
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except Exception as error:
        if os.environ.get("SAMEASK_LOG_LEVEL", "").lower() == "debug":
            raise
        fail(f"a fault of Sameask: {type(error).__name__}: {error}", FAULT)


def _call() -> None:
    """Call the command and flush its output. An error in writing that counts as one of the command."""
    try:
        cli(prog_name="sameask")
    finally:
        sys.stdout.flush()


def _is_unicode(argument: str) -> bool:
    """Whether an argument was UTF-8: Python holds bytes that are not as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _setting_words(place: tuple[int | str, ...], words: str) -> str:
    """A rule that a setting breaks. One about several settings together begins with a setting's name itself."""
    words = words.removeprefix("Value error, ")
    return f"SAMEASK_{str(place[0]).upper()}: {words}" if place else words
