"""Collections: the table, and what every other table's room asks of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from app.engine.store.database import Prepared, is_sound, metadata, now, sealed
from app.errors import CollectionNotFound, DataDamaged

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
)
NAMED = Prepared(collections, collections.c.name == sa.bindparam("called"))


@dataclass(frozen=True)
class Collection:
    """One searchable set of questions. `key` is never used again, not even for a new collection of that name."""

    key: int
    name: str
    revision: int
    questions: int
    created_at: str


def find_collection(connection: sa.Connection, name: str) -> Collection:
    row = next(NAMED.rows(connection, {"called": name}), None)
    if row is None:
        raise CollectionNotFound(name)
    return as_collection(row)


def as_collection(row: Mapping[Any, Any]) -> Collection:
    if not is_sound(row):
        raise DataDamaged("the row of a collection fails its checksum: restore a backup")
    return Collection(**{name: value for name, value in row.items() if name != "checksum"})


def insert_collection(connection: sa.Connection, name: str) -> Collection:
    values: dict[str, Any] = {
        "name": name,
        "revision": 0,
        "questions": 0,
        "created_at": now(),
    }
    inserted = connection.execute(sa.insert(collections).values(**values, checksum=0))
    (key,) = inserted.inserted_primary_key or (0,)
    collection = Collection(key=key, **values)
    advance(connection, collection, by=0, added=0)
    return collection


def advance(connection: sa.Connection, collection: Collection, by: int, added: int) -> None:
    """Move a collection `by` revisions on, with `added` more questions."""
    values = {
        **asdict(collection),
        "revision": collection.revision + by,
        "questions": collection.questions + added,
    }
    changed = {
        name: value for name, value in sealed(values).items() if name != "key"
    }  # its rows would all be checked
    connection.execute(
        sa.update(collections).where(collections.c.key == collection.key).values(**changed)
    )
