"""A whole store, from one database to another of either kind: every sound row, and the numbers that tables give."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from app.engine.store.collections import DEFAULT_COLLECTION, collections
from app.engine.store.mapper import CHECKSUM, Mapper, Row, is_sound
from app.engine.store.run_rows import training_runs
from app.engine.store.schema import metadata
from app.engine.store.store import Store
from app.errors import CopyFailed, StoreNotEmpty

ROWS_AT_ONCE = 500
NUMBERED = (collections, training_runs)  # whose numbers are never used again


@dataclass(frozen=True)
class Copied:
    """A table: how many rows it has now, a digest over all of them, and how many damaged ones were left out."""

    table: str
    rows: int
    digest: str
    left_out: int


def copy_store(source: Store, target: Store) -> list[Copied]:
    """Copy all, or nothing. The copy is read again, and compared by a digest of each table.

    Nobody may write to the target meanwhile; whoever writes to the source is not waited for. Raises StoreNotEmpty,
    CopyFailed.
    """
    with source.database.reading() as there, target.database.writing() as here:
        # A transaction is asked nothing while the other's rows are checked: minutes for a million.
        source.database.driver.take_time(there)
        target.database.driver.take_time(here)
        _refuse_content(here, target)
        here.execute(sa.delete(collections))
        copied = [_copy(table, source, there, target, here) for table in _tables()]
        for table in NUMBERED:
            number = source.database.driver.last_number(there, table)
            target.database.driver.continue_from(here, table, number)
        if target.vectors:  # else PostgreSQL would look at every row until it is next vacuumed
            names = ", ".join(table.name for table in _tables())
            here.exec_driver_sql(f"ANALYZE {names}")
    return copied


def _tables() -> list[sa.Table]:
    """Every table; collections first, as others refer to them."""
    return sorted(
        metadata.tables.values(), key=lambda table: (table is not collections, table.name)
    )


def _refuse_content(connection: sa.Connection, store: Store) -> None:
    """Raise StoreNotEmpty for more than the default collection of a new store."""
    is_new = (collections.c.name == DEFAULT_COLLECTION) & (collections.c.revision == 0)
    for table in _tables():
        query = sa.select(sa.literal(1)).select_from(table).limit(1)
        if table is collections:
            query = query.where(~is_new)
        if connection.execute(query).first():
            raise StoreNotEmpty(store.place, table.name)


def _copy(
    table: sa.Table, source: Store, there: sa.Connection, target: Store, here: sa.Connection
) -> Copied:
    left_out = 0
    mapper = Mapper(source.database, table, dict)
    copied = hashlib.blake2b(digest_size=8)
    rows = 0
    originals = _rows(table, there)
    while some := list(islice(originals, ROWS_AT_ONCE)):
        sound = list(mapper.sound(some))
        left_out += len(some) - len(sound)
        rows += len(sound)
        for row in sound:
            copied.update(row[CHECKSUM].to_bytes(8))
        if sound:
            here.execute(sa.insert(table), [dict(row) for row in sound])
    found = hashlib.blake2b(digest_size=8)
    for row in _rows(table, here):
        if is_sound(row):
            found.update(row[CHECKSUM].to_bytes(8))
    if found.digest() != copied.digest():
        raise CopyFailed(table.name, source.place, target.place)
    return Copied(table.name, rows, found.hexdigest(), left_out)


def _rows(table: sa.Table, connection: sa.Connection) -> Iterator[Row]:
    """Every row, in the order of its key, some at a time."""
    query = sa.select(table).order_by(*table.primary_key)
    options = {"yield_per": ROWS_AT_ONCE}
    with connection.execute(query, execution_options=options) as rows:
        yield from rows.mappings()
