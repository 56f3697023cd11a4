"""`sameask keys`: make, list and revoke keys, in place. The data directory may belong to a server that is running: it
heeds the change at its next request. There is no HTTP route for this, so a stolen key can't make itself another one."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.client import assert_data_directory
from app.cli.options import AsJson
from app.cli.terminal import cell, print_json, print_line, print_note, print_table
from app.data_directory import shared
from app.engine.store import Store
from app.errors import CommandError
from app.keys import make_key
from app.private_files import write_private
from app.scopes import KeyScope
from app.settings import Settings

MAX_NAME_CHARACTERS = 100
ID = re.compile("[0-9a-f]{16}")

keys = typer.Typer(
    help="Make, list and revoke keys: in the data directory, also while a server runs on it.",
    no_args_is_help=True,
    add_completion=False,
)


@keys.command()
def create(
    scope: Annotated[
        list[KeyScope], typer.Option(help="What it is for; may be given more than once.")
    ],
    name: Annotated[str, typer.Option(help="Whose it is, for the list.")] = "",
    out_file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="New file for the key, which its owner alone may read."),
    ] = None,
) -> None:
    """Make a key and print it, this one time. From the first one on, every request to a server needs a key."""
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise CommandError(f"--name must be at most {MAX_NAME_CHARACTERS} printable characters")
    settings = Settings()
    with _store() as store, _made(out_file):
        made, key = make_key(store, scope, name)
        place = store.place if settings.database_url else settings.data_dir.absolute()
        if out_file:
            _keep(key, out_file, store, made.id)
    words = f"key {made.id} ({' '.join(made.scopes)}) of {place}"
    if out_file:
        print_note(f"{words}, in {out_file}")
    else:
        print_note(f"{words}; it is shown this once:")
        typer.echo(key)


@keys.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show every key's id, scopes and name, when it was made, and when revoked; never the key."""
    with _store() as store:
        stored = [asdict(key) for key in store.keys.all()]
    for key in stored:
        del key["digest"]
    if as_json:
        print_json(stored)
        return
    table = Table("id", "scopes", "name", "created", "revoked")
    for key in stored:
        table.add_row(*map(cell, _cells(key)))
    print_table(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `sameask keys list` shows it.")],
) -> None:
    """Take a key back, for good: the next request with it is refused."""
    if not ID.fullmatch(key_id):  # somebody may have pasted the key itself: it is not repeated
        raise CommandError("an id is 16 characters of 0-9 and a-f: `sameask keys list` shows them")
    with _store() as store:
        revoked = store.keys.revoke(key_id)
    print_line(f"key {revoked.id} was revoked at {revoked.revoked_at}")


def _store() -> AbstractContextManager[Store]:
    """The store of the data directory. Raises CommandError where nobody said that there should be one."""
    settings = Settings()
    assert_data_directory(settings)
    return shared(settings.data_dir, settings.store_url)


@contextmanager
def _made(file: Path | None) -> Iterator[None]:
    """A new file, empty, to be written inside; after an error it is gone again. Raises CommandError."""
    if file is None:
        yield
        return
    try:
        write_private(file, "")
    except OSError as error:
        raise CommandError(f"can't write {file}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _keep(key: str, file: Path, store: Store, key_id: str) -> None:
    """Write a key into its file. Raises CommandError; nobody would have the key then, so it is revoked."""
    try:
        file.write_text(f"{key}\n")
    except OSError as error:
        store.keys.revoke(key_id)
        raise CommandError(
            f"can't write {file}: {error.strerror}; the key {key_id} is revoked"
        ) from error


def _cells(key: dict[str, Any]) -> list[object]:
    scopes = " ".join(key["scopes"])
    return [key["id"], scopes, key["name"], key["created_at"], key["revoked_at"]]
