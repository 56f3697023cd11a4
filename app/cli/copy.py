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
from app.data_directory import DATABASE, POSTGRES, held, locked
from app.engine.store import Store, copy_store
from app.errors import CommandError
from app.replicas.postgres import running

PLACE = "a data directory, or the address of a PostgreSQL database (postgresql://…)"


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"What is copied: {PLACE}.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help=f"Where to: {PLACE}; nothing may be stored in it."),
    ],
    replicas: Annotated[
        bool,
        typer.Option(
            "--replicas",
            help="TO is a data directory of `sameask serve --replicas`; it is made if there is none.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a whole store from a data directory to a PostgreSQL database, or back.

    Questions with their revisions, labels, collections, keys and training runs come along, all or nothing.

    Both are read again, and compared by a digest of each table. No server may run on TO, nor on a data directory FROM.
    Releases and snapshots are files, and stay. Whoever lists processes reads addresses: name no password in one, but in
    PGPASSWORD or ~/.pgpass.
    """
    if not _holds_store(source):
        raise CommandError(f"there is no data directory {source}")
    if replicas and ("://" in target or (Path(target) / DATABASE).exists()):
        raise CommandError(f"--replicas: {target} is no data directory for several processes")
    with (
        _opened(source) as original,
        _opened(target, for_replicas=replicas) as copied,
    ):
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


def _holds_store(place: str) -> bool:
    folder = Path(place)
    return "://" in place or (folder / DATABASE).is_file() or (folder / POSTGRES).is_dir()


@contextmanager
def _opened(place: str, *, for_replicas: bool = False) -> Iterator[Store]:
    """The store there, which nobody else may use if it is in a data directory."""
    folder = Path(place)
    if "://" in place:
        with closing(Store(place)) as store:
            yield store
    elif for_replicas or (folder / POSTGRES).exists():
        with held(folder), running(folder) as url, closing(Store(url)) as store:
            yield store
    else:
        with locked(folder) as store:
            yield store
