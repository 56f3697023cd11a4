"""What the two databases do each in their own way. `sqlite` and `postgres` are the rooms that do it; all else is the
same statements of SQLAlchemy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

Begin = Callable[[sa.Connection], None]


class Driver(Protocol):
    """One database, by way of what speaks to it. Safe from many threads."""

    engine: sa.Engine
    place: str
    """Where the database is, without a password."""

    def prepare(self, begin: Begin) -> None:
        """See that the database can be used, before anything else is asked. Raises StartupError; it is closed then.

        `begin` writes what must stand there from the start.
        """

    def close(self) -> None:
        """Close every connection."""

    def translated_errors(self) -> AbstractContextManager[None]:
        """Raise errors of ours in place of those of the database that mean these."""

    def lent(self) -> AbstractContextManager[sa.Connection]:
        """A connection for reading, in a transaction that sees one moment."""

    def lent_once(self) -> AbstractContextManager[sa.Connection]:
        """A connection for statements that read, each by itself: a server is asked for no transaction around them."""

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A connection in a transaction that may write; errors are translated."""

    def alone(self, connection: sa.Connection, table: sa.Table) -> None:
        """Wait until no other transaction has asked this of the table, and let none until this one ends."""

    def take_time(self, connection: sa.Connection) -> None:
        """Let this transaction take as long as it takes, and as long as nobody asks anything of it."""

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

    def version(self) -> int | None:
        """A number that is another one after any commit, by anybody; None where that can't be told at once."""

    def erase_soon(self) -> None:
        """After a deletion: let nothing of what was deleted stay, as far as the database can do that."""

    def last_number(self, connection: sa.Connection, table: sa.Table) -> int:
        """The last number that a table gave to a row, gone or not; 0: none."""

    def continue_from(self, connection: sa.Connection, table: sa.Table, number: int) -> None:
        """Have the table, whose rows were numbered elsewhere, number those to come from there."""
