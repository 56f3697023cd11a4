"""The database itself: who reads, who writes, and which rows are damaged. Every table's room is built on it."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic.util import CommandError

from app.engine.store import sqlite
from app.engine.store.schema import check_columns, latest_schema, migrate, schema_of
from app.errors import DataDamaged, DataDirectoryUnusable, StorageFull

TIME = "%Y-%m-%dT%H:%M:%SZ"

INCOMPLETE = (
    "the database %s was copied while a server had it open, without the file that ends in -wal: unless SQLite's own"
    " `.backup` or `VACUUM INTO` made the copy, it lacks what was written last, and perhaps everything"
)

log = logging.getLogger(__name__)


class Database:
    """One SQLite database. Safe from many threads; one writes at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; `prepare` does the rest."""
        self._path = path
        self._write_lock = threading.Lock()
        self._of_thread = threading.local()  # the connection that a thread reads through
        self._damaged: set[tuple[object, ...]] = set()
        self._engine = sqlite.make_engine(path)
        self._views = sqlite.Views(self._engine)
        self._commits = sqlite.CommitCounter(path)
        self._eraser = sqlite.Eraser(path)
        self._is_prepared = False

    def prepare(self, begin: Callable[[sa.Connection], None]) -> None:
        """Check the database, bring its schema up to date, and let `begin` write what must stand there from the start.

        Raises DataDirectoryUnusable; the connections are closed then.
        """
        try:
            sqlite.make_private(self._path)
            if sqlite.lacks_its_log(self._path):
                log.warning(INCOMPLETE, self._path)
            with self.reading() as connection:
                sqlite.check_integrity(connection)
            with self.writing() as connection:
                migrate(connection)
                check_columns(connection)
                begin(connection)
                sqlite.mark_open(connection, is_open=True)
        except (*sqlite.ERRORS, OSError, CommandError, DataDamaged, StorageFull) as error:
            self.close()
            raise DataDirectoryUnusable(
                f"can't use the database {self._path}: {sqlite.original(error)}"
            ) from error
        self._is_prepared = True
        if not sqlite.empty_log(self._path):
            self._eraser.erase_soon()

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self._eraser.close()
        if self._is_prepared:
            self._is_prepared = False
            with suppress(*sqlite.ERRORS, StorageFull, DataDamaged), self.writing() as connection:
                sqlite.mark_open(connection, is_open=False)
        self._commits.close()
        self._views.close()
        self._engine.dispose()

    def version(self) -> int | None:
        """A number that is another one after any commit, of this or another process; None where that can't be told.

        It takes a microsecond and waits for nobody.
        """
        return self._commits.value()

    def is_current(self) -> bool:
        """Whether the schema is the one that this code knows. Raises DataDamaged."""
        with self.reading() as connection:
            return schema_of(connection) == latest_schema()

    @property
    def damaged(self) -> int:
        """How many rows were found that do not match their checksum; they are passed over."""
        return len(self._damaged)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view; inside another one of the same thread, the same view.

        Raises DataDamaged where SQLite finds the file malformed.
        """
        if outer := getattr(self._of_thread, "connection", None):
            yield outer
            return
        with sqlite.translated_errors(), self._views.lent() as connection:
            self._of_thread.connection = connection
            try:
                yield connection
            finally:
                self._of_thread.connection = None

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One write transaction at a time. Raises StorageFull when the disk has no room; nothing is written then."""
        with sqlite.translated_errors(), self._write_lock, self._engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def erase_deleted(self) -> None:
        """After a deletion: let nothing of what was deleted stay in any file. Soon, and in another thread."""
        self._eraser.erase_soon()

    def report(self, table: sa.Table, *key: object) -> None:
        """Log once that a row is damaged, and count it."""
        place = (table.name, *key)
        if place not in self._damaged:
            self._damaged.add(place)
            log.error("the row %s of %s fails its checksum; it is left out", key, table)


def now() -> str:
    """The time in UTC, as rows hold it: `2026-01-31T09:30:00Z`."""
    return datetime.now(UTC).strftime(TIME)
