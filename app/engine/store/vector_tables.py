"""The tables of vectors of one PostgreSQL: made where they are missing, one a copy of another at first, and dropped."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.engine.store.driver import Driver
from app.engine.store.vectors import UNHURRIED, VectorTable, lock_number, name_of
from app.errors import DatabaseUnusable

EF_SEARCH = 128
# A search goes on where what it found was deleted; hits are sorted by whoever asks.
SETTINGS = (f"SET hnsw.ef_search = {EF_SEARCH}", "SET hnsw.iterative_scan = relaxed_order")
# What PostgreSQL says where it has no such extension, and where its user may not make one.
LACKS_IT, FORBIDS_IT = "0A000", "42501"

STATES = """
    CREATE TABLE IF NOT EXISTS index_states (
        vectors_of text NOT NULL,
        collection_key integer NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
        revision bigint NOT NULL,
        size bigint NOT NULL,
        PRIMARY KEY (vectors_of, collection_key)
    )"""
VECTORS = """
    CREATE TABLE IF NOT EXISTS {table} (
        collection_key integer NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
        revision bigint NOT NULL,
        vector halfvec({dimension}) STORAGE PLAIN NOT NULL,
        PRIMARY KEY (collection_key, revision)
    )"""
BEGINS = """
    SELECT EXISTS (SELECT FROM index_states WHERE vectors_of = %(other)s)
    AND NOT EXISTS (SELECT FROM index_states WHERE vectors_of = %(of)s)"""
# One statement sees one moment: vectors, and the revisions at which they are.
COPY = """
    WITH copied AS (INSERT INTO {table} SELECT * FROM {other})
    INSERT INTO index_states SELECT %(of)s, collection_key, revision, size
    FROM index_states WHERE vectors_of = %(other)s"""


class VectorTables:
    """The tables of vectors of one database."""

    def __init__(self, driver: Driver) -> None:
        """Before it connects."""
        self._driver = driver
        sa.event.listen(driver.engine, "connect", _configure)

    def open(self, vectors_of: str, dimension: int, like: str | None = None) -> VectorTable:
        """The table of what these vectors are made by; it is made where there is none, as is what all of them need.

        A new one begins with the vectors of the table `like`, where that is there.
        """
        table = VectorTable(self._driver, vectors_of, dimension)
        with self._driver.writing() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock_number('tables')}, 0)")
            self._extend(connection)
            connection.exec_driver_sql(STATES)
            connection.exec_driver_sql(VECTORS.format(table=table.name, dimension=dimension))
        if like:
            with self._driver.writing() as connection:  # nobody else's table waits for this one
                _copy(connection, table, like)
        return table

    def _extend(self, connection: sa.Connection) -> None:
        """Have pgvector in the database. Raises DatabaseUnusable where the server lacks it, or forbids that."""
        try:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in (LACKS_IT, FORBIDS_IT):
                raise
            raise DatabaseUnusable(
                f"the database {self._driver.place} needs pgvector: have an administrator run"
                " CREATE EXTENSION vector in it"
            ) from error

    def drop(self, vectors_of: str) -> None:
        """Drop a table, if there is one, and let no collection wait for what it lacked."""
        with self._driver.writing() as connection:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name_of(vectors_of)}")
            gone = "DELETE FROM index_states WHERE vectors_of = %(of)s"
            connection.exec_driver_sql(gone, {"of": vectors_of})


def _copy(connection: sa.Connection, table: VectorTable, other: str) -> None:
    """Copy another table's vectors into one that holds none yet. It takes as long as it takes."""
    of = {"of": table.vectors_of, "other": other}
    for timeout in UNHURRIED:
        connection.exec_driver_sql(f"SET LOCAL {timeout}")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock_number(table.name)}, 0)")
    if connection.exec_driver_sql(BEGINS, of).scalar_one():
        connection.exec_driver_sql(COPY.format(table=table.name, other=name_of(other)), of)


def _configure(connection: Any, _record: object) -> None:
    """Set up a new connection of the driver."""
    with connection.cursor() as cursor:
        for setting in SETTINGS:
            cursor.execute(setting)
    connection.commit()
