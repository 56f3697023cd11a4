"""Vectors of questions in PostgreSQL, by pgvector: a table for each model, and at which revision each collection is.

Up to a size, a search looks at every vector of its collection. A larger collection has a graph (HNSW) of its own: an
index over its part of the table, so that no search has to leave out other collections' questions. Vectors are sent as
text and received as bytes, so that no connection has to learn pgvector's types first.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError

from app.engine.store.driver import Driver
from app.engine.store.replicas import FRESH
from app.errors import NotReady

GRAPH = "m = 24, ef_construction = 100"
WAITED_LONG = "55P03"  # what PostgreSQL says where a lock took longer than `lock_timeout`
QUERIES_AT_ONCE = 32  # in one statement
GRAPH_BYTES = 700  # that building a graph takes for a vector, beside the vector
# It takes as long as it takes, in one process: others would need shared memory, of which containers have little.
UNHURRIED = ("statement_timeout = 0", "lock_timeout = 0")
BUILDING = (*UNHURRIED, "max_parallel_maintenance_workers = 0")
CANCEL_SECONDS = 5.0  # that the end waits for the database to take a cancelling
LEAST_MEMORY_KB = 65_536
MOST_MEMORY_KB = 4_194_304  # that it may take; past that it is built far more slowly

ALL = """
    SELECT c.key, s.revision, c.revision AS latest, s.size
    FROM index_states s JOIN collections c ON c.key = s.collection_key
    WHERE s.vectors_of = %(of)s"""
ONE = ALL + " AND c.key = %(key)s"
BEHIND = """
    SELECT c.key, coalesce(s.revision, 0) AS at FROM collections c
    LEFT JOIN index_states s ON s.collection_key = c.key AND s.vectors_of = %(of)s
    WHERE s.revision IS NULL OR s.revision < c.revision"""
BEGIN = """
    INSERT INTO index_states SELECT %(of)s, c.key, at.revision, 0
    FROM unnest(%(keys)s::integer[], %(revisions)s::bigint[]) AS at (key, revision)
    JOIN collections c USING (key) ON CONFLICT DO NOTHING"""
KEEP = "SELECT FROM collections WHERE key = %(key)s FOR KEY SHARE"
HELD = """
    SELECT revision, size FROM index_states
    WHERE vectors_of = %(of)s AND collection_key = %(key)s FOR NO KEY UPDATE"""
MOVE = """
    UPDATE index_states SET revision = %(revision)s, size = %(size)s
    WHERE vectors_of = %(of)s AND collection_key = %(key)s"""
FLOOR = f"""
    SELECT coalesce(min(revision), 0) FROM index_states
    WHERE collection_key = %(key)s AND (vectors_of = %(of)s OR EXISTS (
        SELECT FROM replicas WHERE {FRESH} AND vectors_of = ANY (serves)))"""
TABLES = "SELECT vectors_of FROM index_states WHERE collection_key = %(key)s ORDER BY vectors_of"
FORGET = """
    WITH gone AS (
        DELETE FROM {table} vectors WHERE collection_key = %(key)s AND NOT EXISTS (
            SELECT FROM questions WHERE collection_key = %(key)s AND revision = vectors.revision)
        RETURNING revision)
    UPDATE index_states SET size = size - (SELECT count(*) FROM gone)
    WHERE vectors_of = %(of)s AND collection_key = %(key)s"""
IS_THERE = "SELECT to_regclass(%(table)s) IS NOT NULL"
LOSE = "DELETE FROM index_states WHERE vectors_of = %(of)s AND collection_key = %(key)s"
SEARCH = """
    SELECT state.revision, query.number, hit.revision, halfvec_send(hit.vector)
    FROM (SELECT coalesce(max(revision), 0) AS revision FROM index_states
          WHERE vectors_of = %(of)s AND collection_key = {key}) AS state
    CROSS JOIN (VALUES {queries}) AS query (number, vector)
    LEFT JOIN LATERAL (
        SELECT revision, vector FROM {table} WHERE collection_key = {key}
        ORDER BY vector <#> query.vector LIMIT {count}
    ) AS hit ON true"""
GRAPHS = """
    SELECT class.relname, graph.indisvalid FROM pg_index graph JOIN pg_class class ON class.oid = graph.indexrelid
    WHERE graph.indrelid = %(table)s::regclass"""
MAKE = f"""
    CREATE INDEX CONCURRENTLY {{table}}_{{key}} ON {{table}}
    USING hnsw (vector halfvec_ip_ops) WITH ({GRAPH}) WHERE collection_key = {{key}}"""
DROP = "DROP INDEX CONCURRENTLY IF EXISTS {table}_{key}"

Vectors = NDArray[np.float32]
Found = tuple[NDArray[np.int64], Vectors]


class IndexRow(NamedTuple):
    """How far a collection's vectors are: their revision, that of the collection at the same moment, their number."""

    collection_key: int
    revision: int
    latest: int
    size: int


class VectorTable:
    """The vectors of all collections' questions by one model."""

    def __init__(self, driver: Driver, vectors_of: str, dimension: int) -> None:
        self.name = name_of(vectors_of)
        self.vectors_of = vectors_of
        self._driver = driver
        self._engine = driver.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._of = {"of": vectors_of}
        self._dimension = dimension
        self._building: Any = None  # the driver's connection on which a graph is built
        self._is_ending = False

    # How far it is

    def states(self) -> list[IndexRow]:
        """Of every collection that anything is known of."""
        return [IndexRow(*row) for row in self._rows(ALL, {})]

    def state(self, collection_key: int) -> IndexRow | None:
        """Of one collection."""
        rows = self._rows(ONE, {"key": collection_key})
        return IndexRow(*rows[0]) if rows else None

    def behind(self) -> dict[int, int]:
        """The collections that have gone on since, and the revisions at which they are here."""
        return {row.key: row.at for row in self._rows(BEHIND, {})}

    def begin(self, revisions: Mapping[int, int]) -> None:
        """Let collections be at these revisions, with nothing in them, unless they were begun before."""
        at = {"keys": list(revisions), "revisions": list(revisions.values())}
        with self._each_alone() as connection:
            connection.exec_driver_sql(BEGIN, {**self._of, **at})

    def floor(self, collection_key: int) -> int:
        """The least revision at which the collection is in this table, or in one by which a replica answers."""
        ((revision,),) = self._rows(FLOOR, {"key": collection_key})
        return int(revision)

    def forget_purged(self, collection_key: int) -> None:
        """Delete the vectors of versions that were purged, from every model's table.

        One by which nobody answers may lie far behind: it never learns that they were replaced. One that was dropped
        while a replica had it open has no table.
        """
        for (vectors_of,) in self._rows(TABLES, {"key": collection_key}):
            table = name_of(vectors_of)
            of = {"of": vectors_of, "key": collection_key}
            with self._driver.writing() as connection:
                connection.exec_driver_sql(KEEP, of)
                if not connection.exec_driver_sql(HELD, of).first():
                    continue
                self._driver.take_time(connection)  # there may be millions
                is_there = connection.exec_driver_sql(IS_THERE, {"table": table}).scalar_one()
                connection.exec_driver_sql(FORGET.format(table=table) if is_there else LOSE, of)

    # Changing

    @contextmanager
    def catching_up(self, collection_key: int) -> Iterator[None]:
        """Hold what only one process at a time may hold for a collection. It ends with the connection."""
        with self._each_alone() as connection:
            lock = f"({lock_number(self.name)}, {collection_key})"
            try:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock{lock}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != WAITED_LONG:
                    raise
                raise NotReady(
                    "another replica is changing the index of this collection"
                ) from error
            try:
                yield
            finally:
                with suppress(DBAPIError):  # where the connection is gone, so is what it held
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock{lock}")

    def apply(
        self,
        collection_key: int,
        begins_at: int,
        revision: int,
        added: Sequence[int],
        vectors: Iterable[Vectors],
        removed: Sequence[int],
    ) -> bool:
        """Move a collection from one revision to another, in a transaction; False if it is at another one by now."""
        with self._driver.writing() as connection:
            # Before the row of its state, as who deletes the collection does.
            connection.exec_driver_sql(KEEP, {"key": collection_key})
            return self.apply_within(
                connection, collection_key, begins_at, revision, added, vectors, removed
            )

    def apply_within(
        self,
        connection: sa.Connection,
        collection_key: int,
        begins_at: int,
        revision: int,
        added: Sequence[int],
        vectors: Iterable[Vectors],
        removed: Sequence[int],
    ) -> bool:
        """The same within a transaction."""
        of = {**self._of, "key": collection_key}
        held = connection.exec_driver_sql(HELD, of).first()
        if held is None or held.revision != begins_at or revision < begins_at:
            return False
        size = held.size + len(added)
        if removed:
            gone = f"DELETE FROM {self.name} WHERE collection_key = %(key)s AND revision = ANY(%(gone)s)"
            size -= connection.exec_driver_sql(gone, {**of, "gone": list(removed)}).rowcount
        if added:
            rows = [
                {"key": collection_key, "revision": number, "vector": _as_text(vector)}
                for number, vector in zip(added, vectors, strict=True)
            ]
            values = "(%(key)s, %(revision)s, %(vector)s::halfvec)"
            connection.exec_driver_sql(f"INSERT INTO {self.name} VALUES {values}", rows)
        connection.exec_driver_sql(MOVE, {**of, "revision": revision, "size": size})
        return True

    # Reading

    def search(
        self, collection_key: int, queries: Vectors, count: int, *, exactly: bool = False
    ) -> tuple[int, list[Found]]:
        """Of each of (n, d) queries the nearest, in no order: their revisions (k,) and vectors (k, d); and the revision
        searched. All of one moment for at most 32 queries."""
        revision = 0
        found: list[Found] = []
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            chunk = queries[start : start + QUERIES_AT_ONCE]
            rows = self._nearest(collection_key, chunk, count, exactly)
            revision = max(revision, rows[0][0])
            found += self._of_each(rows, len(chunk))
        return revision, found

    def vectors(self, collection_key: int, revisions: Sequence[int]) -> Found:
        """Those of these revisions that are there: (k,), and their vectors (k, d)."""
        query = (
            f"SELECT revision, halfvec_send(vector) FROM {self.name}"
            " WHERE collection_key = %(key)s AND revision = ANY(%(revisions)s)"
        )
        asked = {"key": collection_key, "revisions": list(revisions)}
        return self._found(self._rows(query, asked))

    def revisions(self, collection_key: int) -> NDArray[np.int64]:
        """All that are there, ascending: (n,)."""
        query = f"SELECT revision FROM {self.name} WHERE collection_key = %(key)s ORDER BY revision"
        rows = self._rows(query, {"key": collection_key})
        return np.array([revision for (revision,) in rows], dtype=np.int64)

    # Graphs

    @contextmanager
    def looking_after(self) -> Iterator[bool]:
        """Whether this process alone may build and drop graphs, until the context ends."""
        with self._each_alone() as connection:
            lock = f"({lock_number('upkeep of ' + self.name)}, 0)"
            is_ours = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{lock}").scalar_one()
            try:
                yield is_ours
            finally:
                with suppress(DBAPIError):
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock{lock}")

    def graphs(self) -> dict[int, bool]:
        """The collections that have a graph, and whether it is whole: one is not that nobody finished."""
        graphs = {}
        for name, is_whole in self._rows(GRAPHS, {"table": self.name}):
            if named := re.fullmatch(rf"{self.name}_(\d+)", name):
                graphs[int(named[1])] = bool(is_whole)
        return graphs

    def build_graph(self, collection_key: int, size: int) -> None:
        """Make a collection's graph; writes and searches go on meanwhile."""
        needed = size * (2 * self._dimension + GRAPH_BYTES) // 1024
        memory = min(max(needed, LEAST_MEMORY_KB), MOST_MEMORY_KB)
        with self._each_alone() as connection:
            connection.detach()  # from the pool: with these settings nothing else may work
            for setting in (f"maintenance_work_mem = {memory}", *BUILDING):
                connection.exec_driver_sql(f"SET {setting}")
            self._building = connection.connection.dbapi_connection
            try:
                if self._is_ending:
                    return
                connection.exec_driver_sql(MAKE.format(table=self.name, key=collection_key))
            finally:
                self._building = None
            # Or searches may pass it by, and read every row of the questions, until PostgreSQL next vacuums them.
            connection.exec_driver_sql(f"ANALYZE {self.name}, questions")

    def end_building(self) -> None:
        """Build no graph from now on; `build_graph`, in another thread, raises DatabaseUnavailable if it is at one."""
        self._is_ending = True
        if building := self._building:
            errors = self._engine.dialect.loaded_dbapi.Error
            with suppress(errors):  # the database is gone, or the graph has just been built
                building.cancel_safe(timeout=CANCEL_SECONDS)

    def drop_graph(self, collection_key: int) -> None:
        """Let searches look at every vector of a collection again."""
        with self._each_alone() as connection:
            connection.detach()
            for setting in BUILDING:
                connection.exec_driver_sql(f"SET {setting}")
            connection.exec_driver_sql(DROP.format(table=self.name, key=collection_key))

    # Inside

    @contextmanager
    def _each_alone(self) -> Iterator[sa.Connection]:
        """A connection on which each statement is a transaction."""
        with self._driver.translated_errors(), self._engine.connect() as connection:
            yield connection

    def _rows(self, query: str, asked: Mapping[str, Any]) -> Sequence[Any]:
        with self._each_alone() as connection:
            return connection.exec_driver_sql(query, {**self._of, **asked}).all()

    def _nearest(
        self, collection_key: int, queries: Vectors, count: int, exactly: bool
    ) -> Sequence[Any]:
        texts = {f"q{number}": _as_text(query) for number, query in enumerate(queries)}
        values = [f"({number}, %(q{number})s::halfvec)" for number in range(len(queries))]
        query = SEARCH.format(
            table=self.name, key=collection_key, queries=", ".join(values), count=count
        )
        if not exactly:
            return self._rows(query, texts)
        with self._driver.writing() as connection:
            connection.exec_driver_sql("SET LOCAL enable_indexscan = off")
            return connection.exec_driver_sql(query, {**self._of, **texts}).all()

    def _of_each(self, rows: Sequence[Any], queries: int) -> list[Found]:
        """The rows of a search by the number of the query."""
        hits: list[list[Any]] = [[] for _ in range(queries)]
        for _, number, *hit in rows:
            hits[number].append(hit)
        return [self._found(of_query) for of_query in hits]

    def _found(self, rows: Sequence[Any]) -> Found:
        """Of rows of revisions and vectors; where a search found nothing, both are null."""
        there = [row for row in rows if row[0] is not None]
        sent = b"".join(vector[4:] for _, vector in there)  # behind the dimension
        vectors = np.frombuffer(sent, dtype=">f2").reshape(len(there), self._dimension)
        ids = np.array([revision for revision, _ in there], dtype=np.int64)
        return ids, vectors.astype(np.float32)


def name_of(vectors_of: str) -> str:
    """The table of what these vectors are made by."""
    return f"vectors_{hashlib.sha256(vectors_of.encode()).hexdigest()[:16]}"


def lock_number(name: str) -> int:
    """The number by which PostgreSQL knows a lock: 32 bits with a sign."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], signed=True)


def _as_text(vector: Vectors) -> str:
    return json.dumps(vector.astype(np.float16).tolist())
