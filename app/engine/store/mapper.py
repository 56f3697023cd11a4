"""Between a table's rows and records. Each row carries a checksum over all of it, made and checked here alone.

A damaged row is reported and passed over, never served.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from app.engine.sizes import until_full
from app.engine.store.database import Database

CHECKSUM = "checksum"
ROWS_AT_ONCE = 100  # that a page takes from the database

Record = TypeVar("Record")
Row = Mapping[Any, Any]


class Mapper(Generic[Record]):
    """One table of a database: its rows in, records out, and changed rows back in."""

    def __init__(
        self, database: Database, table: sa.Table, as_record: Callable[[Row], Record]
    ) -> None:
        """`as_record` makes a record of a row that is sound."""
        self._database = database
        self._table = table
        self._as_record = as_record
        self._key = [column.name for column in table.primary_key]

    # Reading

    def record(self, row: Row) -> Record:
        """Of a row that is known to be sound."""
        return self._as_record(row)

    def sound(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows that match their checksum; any other is reported and left out."""
        for row in rows:
            if is_sound(row):
                yield row
            else:
                self.report(row)

    def records(self, rows: Iterable[Row]) -> Iterator[Record]:
        """Of the rows that match their checksum; any other is reported and left out."""
        return map(self._as_record, self.sound(rows))

    def report(self, row: Row) -> None:
        """Log once that a row is damaged, and count it."""
        self._database.report(self._table, *(row[name] for name in self._key))

    def rows(self, connection: sa.Connection, query: sa.Select[Any]) -> Sequence[Row]:
        """Every row of a query over the whole table, damaged ones included."""
        return connection.execute(query).mappings().all()

    def first(
        self, connection: sa.Connection, query: sa.Select[Any], parameters: Row | None = None
    ) -> Row | None:
        """The first row, sound or not."""
        return connection.execute(query, parameters).mappings().first()

    def count(self, condition: sa.ColumnElement[bool]) -> int:
        """How many rows are so, damaged ones included."""
        query = sa.select(sa.func.count()).select_from(self._table).where(condition)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def last_id(self, connection: sa.Connection, collection_key: int) -> int:
        """The greatest id of a row of the collection; 0 without one."""
        within = self._table.c.collection_key == collection_key
        query = sa.select(sa.func.max(self._table.c.id)).where(within)
        return connection.execute(query).scalar() or 0

    def every(self, connection: sa.Connection, query: sa.Select[Any]) -> list[Record]:
        """All sound records of a query over the whole table."""
        return list(self.records(self.rows(connection, query)))

    def page(
        self,
        connection: sa.Connection,
        query: sa.Select[Any],
        limit: int,
        max_bytes: int | None = None,
    ) -> list[Record]:
        """The first sound records of a query over the whole table, at most `limit`.

        Of large ones fewer are read: see `until_full`.
        """
        at_once = min(limit, ROWS_AT_ONCE)
        with connection.execute(query, execution_options={"yield_per": at_once}) as rows:
            records: Iterable[Record] = islice(self.records(rows.mappings()), limit)
            if max_bytes is not None:
                records = until_full(records, max_bytes)
            return list(records)

    def any_of(
        self,
        connection: sa.Connection,
        collection_key: int,
        column: str,
        values: Sequence[Any],
        condition: sa.ColumnElement[bool],
    ) -> Iterator[Row]:
        """The collection's rows in which the column has one of the values, damaged ones included; by the driver.

        `condition` is a constant of its module: a statement is made once for each.
        """
        return self._database.driver.any_of(
            connection, self._table, collection_key, column, values, condition
        )

    # Writing

    def insert(self, connection: sa.Connection, *rows: Row) -> None:
        """Add rows, which lack a checksum."""
        if rows:
            connection.execute(sa.insert(self._table), [sealed(row) for row in rows])

    def insert_numbered(self, connection: sa.Connection, row: Row) -> Row:
        """Add a row to a table that gives each row its number; the row with its number."""
        inserted = connection.execute(sa.insert(self._table).values(**row, checksum=0))
        (number,) = inserted.inserted_primary_key or (0,)
        numbered = {self._key[0]: number, **row}
        self.rewrite(connection, numbered)
        return numbered

    def rewrite(self, connection: sa.Connection, row: Row) -> None:
        """Store a changed row, its checksum made anew. Its key stands: others may refer to it."""
        changed = sealed(row)
        for name in self._key:
            del changed[name]
        statement = sa.update(self._table).where(self._is(row))
        connection.execute(statement.values(**changed))

    def delete(self, connection: sa.Connection, row: Row) -> None:
        """Delete a row."""
        connection.execute(sa.delete(self._table).where(self._is(row)))

    def _is(self, row: Row) -> sa.ColumnElement[bool]:
        conditions = [self._table.c[name] == row[name] for name in self._key]
        return sa.and_(*conditions)


def fields(row: Row) -> dict[str, Any]:
    """A row's values without its checksum."""
    return {name: value for name, value in row.items() if name != CHECKSUM}


def is_sound(row: Row) -> bool:
    """Whether a row matches its checksum."""
    return bool(row[CHECKSUM] == _checksum(row))


def sealed(row: Row) -> dict[str, Any]:
    """A row with the checksum that it should have."""
    return {**row, CHECKSUM: _checksum(row)}


def _checksum(row: Row) -> int:
    """63 bits (BLAKE2b) over all values of a row."""
    values = []
    for name in _names(tuple(row)):
        value = row[name]
        values.append([name, value.hex() if isinstance(value, bytes) else value])
    digest = hashlib.blake2b(json.dumps(values).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@cache
def _names(names: tuple[str, ...]) -> list[str]:
    """The columns that a checksum covers, in its order."""
    return sorted(name for name in names if name != CHECKSUM)
