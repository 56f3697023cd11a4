"""Collections: how far each has come, how many questions it holds, and what is wished of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from app.engine.store.database import Database, now
from app.engine.store.mapper import Mapper, Row, fields, is_sound
from app.engine.store.prepared import Prepared
from app.engine.store.schema import metadata
from app.errors import (
    CollectionNotFound,
    CollectionProtected,
    DataDamaged,
    FieldError,
    InvalidRequest,
)

DEFAULT_COLLECTION = "default"

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("revision", sa.BigInteger),
    sa.Column("questions", sa.BigInteger),
    sa.Column("created_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
    sa.Column("target_precision", sa.Float),
    sa.Column("review_recall", sa.Float),
    sa.Column("url_template", sa.Text),
)
WISHES = ("target_precision", "review_recall", "url_template")
NAMED = Prepared(collections, collections.c.name == sa.bindparam("called"))
TO_WRITE = Prepared(collections, collections.c.name == sa.bindparam("called"), locks=True)
BY_NAME = sa.select(collections).order_by(collections.c.name)
REVISION = sa.select(collections.c.revision)
COUNT = sa.select(sa.func.count()).select_from(collections)
TOTALS = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(collections.c.questions), 0))


@dataclass(frozen=True)
class Collection:
    """One searchable set of questions. `key` is never used again, not even for a new collection of that name.

    Wished of it may be a `target_precision` of the verdict `duplicate`, and a `review_recall`: the share of the
    duplicates that `review` and `duplicate` together are to hold. `url_template` makes a question's address of its id.
    """

    key: int
    name: str
    revision: int
    questions: int
    created_at: str
    target_precision: float | None = None
    review_recall: float | None = None
    url_template: str | None = None

    @property
    def has_wish(self) -> bool:
        """Whether thresholds are wished of it, and derived of its labels."""
        return self.target_precision is not None or self.review_recall is not None


@dataclass(frozen=True)
class Stored:
    """How many collections there are, and the questions in all of them."""

    collections: int
    questions: int


class Collections:
    """The collections of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mapper = Mapper(database, collections, _as_collection)
        self._totals: tuple[int, Stored] | None = None  # and at which version of the database

    def get(self, name: str) -> Collection:
        """Raises CollectionNotFound, DataDamaged."""
        with self._database.asking() as connection:
            return self.find(connection, name)

    def all(self) -> list[Collection]:
        """In the order of their names. Raises DataDamaged."""
        return self._listed(BY_NAME)

    def totals(self) -> Stored:
        """What all collections add up to. Between two commits it is read once, however often it is asked for."""
        version = self._database.version()
        if self._totals and self._totals[0] == version:
            return self._totals[1]
        with self._database.reading() as connection:
            stored = Stored(*map(int, connection.execute(TOTALS).one()))  # a sum is a Decimal there
        self._totals = None if version is None else (version, stored)
        return stored

    def revision(self, collection_key: int) -> int | None:
        """The revision of the collection with this key; None: no such collection."""
        with self._database.asking() as connection:
            return self.latest_revision(connection, collection_key)

    def revisions(self, collection_keys: Iterable[int]) -> dict[int, int]:
        """The revisions of those of these collections that there are."""
        revisions: dict[int, int] = {}
        with self._database.reading() as connection:
            for key in collection_keys:
                revision = self.latest_revision(connection, key)
                if revision is not None:
                    revisions[key] = revision
        return revisions

    def page(self, after: str, limit: int) -> list[Collection]:
        """Collections in the order of their names, past the name `after`. Raises DataDamaged."""
        return self._listed(BY_NAME.where(collections.c.name > after).limit(limit))

    def create(
        self, name: str, max_collections: int, wishes: Mapping[str, Any] | None = None
    ) -> tuple[Collection, bool]:
        """The collection of this name, and whether it was made now. Raises InvalidRequest at the limit.

        `wishes`, by names of WISHES, are put in the place of those that it has; what is not named stays.
        """
        with self._database.writing() as connection:
            self._database.alone(connection, collections)
            row = next(TO_WRITE.rows(connection, {"called": name}), None)
            if row:
                return self._wish(connection, _checked(row), wishes or {}), False
            if connection.execute(COUNT).scalar_one() >= max_collections:
                raise InvalidRequest(
                    FieldError("name", f"can't be added: at most {max_collections:,} collections")
                )
            return self._wish(connection, self._insert(connection, name), wishes or {}), True

    def delete(self, name: str) -> Collection:
        """Delete a collection, and all that stands in it. Raises CollectionNotFound, CollectionProtected."""
        if name == DEFAULT_COLLECTION:
            raise CollectionProtected(name)
        with self._database.writing() as connection:
            collection = self.locked(connection, name)
            self._database.driver.take_time(connection)  # there may be millions
            for table in metadata.tables.values():
                if "collection_key" in table.c:
                    within = table.c.collection_key == collection.key
                    connection.execute(sa.delete(table).where(within))
            connection.execute(sa.delete(collections).where(collections.c.key == collection.key))
        self._database.erase_deleted()
        return collection

    # For other rooms, within their transactions

    def begin(self, connection: sa.Connection) -> None:
        """Make the default collection in a database that has none."""
        if not connection.execute(sa.select(collections.c.key).limit(1)).first():
            self._insert(connection, DEFAULT_COLLECTION)

    def find(self, connection: sa.Connection, name: str) -> Collection:
        """Raises CollectionNotFound, DataDamaged."""
        row = next(NAMED.rows(connection, {"called": name}), None)
        if row is None:
            raise CollectionNotFound(name)
        return _checked(row)

    def locked(self, connection: sa.Connection, name: str) -> Collection:
        """The collection, to which this transaction alone may write. Raises CollectionNotFound, DataDamaged."""
        row = next(TO_WRITE.rows(connection, {"called": name}), None)
        if row is None:
            raise CollectionNotFound(name)
        return _checked(row)

    def lock(self, connection: sa.Connection, collection_key: int) -> bool:
        """Let this transaction alone write to the collection with this key; whether there is one."""
        query = REVISION.where(collections.c.key == collection_key)
        locking = query.with_for_update(key_share=True)
        return connection.execute(locking).first() is not None

    def latest_revision(self, connection: sa.Connection, collection_key: int) -> int | None:
        """The revision of the collection with this key; None: no such collection."""
        query = REVISION.where(collections.c.key == collection_key)
        revision: int | None = connection.execute(query).scalar()
        return revision

    def advance(
        self, connection: sa.Connection, collection: Collection, by: int, added: int
    ) -> None:
        """Move a collection `by` revisions on, with `added` more questions."""
        revision = collection.revision + by
        questions = collection.questions + added
        changed = replace(collection, revision=revision, questions=questions)
        self._mapper.rewrite(connection, vars(changed))

    def _wish(
        self, connection: sa.Connection, collection: Collection, wishes: Mapping[str, Any]
    ) -> Collection:
        changed = replace(collection, **wishes)
        if changed != collection:
            self._mapper.rewrite(connection, vars(changed))
        return changed

    def _insert(self, connection: sa.Connection, name: str) -> Collection:
        values = {"name": name, "revision": 0, "questions": 0, "created_at": now()}
        values |= dict.fromkeys(WISHES)
        return _as_collection(self._mapper.insert_numbered(connection, values))

    def _listed(self, query: sa.Select[tuple[object, ...]]) -> list[Collection]:
        with self._database.reading() as connection:
            return [_checked(row) for row in self._mapper.rows(connection, query)]


def _checked(row: Row) -> Collection:
    if not is_sound(row):
        raise DataDamaged("the row of a collection fails its checksum: restore a backup")
    return _as_collection(row)


def _as_collection(row: Row) -> Collection:
    return Collection(**fields(row))
