"""PostgreSQL: how connections are pooled and set up, error codes, and what it does otherwise than SQLite.

Many transactions write at once, each statement of one sees what was committed before it, and a lock is held to the
transaction's end. So revisions of a collection are committed in their order: who writes to it locks its row first.
A transaction that reads sees one moment. No error and no log shows the password of the address.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import inf
from select import POLLIN, poll
from time import monotonic
from typing import Any

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from app.engine.store.driver import Begin
from app.engine.store.prepared import Prepared
from app.engine.store.schema import check_columns, latest_schema, migrate, schema_of
from app.errors import (
    DatabaseUnavailable,
    DatabaseUnusable,
    DataDamaged,
    SameaskError,
    SchemaOutdated,
    StorageFull,
)

POOL_SIZE, MORE = 8, 16  # connections that are kept, and that may be made beside them
FREE_SECONDS = 10  # to wait for one that is free
CONNECT_SECONDS = 5
UNASKED_SECONDS = 1  # after its use, a connection that is open is lent without asking the server
USED_AT = "used at"  # in the pool's record of a connection
PREPARED_FROM = 1  # runs of a statement on a connection, after which it is prepared there
SILENT_SECONDS = 10  # without a sign that what was sent arrived: the server's machine is gone
TIMEOUTS = {  # milliseconds
    "statement_timeout": 60_000,
    "lock_timeout": 10_000,
    "idle_in_transaction_session_timeout": 60_000,
}
LOCKS = 0x5A3EA5  # the first number of the advisory locks that are ours
# https://www.postgresql.org/docs/18/errcodes-appendix.html
DISK_FULL = "53100"
DAMAGED = "XX"  # begins the codes of data and indexes that are corrupted
# Begin those that may be otherwise soon.
PASSING = ("08", "25006", "25P03", "25P04", "40", "53", "55P03", "57", "58")
GONE = ("57P01", "57P02", "57P03")  # it ends, has crashed, or is not there yet

log = logging.getLogger(__name__)


class Postgres:
    """One database of a PostgreSQL server, by its address."""

    def __init__(self, url: str) -> None:
        """`url` begins with `postgresql://`. Raises DatabaseUnusable."""
        address = parsed(url)
        self.place = place_of(address)
        try:
            self.engine = _make_engine(address)
        except ImportError as error:
            raise DatabaseUnusable(
                f"the database {self.place} needs a driver: install it with"
                " `pip install -c constraints.txt -e '.[cluster]'`"
            ) from error
        self._views = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_closed = False
        sa.event.listen(self.engine, "checkin", self._close_if_late)
        sa.event.listen(self.engine, "checkin", _note_use)
        sa.event.listen(self.engine, "checkout", self._refuse_if_lost)
        self._error: type[Exception] = self.engine.dialect.loaded_dbapi.Error

    def prepare(self, begin: Begin) -> None:  # noqa: ARG002
        """See that the server answers and that the schema is the one that this code knows; `migrate` makes it so.

        Raises DatabaseUnusable, SchemaOutdated.
        """
        with self._usable(), self.translated_errors(), self.lent() as connection:
            found = schema_of(connection)
        wanted = latest_schema()
        if found != wanted:
            self.close()
            raise SchemaOutdated(self.place, found, wanted)

    def migrate(self, begin: Begin) -> None:
        """Bring the schema up to date, one process at a time. Raises DatabaseUnusable."""
        with self._usable(), self.writing() as connection:
            self.take_time(connection)
            connection.execute(_lock("alembic_version"))
            migrate(connection)
            check_columns(connection)
            begin(connection)

    def close(self) -> None:
        """Close every connection; one that is in use is closed when it comes back."""
        self._is_closed = True
        self.engine.dispose()

    @contextmanager
    def lent(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that sees one moment. One that was lost while nobody used it is replaced."""
        with self._views.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def lent_once(self) -> Iterator[sa.Connection]:
        """A connection on which each statement is by itself: beginning and ending a transaction takes no trips."""
        with self._alone.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that may write. One that was lost while nobody used it is replaced."""
        with self.translated_errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise errors of ours in place of those of the server that mean these."""
        try:
            yield
        except NoConnectionFree as error:
            raise DatabaseUnavailable("all connections to the database are in use") from error
        except (DBAPIError, self._error) as error:
            meant = _meant_by(error)
            if meant is None:
                raise
            log.warning("the database %s: %s", self.place, reason(error))
            raise meant from error

    def alone(self, connection: sa.Connection, table: sa.Table) -> None:
        """Wait until no other transaction has asked this of the table, and let none until this one ends."""
        connection.execute(_lock(table.name))

    def take_time(self, connection: sa.Connection) -> None:
        """Let this transaction take as long as it takes, and as long as nobody asks anything of it."""
        for name in TIMEOUTS:
            connection.exec_driver_sql(f"SET LOCAL {name} = 0")

    def any_of(
        self,
        connection: sa.Connection,
        table: sa.Table,
        collection_key: int,
        column: str,
        values: Sequence[Any],
        condition: sa.ColumnElement[bool],
    ) -> Iterator[dict[str, Any]]:
        """The collection's rows in which the column has one of these values. `condition` is a module's constant."""
        if not values:
            return iter(())
        prepared = _any_of(table, column, condition)
        return prepared.rows(connection, {"key": collection_key, "chosen": list(values)})

    def version(self) -> int | None:
        """What others commit is known only by asking."""
        return None

    def erase_soon(self) -> None:
        """PostgreSQL does so itself, when it next vacuums the table."""

    def last_number(self, connection: sa.Connection, table: sa.Table) -> int:
        """The last number that a table gave to a row, gone or not; 0: none."""
        (key,) = table.primary_key
        sequence = connection.execute(_sequence(table, key.name)).scalar_one()
        query = f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"
        return int(connection.exec_driver_sql(query).scalar_one())

    def continue_from(self, connection: sa.Connection, table: sa.Table, number: int) -> None:
        """Have the table, whose rows were numbered elsewhere, number those to come from there."""
        (key,) = table.primary_key
        if number:
            connection.execute(sa.select(sa.func.setval(_sequence(table, key.name), number)))

    def _refuse_if_lost(self, connection: Any, record: Any, _lent: object) -> None:
        """Have the pool replace a connection that the server closed, or that was long idle and answers no more.

        A closed one can be read from: its end. To ask each one each time would take as long as a statement.
        """
        waiting = poll()
        waiting.register(connection, POLLIN)
        is_quiet = not waiting.poll(0)
        was_used = monotonic() - record.info.get(USED_AT, -inf) < UNASKED_SECONDS
        if is_quiet and was_used:
            return
        try:
            self.engine.dialect.do_ping(connection)
        except self._error as error:
            raise sa.exc.DisconnectionError from error

    def _close_if_late(self, connection: Any, _record: object) -> None:
        if self._is_closed and connection is not None:
            connection.close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Raise DatabaseUnusable, and close, in place of what the server says."""
        try:
            yield
        except (DBAPIError, self._error, CommandError, SameaskError) as error:
            self.close()
            words = f"can't use the database {self.place}: {reason(error)}"
            raise DatabaseUnusable(words) from None  # the cause may quote the address


def _note_use(_connection: object, record: Any) -> None:
    if record is not None:
        record.info[USED_AT] = monotonic()


def parsed(url: str) -> sa.URL:
    """The address of a database. Raises DatabaseUnusable, which does not quote it."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise DatabaseUnusable("the address of a database must begin with postgresql://")
    if rest.count("@") > 1:
        raise DatabaseUnusable(
            "the address of a database has several @: those of a password are written %40"
        )
    try:
        return sa.make_url(f"postgresql+psycopg://{rest}")
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseUnusable(
            "the address of a database can't be read: special characters of a password are written as %2F"
        ) from None


def place_of(address: sa.URL) -> str:
    """Where a database is, without who asks for it and their password."""
    host = address.host or address.query.get("host") or "localhost"
    port = f":{address.port}" if address.port else ""
    return f"{host}{port}/{address.database or ''}"


def reason(error: BaseException) -> str:
    """What the server says of an error, in one line, without statements and their values."""
    original = error.orig if isinstance(error, DBAPIError) else error.__cause__ or error
    if isinstance(original, DBAPIError):
        original = original.orig
    diagnosis = getattr(original, "diag", None)
    words = getattr(diagnosis, "message_primary", None) or str(original)
    return re.sub(r"\s+", " ", words).strip()


def _make_engine(address: sa.URL) -> sa.Engine:
    arguments: dict[str, Any] = {
        "application_name": "sameask",
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": SILENT_SECONDS * 1000,
    }
    arguments["options"] = " ".join(f"-c {name}={value}" for name, value in TIMEOUTS.items())
    given = {name: value for name, value in arguments.items() if name not in address.query}
    given["prepare_threshold"] = PREPARED_FROM
    return sa.create_engine(
        address,
        pool_size=POOL_SIZE,
        max_overflow=MORE,
        pool_timeout=FREE_SECONDS,
        pool_use_lifo=True,  # the one used last has most of its statements prepared
        hide_parameters=True,
        connect_args=given,
    )


def _meant_by(error: Exception) -> SameaskError | None:
    """The error of ours that the server's means, if it means one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlstate", None)
    unanswered = type(original).__name__ in ("OperationalError", "ConnectionTimeout")
    if code in GONE or (code is None and unanswered):
        return DatabaseUnavailable("the database can't be reached")
    if code is None:
        return None
    if code == DISK_FULL:
        return StorageFull("the database's disk is full: nothing was written")
    if code.startswith(DAMAGED):
        return DataDamaged("the database is damaged: restore a backup")
    if code.startswith(PASSING):
        return DatabaseUnavailable(f"the database could not do it now ({code})")
    return None


def _lock(name: str) -> sa.Select[Any]:
    return sa.select(sa.func.pg_advisory_xact_lock(LOCKS, sa.func.hashtext(name)))


def _sequence(table: sa.Table, column: str) -> sa.Function[Any]:
    return sa.func.pg_get_serial_sequence(table.name, column)


@cache
def _any_of(table: sa.Table, column: str, condition: sa.ColumnElement[bool]) -> Prepared:
    """The statement of `any_of`."""
    values = sa.bindparam("chosen", type_=sa.ARRAY(table.c[column].type))
    within = table.c.collection_key == sa.bindparam("key")
    return Prepared(table, within, table.c[column] == sa.any_(values), condition)
