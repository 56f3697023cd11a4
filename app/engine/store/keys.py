"""Keys: what is kept of each, never the key itself."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from app.engine.store.database import Database, now
from app.engine.store.mapper import Mapper, Row, fields, is_sound
from app.engine.store.schema import metadata
from app.errors import DataDamaged, KeyNotFound

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("scopes", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("created_at", sa.Text),
    sa.Column("revoked_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
WITH_ID = sa.select(keys).where(keys.c.id == sa.bindparam("wanted"))
OLDEST_FIRST = sa.select(keys).order_by(keys.c.created_at, keys.c.id)
ANY = sa.select(keys.c.id).limit(1)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """What is kept of a key: its public id, the SHA-256 of the whole, and what it is for."""

    id: str
    digest: bytes
    scopes: tuple[str, ...]
    name: str
    created_at: str
    revoked_at: str | None = None


class KeyRecords:
    """The records of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mapper = Mapper(database, keys, _as_key)

    def add(self, key_id: str, digest: bytes, scopes: Sequence[str], name: str) -> Key:
        """Keep a new key."""
        key = Key(key_id, digest, tuple(scopes), name, created_at=now())
        with self._database.writing() as connection:
            self._mapper.insert(connection, {**asdict(key), "scopes": " ".join(scopes)})
        return key

    def get(self, key_id: str) -> Key | None:
        """The key with this id, revoked or not. Raises DataDamaged."""
        with self._database.asking() as connection:
            row = self._mapper.first(connection, WITH_ID, {"wanted": key_id})
        if row is None:
            return None
        if not is_sound(row):
            raise DataDamaged(f"the row of key {_advice(key_id)}")
        return _as_key(row)

    def all(self) -> list[Key]:
        """All keys, oldest first. A row that fails its checksum is reported and left out."""
        with self._database.reading() as connection:
            rows = self._mapper.rows(connection, OLDEST_FIRST)
        for row in rows:
            if not is_sound(row):
                log.error("the row of key %s", _advice(row["id"]))
        return [_as_key(row) for row in rows if is_sound(row)]

    def exist(self) -> bool:
        """Whether a key was ever made, revoked and damaged ones included."""
        with self._database.asking() as connection:
            return connection.execute(ANY).first() is not None

    def revoke(self, key_id: str) -> Key:
        """The key, from now on good for nothing; revoked before, it stays as it was. Raises KeyNotFound."""
        with self._database.writing() as connection:
            row = self._mapper.first(connection, WITH_ID.with_for_update(), {"wanted": key_id})
            if row is None:
                raise KeyNotFound(key_id)
            revoked = {**row, "revoked_at": row["revoked_at"] or now()}
            self._mapper.rewrite(connection, revoked)
            return _as_key(revoked)


def _advice(key_id: str) -> str:
    return f"{key_id!r} fails its checksum: revoke it, and make another"


def _as_key(row: Row) -> Key:
    return Key(**{**fields(row), "scopes": tuple(row["scopes"].split())})
