"""What a store asks of SQLite, as SQLite sees it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from app.engine.store import Store
from app.engine.store.prepared import driver_of
from app.engine.store.sqlite import Sqlite


@contextmanager
def statements_of(store: Store) -> Iterator[list[str]]:
    """Every statement that is run inside the context, its values written out."""
    statements: list[str] = []
    traced: list[sqlite3.Connection] = []

    def trace(connection: sqlite3.Connection, *_: object) -> None:
        traced.append(connection)
        connection.set_trace_callback(statements.append)

    driver = store.database.driver
    assert isinstance(driver, Sqlite)
    for idle in driver.views._idle:
        trace(driver_of(idle))
    sa.event.listen(driver.engine, "checkout", trace)
    try:
        yield statements
    finally:
        sa.event.remove(driver.engine, "checkout", trace)
        for connection in traced:
            connection.set_trace_callback(None)


def plan(store: Store, statement: str) -> list[str]:
    """How SQLite goes about a selection, an update or a deletion; nothing for what is none."""
    if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
        return []
    with store.database.reading() as connection:
        return [
            str(step.detail)
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        ]
