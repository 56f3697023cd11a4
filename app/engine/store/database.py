"""The database itself: who reads, who writes, and which rows are damaged. Every table's room is built on it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from app.engine.store.driver import Begin, Driver
from app.engine.store.schema import latest_schema, schema_of

TIME = "%Y-%m-%dT%H:%M:%SZ"

log = logging.getLogger(__name__)


class Database:
    """One database, of either kind. Safe from many threads."""

    def __init__(self, driver: Driver) -> None:
        """`prepare` does the rest."""
        self.driver = driver
        self._of_thread = threading.local()  # the connection that a thread reads through
        self._damaged: set[tuple[object, ...]] = set()

    def prepare(self, begin: Begin) -> None:
        """See that the database can be used; `begin` writes what must stand there from the start.

        Raises StartupError; the connections are closed then.
        """
        self.driver.prepare(begin)

    def close(self) -> None:
        """Close every connection."""
        self.driver.close()

    def version(self) -> int | None:
        """A number that is another one after any commit, of this or another process; None where that can't be told.

        It takes a microsecond and waits for nobody.
        """
        return self.driver.version()

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

        Raises DataDamaged, DatabaseUnavailable.
        """
        if outer := getattr(self._of_thread, "connection", None):
            yield outer
            return
        with self.driver.translated_errors(), self.driver.lent() as connection:
            self._of_thread.connection = connection
            try:
                yield connection
            finally:
                self._of_thread.connection = None

    @contextmanager
    def asking(self) -> Iterator[sa.Connection]:
        """A connection for statements that may each see a moment of its own; within a view, the same view.

        Raises DataDamaged, DatabaseUnavailable.
        """
        if outer := getattr(self._of_thread, "connection", None):
            yield outer
            return
        with self.driver.translated_errors(), self.driver.lent_once() as connection:
            yield connection

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that is written whole or not at all.

        It changes only what it has locked: `Collections.locked` locks a collection and all that stands in it, a
        selection `with_for_update` its rows, `alone` a table. Raises StorageFull, DatabaseUnavailable.
        """
        return self.driver.writing()

    def alone(self, connection: sa.Connection, table: sa.Table) -> None:
        """Wait until no other transaction has asked this of the table, and let none until this one ends."""
        self.driver.alone(connection, table)

    def erase_deleted(self) -> None:
        """After a deletion: let nothing of what was deleted stay in any file. Soon, and in another thread."""
        self.driver.erase_soon()

    def report(self, table: sa.Table, *key: object) -> None:
        """Log once that a row is damaged, and count it."""
        place = (table.name, *key)
        if place not in self._damaged:
            self._damaged.add(place)
            log.error("the row %s of %s fails its checksum; it is left out", key, table)


def now() -> str:
    """The time in UTC, as rows hold it: `2026-01-31T09:30:00Z`."""
    return datetime.now(UTC).strftime(TIME)
