"""`sameask copy`: a whole store, from a data directory to a PostgreSQL database or back."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from app.cli.options import AsJson
from app.cli.terminal import cell, print_json, print_note, print_table
from app.data_directory import DATABASE, locked
from app.engine.store import Store, copy_store
from app.errors import CommandError

PLACE = "a data directory, or the address of a PostgreSQL database (postgresql://…)"


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"What is copied: {PLACE}.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help=f"Where to: {PLACE}; nothing may be stored in it."),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a whole store from a data directory to a PostgreSQL database, or back.

    Questions with their revisions, labels, collections, keys and training runs come along, all or nothing.

    Both are read again, and compared by a digest of each table. No server may run on TO, nor on a data directory FROM.
    Releases and snapshots are files, and stay. Whoever lists processes reads addresses: name no password in one, but in
    PGPASSWORD or ~/.pgpass.
    """
    if "://" not in source and not (Path(source) / DATABASE).is_file():
        raise CommandError(f"there is no data directory {source}")
    with _opened(source) as original, _opened(target) as copied:
        tables = copy_store(original, copied)
    if as_json:
        print_json([asdict(table) for table in tables])
        return
    shown = Table("table", "rows", "digest")
    for table in tables:
        shown.add_row(cell(table.table), cell(f"{table.rows:,}"), cell(table.digest))
    print_table(shown)
    left_out = sum(table.left_out for table in tables)
    if left_out:
        print_note(f"{left_out:,} damaged rows were left out; the log names them")


@contextmanager
def _opened(place: str) -> Iterator[Store]:
    """The store there, which nobody else may use if it is in a data directory."""
    if "://" in place:
        with closing(Store(place)) as store:
            yield store
        return
    with locked(Path(place)) as store:
        yield store
