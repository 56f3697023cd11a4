"""`sameask keys`: make, list and revoke keys, in place. The data directory may belong to a server that is running: it
heeds the change at its next request. There is no HTTP route for this, so a stolen key can't make itself another one."""

import json
import pkgutil
import re
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.errors import CommandError
from app.scopes import KeyScope
from app.settings import Settings

MAX_NAME_CHARACTERS = 100
ID = re.compile("[0-9a-f]{16}")

keys = typer.Typer(
    help="Make, list and revoke keys: in the data directory, also while a server runs on it.",
    no_args_is_help=True,
)
out = Console()
err = Console(stderr=True)


@keys.command()
def create(
    scope: Annotated[
        list[KeyScope], typer.Option(help="What it is for; may be given more than once.")
    ],
    name: Annotated[str, typer.Option(help="Whose it is, for the list.")] = "",
) -> None:
    """Make a key and print it, this one time. From the first one on, every request to a server needs a key."""
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise CommandError(f"--name must be at most {MAX_NAME_CHARACTERS} printable characters")
    with _store() as store:
        made, key = pkgutil.resolve_name("app.keys:make_key")(store, scope, name)
    err.print(
        f"key {made.id} ({' '.join(made.scopes)}); it is shown this once:",
        highlight=False,
        soft_wrap=True,
    )
    typer.echo(key)


@keys.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show every key's id, scopes and name, when it was made, and when revoked; never the key."""
    with _store() as store:
        found = [
            {name: value for name, value in asdict(key).items() if name != "digest"}
            for key in store.keys.all()
        ]
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("id", "scopes", "name", "created", "revoked")
    for key in found:
        scopes, revoked = " ".join(key["scopes"]), key["revoked_at"] or ""
        table.add_row(key["id"], scopes, Text(key["name"]), key["created_at"], revoked)
    out.print(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `sameask keys list` shows it.")],
) -> None:
    """Take a key back, for good: the next request with it is refused."""
    if not ID.fullmatch(key_id):  # somebody may have pasted the key itself: it is not repeated
        raise CommandError("an id is 16 characters of 0-9 and a-f: `sameask keys list` shows them")
    with _store() as store:
        revoked = store.keys.revoke(key_id)
    out.print(
        f"key {revoked.id} was revoked at {revoked.revoked_at}", highlight=False, soft_wrap=True
    )


def _store() -> AbstractContextManager[Any]:
    """The store, found by name so that commands which only speak to a server never load SQL."""
    store: AbstractContextManager[Any] = pkgutil.resolve_name("app.data_directory:shared")(
        Settings().data_dir
    )
    return store
