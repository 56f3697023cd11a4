"""Selections that every request makes: compiled by SQLAlchemy once, and run by the database's own driver.

SQLAlchemy takes five times as long to run a statement as SQLite does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa


class Prepared:
    """A selection of whole rows."""

    def __init__(
        self,
        table: sa.Table,
        *conditions: sa.ColumnElement[bool],
        ascending: sa.ColumnElement[Any] | None = None,
        limit: sa.BindParameter[int] | None = None,
        locks: bool = False,
    ) -> None:
        """The conditions, and the limit, hold `sa.bindparam`s with names for what is given later.

        `locks`: the rows are to be written to, by this transaction alone.
        """
        query = sa.select(table).where(*conditions).order_by(ascending).limit(limit)
        self._query = query.with_for_update(key_share=True) if locks else query
        self._table = table
        self._by_dialect: dict[str, _Compiled] = {}

    def rows(
        self, connection: sa.Connection, values: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The rows, by column, for these values of the parameters. Raises KeyError if one is missing."""
        return self._compiled(connection).rows(connection, values)

    def rows_of_each(
        self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]
    ) -> list[list[dict[str, Any]]]:
        """The rows for each of several values; a server is asked for all of them at once."""
        return self._compiled(connection).rows_of_each(connection, values)

    def _compiled(self, connection: sa.Connection) -> "_Compiled":
        dialect = connection.dialect
        compiled = self._by_dialect.get(dialect.name)
        if compiled is None:
            compiled = _Compiled(self._query, self._table, dialect)
            self._by_dialect[dialect.name] = compiled
        return compiled


class _Compiled:
    """A selection as one driver takes it."""

    def __init__(self, query: sa.Select[Any], table: sa.Table, dialect: sa.Dialect) -> None:
        compiled = query.compile(dialect=dialect)
        self._sql = str(compiled)
        self._places = compiled.positiontup if compiled.positional else None
        self._binds = list(compiled.binds)
        self._constants: dict[str, Any] = {}
        for name, bind in compiled.binds.items():
            if not bind.required:
                self._constants[name] = bind.value
        self._names = [column.name for column in table.c]
        self._processors: list[tuple[str, Callable[[Any], Any]]] = []
        for column in table.c if dialect.name == "sqlite" else ():  # others have all our types
            process = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if process:
                self._processors.append((column.name, process))

    def rows(
        self, connection: sa.Connection, values: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        yield from self._read(driver_of(connection).execute(self._sql, self._given(values)))

    def rows_of_each(
        self, connection: sa.Connection, values: Sequence[Mapping[str, Any]]
    ) -> list[list[dict[str, Any]]]:
        driver = driver_of(connection)
        at_once = driver.pipeline() if hasattr(driver, "pipeline") else nullcontext()
        with at_once:
            cursors = [driver.execute(self._sql, self._given(one)) for one in values]
        return [list(self._read(cursor)) for cursor in cursors]

    def _given(self, values: Mapping[str, Any]) -> Any:
        given = {**self._constants, **values}
        if self._places is None:
            return {name: given[name] for name in self._binds}
        return [given[name] for name in self._places]

    def _read(self, cursor: Iterable[Sequence[Any]]) -> Iterator[dict[str, Any]]:
        for raw in cursor:
            row = dict(zip(self._names, raw, strict=True))
            for name, process in self._processors:
                row[name] = process(row[name])
            yield row


def driver_of(connection: sa.Connection) -> Any:
    """The driver's own connection under SQLAlchemy's."""
    return connection.connection.driver_connection
