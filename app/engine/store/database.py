"""The database itself: connections, transactions, checksums, migrations. Every table's room is built on it.

Each row carries a checksum over all of it: a damaged one is reported and passed over, never served.
"""

import hashlib
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from app.errors import DataDamaged, DataDirectoryUnusable, StorageFull

SELECT_CHUNK = 512  # values in one IN (...)
TIME = "%Y-%m-%dT%H:%M:%SZ"
NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_FSYNC,
}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # by their low byte
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
DIALECT = sqlite.dialect()

metadata = sa.MetaData()
log = logging.getLogger(__name__)


class Database:
    """One SQLite database. Safe from many threads; one writes at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; `prepare` does the rest."""
        self._path = path
        self._write_lock = threading.Lock()
        self._view = (
            threading.local()
        )  # the connection that this thread reads through, while it does
        self._viewing: deque[sa.Connection] = deque()  # idle ones, to read through
        self._watching = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._damaged: set[tuple[object, ...]] = set()
        url = sa.URL.create("sqlite", database=str(path))
        self._engine = sa.create_engine(url, pool_size=32, max_overflow=32, hide_parameters=True)
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)

    def prepare(self, begin: Callable[[sa.Connection], None]) -> None:
        """Check the database, bring its schema up to date, and let `begin` write what must stand there from the start.

        Raises DataDirectoryUnusable; the connections are closed then.
        """
        try:
            self._check_integrity()
            with self.writing() as connection:
                migrate(connection)
                _check_schema(connection)
                begin(connection)
        except (DBAPIError, sqlite3.Error, CommandError, DataDamaged, StorageFull) as error:
            self.close()
            raise DataDirectoryUnusable(
                f"can't use the database {self._path}: {_words(error)}"
            ) from error

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        with self._watching:
            if self._watch:
                self._watch.close()
            self._watch = None
        while self._viewing:
            self._viewing.pop().close()
        self._engine.dispose()

    def version(self) -> int | None:
        """A number that is another one after any commit, of this or another process; None where that can't be told.

        A look at shared memory: it takes a microsecond and waits for nobody.
        """
        try:
            with self._watching:
                self._watch = self._watch or sqlite3.connect(
                    self._path, timeout=0, check_same_thread=False
                )
                ((number,),) = self._watch.execute("PRAGMA data_version").fetchall()
                return int(number)
        except sqlite3.Error:
            return None

    def is_current(self) -> bool:
        """Whether the schema is the one that this code knows. Raises DataDamaged."""
        with self.reading() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found == latest_schema()

    @property
    def damaged(self) -> int:
        """How many rows were found that do not match their checksum; they are passed over."""
        return len(self._damaged)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent view; inside another one of the same thread, the same view. Raises DataDamaged where SQLite
        finds the file malformed.

        A transaction costs more than most of what is read in it.
        """
        if outer := getattr(self._view, "connection", None):
            yield outer
            return
        with _translated(), self._lent() as connection:
            self._view.connection = connection
            try:
                yield connection
            finally:
                self._view.connection = None

    @contextmanager
    def _lent(self) -> Iterator[sa.Connection]:
        """A connection out of those that are kept for views, in a transaction: a fifth of what SQLAlchemy's pool and
        transaction take. One that failed is not kept."""
        try:
            connection = self._viewing.pop()
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
        self._viewing.append(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One write transaction at a time. Raises StorageFull when the disk has no room; nothing is written then."""
        with _translated(), self._write_lock, self._engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def _check_integrity(self) -> None:
        """Raise DataDamaged if a page, or an index against its table, is not what it should be."""
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        if found != "ok":
            raise DataDamaged(f"it is damaged ({found}): restore a backup")

    def passing(
        self, table: sa.Table, rows: Iterable[Mapping[Any, Any]]
    ) -> Iterator[Mapping[Any, Any]]:
        """The rows that match their checksum; any other is reported and left out."""
        for row in rows:
            if is_sound(row):
                yield row
            else:
                self.report(table, *(row[column.name] for column in table.primary_key))

    def report(self, table: sa.Table, *key: object) -> None:
        """Say once that a row is damaged, and count it."""
        if (place := (table.name, *key)) not in self._damaged:
            self._damaged.add(place)
            log.error("the row %s of %s fails its checksum; it is left out", key, table)


def driver_of(connection: sa.Connection) -> sqlite3.Connection:
    """SQLite's own connection under SQLAlchemy's."""
    return cast(sqlite3.Connection, connection.connection.driver_connection)


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema of the database to `revision`, inside the connection's transaction."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def latest_schema() -> str:
    """The version of the schema that this code knows."""
    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


class Prepared:
    """A selection of whole rows, compiled by SQLAlchemy once and run by the driver itself: SQLAlchemy takes five times
    as long to run it as SQLite does.
    """

    def __init__(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> None:
        """The conditions hold `sa.bindparam`s with names for what is given later."""
        compiled = sa.select(table).where(*conditions).compile(dialect=DIALECT)
        self._sql = str(compiled)
        self._places = compiled.positiontup or ()
        self._constants = {
            name: bind.value for name, bind in compiled.binds.items() if not bind.required
        }
        self._names = [column.name for column in table.c]
        processors = {
            c.name: c.type.dialect_impl(DIALECT).result_processor(DIALECT, None) for c in table.c
        }
        self._processors = [(name, process) for name, process in processors.items() if process]

    def rows(
        self, connection: sa.Connection, values: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The rows, by column, for these values of the parameters. Raises KeyError if one is missing."""
        given = {**self._constants, **values}
        for found in driver_of(connection).execute(
            self._sql, [given[name] for name in self._places]
        ):
            row = dict(zip(self._names, found, strict=True))
            for name, process in self._processors:
                row[name] = process(row[name])
            yield row


def select(
    connection: sa.Connection,
    table: sa.Table,
    collection_key: int,
    column: str,
    values: Sequence[Any],
    condition: sa.ColumnElement[bool],
) -> Iterator[dict[str, Any]]:
    """The collection's rows in which the column has one of these values. `condition` is a constant of its module."""
    for start in range(0, len(values), SELECT_CHUNK):
        chosen = values[start : start + SELECT_CHUNK]
        room = 1 << (len(chosen) - 1).bit_length()  # few statements serve every number of values
        given = {f"value{i}": chosen[min(i, len(chosen) - 1)] for i in range(room)}
        yield from _selection(table, column, condition, room).rows(
            connection, {"key": collection_key, **given}
        )


@cache
def _selection(
    table: sa.Table, column: str, condition: sa.ColumnElement[bool], room: int
) -> Prepared:
    """The statement of `select` for so many values."""
    values: list[sa.BindParameter[Any]] = [sa.bindparam(f"value{i}") for i in range(room)]
    chosen = table.c[column].in_(values) if room > 1 else table.c[column] == values[0]
    return Prepared(table, table.c.collection_key == sa.bindparam("key"), chosen, condition)


def rewrite(connection: sa.Connection, table: sa.Table, row: Mapping[Any, Any]) -> None:
    """Store a changed row, its checksum made anew."""
    connection.execute(sa.update(table).where(is_row(table, row)).values(**sealed(row)))


def is_row(table: sa.Table, row: Mapping[Any, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


def is_sound(row: Mapping[Any, Any]) -> bool:
    return bool(row["checksum"] == _checksum(row))


def sealed(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {**row, "checksum": _checksum(row)}


def now() -> str:
    return datetime.now(UTC).strftime(TIME)


def _checksum(row: Mapping[Any, Any]) -> int:
    """63 bits over all that a row says, so that damage is noticed instead of served."""
    values = [(name, row[name]) for name in _sealed_names(tuple(row))]
    content = json.dumps(
        [[name, value.hex() if isinstance(value, bytes) else value] for name, value in values]
    )
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest()) >> 1


@cache
def _sealed_names(names: tuple[str, ...]) -> list[str]:
    """What a checksum is over, in its order."""
    return sorted(name for name in names if name != "checksum")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _check_schema(connection: sa.Connection) -> None:
    """Touch every column, and write: what fails here would otherwise fail in the middle of a request."""
    for table in metadata.sorted_tables:
        connection.execute(sa.select(table).limit(0))
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Durability, asserted on every connection: a pragma that did not take is an error, not a hope."""
    connection.text_factory = lambda text: text.decode(
        "utf-8", "surrogateescape"
    )  # damaged text fails its checksum
    connection.isolation_level = (
        None  # transactions begin where _begin says, not before the first write
    )
    for pragma, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {pragma} = {value}")
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != value:
            raise DataDirectoryUnusable(
                f"SQLite keeps {pragma} at {found!r} instead of {value!r} on this file system"
            )


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("begun"):  # by the view that it is lent to
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours, where they have one."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        code = getattr(_own(error), "sqlite_errorcode", 0)
        if code in NO_ROOM:
            raise StorageFull("the disk is full: nothing was written") from error
        if code & 0xFF in DAMAGED:
            raise DataDamaged("the database is damaged: restore a backup") from error
        raise
    except UnicodeDecodeError as error:  # in SQLite's own words about a damaged schema
        raise DataDamaged("the database is damaged: restore a backup") from error


def _words(error: Exception) -> str:
    return str(_own(error))


def _own(error: Exception) -> object:
    """SQLite's error, which SQLAlchemy may have wrapped."""
    return error.orig if isinstance(error, DBAPIError) else error
