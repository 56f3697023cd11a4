"""The processes that answer over one database: by which tables of vectors each does, and whether it is still there.

Each has a row, and renews it. Who writes reads the rows after the commit, and waits for the tables that others name.
Who begins to answer by a table has written that down before it looks how far the table is. So one of the two sees the
other, in whichever order they come, and no lock is needed. A row that was not renewed for some time counts no more. By
its own clock a process knows that earlier, and takes no table for current until it has a row again.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.engine.store.driver import Driver
from app.engine.store.prepared import driver_of

EXPIRE_SECONDS = 10  # after which a row counts no more, by the database's clock
LEASE_SECONDS = 8.0  # for which a process trusts its row, by its own
FORGET_SECONDS = 60  # after which a row is removed
CHANNEL = "sameask"
RELEASE = "release"  # is notified there, or the key of a collection

FRESH = f"seen_at > clock_timestamp() - interval '{EXPIRE_SECONDS} seconds'"
PUT = """
    INSERT INTO replicas VALUES (%(id)s, %(serves)s, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET serves = excluded.serves, seen_at = excluded.seen_at"""
REMOVE = "DELETE FROM replicas WHERE id = %(id)s"
FORGET = (
    f"DELETE FROM replicas WHERE seen_at < clock_timestamp() - interval '{FORGET_SECONDS} seconds'"
)
OTHERS = f"SELECT EXISTS (SELECT FROM replicas WHERE {FRESH} AND id <> %(id)s)"
SERVE = f"""
    SELECT EXISTS (
        SELECT FROM replicas CROSS JOIN unnest(serves) AS served
        WHERE {FRESH} AND id <> %(id)s AND strpos(served, %(digest)s) > 0)"""
BEHIND = f"""
    SELECT EXISTS (SELECT FROM collections WHERE key = %(key)s) AND EXISTS (
        SELECT FROM replicas CROSS JOIN unnest(serves) AS served
        LEFT JOIN index_states state ON state.vectors_of = served AND state.collection_key = %(key)s
        WHERE {FRESH} AND id <> %(id)s AND coalesce(state.revision, -1) < %(revision)s)"""

Doubt = Callable[[set[str]], None]


class Replicas:
    """The rows of all, and what is known of this process's own. Safe from many threads."""

    def __init__(self, driver: Driver, clock: Callable[[], float] = time.monotonic) -> None:
        """Before it connects. This process has no row until `be_seen`."""
        self._driver = driver
        self._engine = driver.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._clock = clock
        self._id = uuid.uuid4().hex
        self._own: sa.Connection | None = None  # for the row: it is renewed however busy others are
        self._until: dict[str, float] = {}  # by table, until when it is known to be waited for
        self._lapses = 0

    # This process

    def be_seen(self, serves: Iterable[str], fail: Iterable[str], doubt: Doubt) -> None:
        """Write down that this process answers by these tables, and is there; from one thread at a time.

        `doubt` is told of those that nobody may have waited for until now: what is known of them may be out of date.
        Nothing that a table shows is an answer as long as it is among those that `fail`.
        """
        began = self._clock()
        named = set(serves)
        if not self._until:
            self._ask(FORGET)
        self._put(sorted(named))
        now = self._clock()
        lapsed = {table for table in named if self._until.get(table, now) < now}
        new = named - self._until.keys() | lapsed
        doubt(new)
        if lapsed:
            self._lapses += 1
        failing = dict.fromkeys(fail, 0.0)
        self._until = failing | dict.fromkeys(named, began + LEASE_SECONDS)

    def lease(self, table: str) -> int | None:
        """A number that is the same as long as all writes wait for this table; None while they do not.

        A table by which this process does not answer is not looked after: for that the number says nothing.
        """
        until = self._until.get(table)
        if until is not None and self._clock() > until:
            return None
        return self._lapses

    def leave(self) -> None:
        """This process answers no more. Raises DatabaseUnavailable."""
        self._until = {}
        self._let_go()
        self._ask(REMOVE)

    # The others

    def has_others(self) -> bool:
        """Whether others answer over this database."""
        return self._is(OTHERS)

    def serve(self, digest: str) -> bool:
        """Whether another one answers by the release of this digest."""
        return self._is(SERVE, digest=digest)

    def are_behind(self, collection_key: int, revision: float) -> bool:
        """Whether another one answers by a table that does not show this revision of the collection yet."""
        return self._is(BEHIND, key=collection_key, revision=revision)

    def call(self, what: str) -> None:
        """Have all others hear of a release, or of a collection by its key."""
        self._ask("SELECT pg_notify(%(channel)s, %(what)s)", channel=CHANNEL, what=what)

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], list[str]]]:
        """A function that waits up to so many seconds, and says what was called meanwhile. On a connection of its own.

        Raises DatabaseUnavailable, at its latest when that is called.
        """
        with self._driver.translated_errors(), self._engine.connect() as connection:
            raw = driver_of(connection)
            connection.detach()
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")

            def hear(seconds: float) -> list[str]:
                with self._driver.translated_errors():
                    heard = raw.notifies(timeout=seconds, stop_after=1)
                    return [notification.payload for notification in heard]

            yield hear

    # Inside

    def _put(self, serves: Sequence[str]) -> None:
        """Renew the row, by a connection that nobody else uses."""
        with self._driver.translated_errors():
            self._own = self._own or self._engine.connect()
            try:
                self._own.exec_driver_sql(PUT, {"id": self._id, "serves": serves})
            except BaseException:
                self._let_go()
                raise

    def _let_go(self) -> None:
        own = self._own
        self._own = None
        if own:
            with suppress(DBAPIError):
                own.close()

    def _is(self, query: str, **asked: Any) -> bool:
        return bool(self._ask(query, **asked)[0][0])

    def _ask(self, query: str, **asked: Any) -> list[Any]:
        values: Mapping[str, Any] = {"id": self._id, **asked}
        with self._driver.translated_errors(), self._engine.connect() as connection:
            result = connection.exec_driver_sql(query, values)
            return list(result.all()) if result.returns_rows else []
