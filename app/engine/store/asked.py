"""What was asked lately, where SAMEASK_REMEMBER_ASKED is on: the only texts here that nobody stored.

So many a collection at most and so many days at most; what is older, or too much, is erased when more is noted.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from app.engine.store.collections import Collections
from app.engine.store.database import TIME, Database, now
from app.engine.store.mapper import Mapper, Row
from app.engine.store.schema import metadata

MOST = 10_000  # texts of a collection
DAYS = 30

asked = sa.Table(
    "asked",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("asked_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)


class Asked:
    """The texts that were asked lately, of every collection."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, asked, _as_text)

    def note(self, collection_key: int, texts: Sequence[str]) -> None:
        """Remember texts, and forget what is too old or too much. Nothing if the collection is gone."""
        within = asked.c.collection_key == collection_key
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                return
            last = self._mapper.last_id(connection, collection_key)
            rows: list[Row] = []
            for number, text in enumerate(texts, last + 1):
                key = {"collection_key": collection_key, "id": number}
                rows.append({**key, "text": text, "asked_at": now()})
            self._mapper.insert(connection, *rows)
            newest = last + len(texts)
            outdated = (asked.c.id <= newest - MOST) | (asked.c.asked_at < _oldest())
            gone = connection.execute(sa.delete(asked).where(within, outdated)).rowcount
        if gone:
            self._database.erase_deleted()

    def latest(self, collection_key: int, count: int) -> list[str]:
        """The texts that were asked last, each once, the latest first."""
        within = asked.c.collection_key == collection_key
        query = sa.select(asked).where(within).order_by(asked.c.id.desc())
        with self._database.reading() as connection:
            return list(dict.fromkeys(self._mapper.page(connection, query, count)))

    def among(self, collection_key: int, texts: Sequence[str]) -> set[str]:
        """Those of the texts that are remembered."""
        within = asked.c.collection_key == collection_key
        query = sa.select(asked.c.text).where(within, asked.c.text.in_(texts))
        with self._database.reading() as connection:
            return set(connection.execute(query).scalars())

    def forget_old(self) -> None:
        """Erase what was asked too long ago."""
        with self._database.writing() as connection:
            old = connection.execute(sa.delete(asked).where(asked.c.asked_at < _oldest()))
        if old.rowcount:
            self._database.erase_deleted()

    def erase(self, collection_name: str) -> None:
        """Erase all that was asked in a collection. Raises CollectionNotFound."""
        with self._database.writing() as connection:
            key = self._collections.locked(connection, collection_name).key
            connection.execute(sa.delete(asked).where(asked.c.collection_key == key))
        self._database.erase_deleted()


def _oldest() -> str:
    return (datetime.now(UTC) - timedelta(days=DAYS)).strftime(TIME)


def _as_text(row: Row) -> str:
    return str(row["text"])
