"""SQLite: how a connection is set up, who reads and who writes, error codes, and how deleted text leaves the file.

Transactions of SQLAlchemy cost more than most of what is read in them, so connections for reading are kept in one.
"""

import logging
import os
import sqlite3
import stat
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.engine.store.driver import Begin
from app.engine.store.prepared import Prepared, driver_of
from app.engine.store.schema import check_columns, migrate
from app.errors import DataDamaged, DataDirectoryUnusable, StorageFull

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": 10_000,
    "secure_delete": 1,  # deleted content is overwritten
}
NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_FSYNC,
}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # by their low byte
VALUES_AT_ONCE = 512  # in one IN (...)
POOL_SIZE = 32
OWNER_ONLY = 0o600
# A database, its write-ahead log and the index of that, after the name.
FILES = ("", "-wal", "-shm")
WAIT_SECONDS = 0.2  # for readers, when the log is emptied
LONGEST_WAIT_SECONDS = 60.0  # while that fails, as the disk is full
# Of a database's header (https://www.sqlite.org/fileformat2.html): pages, and a number for the application's use.
HEADER_BYTES = 100
PAGES = slice(28, 32)
USER_VERSION = slice(60, 64)
SEQUENCES = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
IS_OPEN = 1  # as that number: the log beside the file may hold some of the content

INCOMPLETE = (
    "the database %s was copied while a server had it open, without the file that ends in -wal: unless SQLite's own"
    " `.backup` or `VACUUM INTO` made the copy, it lacks what was written last, and perhaps everything"
)

log = logging.getLogger(__name__)

ERRORS = (DBAPIError, sqlite3.Error)  # what SQLAlchemy or the driver raises


class Sqlite:
    """One database file. One transaction writes at a time, so none has to lock anything more."""

    def __init__(self, path: Path) -> None:
        self.engine = make_engine(path)
        self.views = Views(self.engine)
        self.write_lock = threading.Lock()
        self.place = str(path)
        self._path = path
        self._commits = CommitCounter(path)
        self._eraser = Eraser(path)
        self._is_prepared = False
        self.lent = self.lent_once = self.views.lent
        self.translated_errors = translated_errors
        self.version = self._commits.value
        self.erase_soon = self._eraser.erase_soon
        self.any_of = select_any_of

    def prepare(self, begin: Begin) -> None:
        """Check the file, or make it, and bring its schema up to date. Raises DataDirectoryUnusable."""
        try:
            make_private(self._path)
            if lacks_its_log(self._path):
                log.warning(INCOMPLETE, self._path)
            with translated_errors(), self.lent() as connection:
                check_integrity(connection)
            with self.writing() as connection:
                migrate(connection)
                check_columns(connection)
                begin(connection)
                mark_open(connection, is_open=True)
        except (*ERRORS, OSError, CommandError, DataDamaged, StorageFull) as error:
            self.close()
            raise DataDirectoryUnusable(
                f"can't use the database {self._path}: {original(error)}"
            ) from error
        self._is_prepared = True
        if not self._eraser.empty():
            self.erase_soon()

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self._eraser.close()
        if self._is_prepared:
            self._is_prepared = False
            with suppress(*ERRORS, StorageFull, DataDamaged), self.writing() as connection:
                mark_open(connection, is_open=False)
        self._commits.close()
        self.views.close()
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One write transaction at a time, of all processes."""
        with translated_errors(), self.write_lock, self.engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def alone(self, connection: sa.Connection, table: sa.Table) -> None:
        """Whoever writes is alone."""

    def take_time(self, connection: sa.Connection) -> None:
        """It may: nothing here ends a transaction."""

    def last_number(self, connection: sa.Connection, table: sa.Table) -> int:
        """The last number that a table gave to a row, gone or not; 0: none."""
        query = sa.select(SEQUENCES.c.seq).where(SEQUENCES.c.name == table.name)
        return connection.execute(query).scalar() or 0

    def continue_from(self, connection: sa.Connection, table: sa.Table, number: int) -> None:
        """SQLite goes on from the greatest number it knows of; rows that are gone had greater ones perhaps."""
        is_table = SEQUENCES.c.name == table.name
        connection.execute(sa.delete(SEQUENCES).where(is_table))
        connection.execute(sa.insert(SEQUENCES).values(name=table.name, seq=number))


def make_engine(path: Path) -> sa.Engine:
    """An engine over one file. Its transactions read, unless the connection has the option `write`."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(
        url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, hide_parameters=True
    )
    sa.event.listen(engine, "connect", configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def configure(connection: sqlite3.Connection, _record: object) -> None:
    """Set a new connection up. A pragma that did not take is an error: durability is checked, not hoped for."""
    # Text that is not UTF-8 is damaged; it fails its checksum.
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    # Transactions begin where `_begin` says, not before the first write.
    connection.isolation_level = None
    for pragma, wanted in PRAGMAS.items():
        connection.execute(f"PRAGMA {pragma} = {wanted}")
        (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if value != wanted:
            raise DataDirectoryUnusable(
                f"SQLite keeps {pragma} at {value!r} instead of {wanted!r} on this file system"
            )


def check_integrity(connection: sa.Connection) -> None:
    """Raise DataDamaged if a page, or an index against its table, is not what it should be."""
    outcome = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if outcome != "ok":
        raise DataDamaged(f"it is damaged ({outcome}): restore a backup")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise StorageFull and DataDamaged in place of the errors of SQLite that mean these."""
    try:
        yield
    except ERRORS as error:
        code = getattr(original(error), "sqlite_errorcode", 0)
        if code in NO_ROOM:
            raise StorageFull("the disk is full: nothing was written") from error
        if code & 0xFF in DAMAGED:
            raise DataDamaged("the database is damaged: restore a backup") from error
        raise
    except UnicodeDecodeError as error:  # in SQLite's own words about a damaged schema
        raise DataDamaged("the database is damaged: restore a backup") from error


def original(error: Exception) -> object:
    """The driver's error, which SQLAlchemy may have wrapped."""
    return error.orig if isinstance(error, DBAPIError) else error


def make_private(path: Path) -> None:
    """Let the owner alone read and write a database, which is made if there is none. Raises OSError."""
    for ending in FILES:
        file = path.with_name(path.name + ending)
        if not ending:
            os.close(os.open(file, os.O_RDONLY | os.O_CREAT, OWNER_ONLY))
        with suppress(FileNotFoundError):
            status = file.stat()
            if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
                file.chmod(OWNER_ONLY)


def lacks_its_log(path: Path) -> bool:
    """Whether a database was copied, without its write-ahead log, while it was open. Raises OSError.

    To be asked before it is opened. SQLite's own copies (`.backup`, `VACUUM INTO`) look the same, and are complete.
    """
    if path.with_name(f"{path.name}-wal").exists():
        return False
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return False
    has_no_table = (
        int.from_bytes(header[PAGES]) == 1
    )  # only its first page was moved out of the log
    return has_no_table or int.from_bytes(header[USER_VERSION]) == IS_OPEN


def mark_open(connection: sa.Connection, *, is_open: bool) -> None:
    """Note in the header whether the log may hold some of the content."""
    connection.exec_driver_sql(f"PRAGMA user_version = {IS_OPEN if is_open else 0}")


class Eraser:
    """Empties the write-ahead log after deletions: until then it holds the deleted text, however safe the file is.

    It does so in a thread of its own, once for all deletions of a moment: a deletion does not wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_due = self._is_closing = False
        self._failing_seconds = 0.0  # to wait, since it has failed and was not done

    def erase_soon(self) -> None:
        """Empty the log as soon as its readers let it."""
        with self._changed:
            self._is_due = True
            if self._thread is None:
                self._is_closing = False
                self._thread = threading.Thread(target=self._loop, name="eraser", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Empty it a last time if that is due, and end the thread; `erase_soon` starts another."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread:
            self._thread.join()
        self._thread = None

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (self._is_due or self._is_closing):
                    self._changed.wait()
                was_due = self._is_due
                self._is_due = False
            is_done = not was_due or self.empty()
            with self._changed:
                self._is_due = self._is_due or not is_done
                if self._is_closing:
                    return
                # Deletions that come meanwhile share the next time.
                seconds = max(WAIT_SECONDS, self._failing_seconds)
                self._changed.wait_for(lambda: self._is_closing, seconds)

    def empty(self) -> bool:
        """Empty it now; whether that was done. A failure is told of once, and tried again after ever longer pauses."""
        try:
            is_done = empty_log(self._path)
        except sqlite3.Error as error:
            if not self._failing_seconds:
                log.warning("the write-ahead log can't be emptied yet: %s", error)
            seconds = 2 * max(WAIT_SECONDS, self._failing_seconds)
            self._failing_seconds = min(seconds, LONGEST_WAIT_SECONDS)
            return False
        if is_done:
            self._failing_seconds = 0.0
        return is_done


def empty_log(path: Path) -> bool:
    """Move the log's content to the database, and cut the log to nothing; whether that was done.

    It is not while somebody reads what the log held some time ago. Raises sqlite3.Error, where the disk is full.
    """
    url = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(url, timeout=WAIT_SECONDS, uri=True)) as connection:
        ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return not is_busy


class Views:
    """Connections that are kept for reading and lent: a fifth of the cost of SQLAlchemy's pool and transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._idle: deque[sa.Connection] = deque()

    @contextmanager
    def lent(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of its own. One that failed is not kept."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect().execution_options(begun=True)
        try:
            driver_of(connection).execute("BEGIN")
            yield connection
            connection.rollback()  # of what SQLAlchemy ran, if it ran anything
            driver_of(connection).rollback()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().close()


class CommitCounter:
    """Tells whether anybody has committed to a file, this or another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def value(self) -> int | None:
        """A number that is another one after any commit; None where that can't be told.

        A look at shared memory: it takes a microsecond and waits for nobody.
        """
        try:
            with self._lock:
                if self._connection is None:
                    self._connection = sqlite3.connect(
                        self._path, timeout=0, check_same_thread=False
                    )
                ((number,),) = self._connection.execute("PRAGMA data_version").fetchall()
                return int(number)
        except sqlite3.Error:
            return None

    def close(self) -> None:
        """It may be asked again: then it connects again."""
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None


def select_any_of(
    connection: sa.Connection,
    table: sa.Table,
    collection_key: int,
    column: str,
    values: Sequence[Any],
    condition: sa.ColumnElement[bool],
) -> Iterator[dict[str, Any]]:
    """The collection's rows in which the column has one of these values. `condition` is a constant of its module."""
    for start in range(0, len(values), VALUES_AT_ONCE):
        chosen = values[start : start + VALUES_AT_ONCE]
        room = 1 << (len(chosen) - 1).bit_length()  # few statements serve every number of values
        parameters = {"key": collection_key}
        for place in range(room):
            parameters[f"value{place}"] = chosen[min(place, len(chosen) - 1)]
        yield from _any_of(table, column, condition, room).rows(connection, parameters)


@cache
def _any_of(table: sa.Table, column: str, condition: sa.ColumnElement[bool], room: int) -> Prepared:
    """The statement of `select_any_of` for so many values."""
    values: list[sa.BindParameter[Any]] = [sa.bindparam(f"value{i}") for i in range(room)]
    chosen = table.c[column] == values[0]
    if room > 1:
        chosen = table.c[column].in_(values)
    within = table.c.collection_key == sa.bindparam("key")
    return Prepared(table, within, chosen, condition)


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("begun"):  # by the view that it is lent to
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")
