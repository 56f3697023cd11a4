"""The truth: collections, questions and their revisions in SQL. The only room with SQL in it.

Every change of a collection takes its next revision, one for each question written or deleted. A question's
row is one version of it, named by the revision that wrote it, so a revision is also the number under which
an index knows a text: it never means anything else again. A replaced version keeps its text until `purge`,
for indexes that have not caught up; a deleted one loses it at once.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

from app.engine.text import digest
from app.errors import (
    CollectionNotFound,
    CollectionProtected,
    DataDamaged,
    DataDirectoryUnusable,
    FieldError,
    InvalidRequest,
    QuestionNotFound,
    StorageFull,
)

DEFAULT_COLLECTION = "default"
SELECT_CHUNK = 500  # values in one IN (...)
PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}

metadata = sa.MetaData()
collections = sa.Table(
    "collections",
    metadata,
    sa.Column("key", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("revision", sa.BigInteger),
    sa.Column("questions", sa.BigInteger),
    sa.Column("created_at", sa.Text),
)
questions = sa.Table(
    "questions",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("checksum", sa.BigInteger),
    sa.Column("superseded_by", sa.BigInteger),
    sa.Column("quarantined", sa.Text),
)
CURRENT = questions.c.superseded_by.is_(None)


@dataclass(frozen=True)
class Collection:
    """One searchable set of questions. `key` is never used again, not even for a new collection of that name."""

    key: int
    name: str
    revision: int
    questions: int
    created_at: str


@dataclass(frozen=True)
class Question:
    """One version of a question. `quarantined` says why it could not be embedded, if it could not."""

    id: str
    text: str
    revision: int
    quarantined: str | None


@dataclass(frozen=True)
class Written:
    """What a write did. `revision` is the collection's revision after it."""

    collection: Collection
    revision: int
    added: int = 0
    updated: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Changes:
    """What lies between an index's revision and `revision`: texts to add, and revisions to remove."""

    revision: int
    added: Sequence[Question]
    removed: Sequence[int]
    complete: bool


class Store:
    """Collections and questions in one SQLite database. Safe from many threads; writes are one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the database and bring its schema up to date. Raises DataDirectoryUnusable."""
        self._write_lock = threading.Lock()
        self._engine = sa.create_engine(f"sqlite:///{path}", pool_size=32, max_overflow=32, hide_parameters=True)
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)
        try:
            with self._writing() as connection:
                migrate(connection)
        except (OperationalError, sa.exc.DatabaseError) as error:
            self._engine.dispose()
            raise DataDirectoryUnusable(f"can't open the database {path}: {error.__cause__ or error}") from error

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self._engine.dispose()

    # Collections

    def collection(self, name: str) -> Collection:
        """Raises CollectionNotFound."""
        with self._reading() as connection:
            return _collection(connection, name)

    def list_collections(self, after: str = "", limit: int | None = None) -> list[Collection]:
        """Collections in the order of their names, past the name `after`."""
        query = sa.select(collections).where(collections.c.name > after).order_by(collections.c.name).limit(limit)
        with self._reading() as connection:
            return [Collection(**row) for row in connection.execute(query).mappings()]

    def create_collection(self, name: str, max_collections: int) -> tuple[Collection, bool]:
        """The collection of this name, and whether it was made now. Raises InvalidRequest at the limit."""
        with self._writing() as connection:
            row = connection.execute(sa.select(collections).where(collections.c.name == name)).mappings().first()
            if row:
                return Collection(**row), False
            if connection.execute(sa.select(sa.func.count()).select_from(collections)).scalar_one() >= max_collections:
                raise InvalidRequest(FieldError("name", f"can't be added: at most {max_collections:,} collections"))
            created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            connection.execute(sa.insert(collections).values(name=name, revision=0, questions=0, created_at=created_at))
            return _collection(connection, name), True

    def delete_collection(self, name: str) -> Collection:
        """Delete a collection with all its questions. Raises CollectionNotFound, CollectionProtected."""
        if name == DEFAULT_COLLECTION:
            raise CollectionProtected(name)
        with self._writing() as connection:
            collection = _collection(connection, name)
            connection.execute(sa.delete(questions).where(questions.c.collection_key == collection.key))
            connection.execute(sa.delete(collections).where(collections.c.key == collection.key))
            return collection

    # Writing questions

    def upsert(self, collection_name: str, texts: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs with distinct ids, all or none; a text equal to the stored one changes nothing."""
        with self._writing() as connection:
            collection = _collection(connection, collection_name)
            stored = _current_by_id(connection, collection.key, [id_ for id_, _ in texts])
            changed = [(id_, text) for id_, text in texts if id_ not in stored or stored[id_].text != text]
            rows = [
                _row(collection.key, revision, id_, text)
                for revision, (id_, text) in enumerate(changed, collection.revision + 1)
            ]
            replaced = [
                {"old": stored[row["id"]].revision, "new": row["revision"]} for row in rows if row["id"] in stored
            ]
            revision = collection.revision + len(rows)
            if rows:
                _supersede(connection, collection.key, replaced)
                connection.execute(sa.insert(questions), rows)
                _advance(connection, collection, revision, added=len(rows) - len(replaced))
            return Written(
                collection,
                revision,
                len(rows) - len(replaced),
                len(replaced),
                unchanged=len(texts) - len(rows),
            )

    def delete(self, collection_name: str, question_id: str) -> Written:
        """Delete one question; its text is gone at once. Raises CollectionNotFound, QuestionNotFound."""
        with self._writing() as connection:
            collection = _collection(connection, collection_name)
            stored = _current_by_id(connection, collection.key, [question_id])
            if not stored:
                raise QuestionNotFound(collection_name, question_id)
            old, new = stored[question_id].revision, collection.revision + 1
            erased = _row(collection.key, old, question_id, "")
            connection.execute(sa.update(questions).where(_version(collection.key, old)).values(**erased))
            _supersede(connection, collection.key, [{"old": old, "new": new}])
            _advance(connection, collection, new, added=-1)
            return Written(collection, new)

    def quarantine(self, collection_key: int, reasons: dict[int, str | None]) -> None:
        """Note for each revision why its text can't be embedded, or None where it now can."""
        with self._writing() as connection:
            for revision, reason in reasons.items():
                statement = sa.update(questions).where(_version(collection_key, revision))
                connection.execute(statement.values(quarantined=reason))

    def purge(self, collection_key: int, upto: int) -> None:
        """Forget versions replaced or deleted at or before the revision `upto`: no index needs them any more."""
        outdated = (questions.c.collection_key == collection_key) & (questions.c.superseded_by <= upto)
        with self._writing() as connection:
            connection.execute(sa.delete(questions).where(outdated))

    # Reading questions

    def get(self, collection_name: str, question_id: str) -> Question:
        """Raises CollectionNotFound, QuestionNotFound."""
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            found = _current_by_id(connection, key, [question_id])
        if not found:
            raise QuestionNotFound(collection_name, question_id)
        return found[question_id]

    def list_questions(self, collection_name: str, after: str | None, limit: int) -> list[Question]:
        """Current questions in the order of their ids, past the id `after`."""
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            query = sa.select(questions).where(questions.c.collection_key == key, CURRENT)
            if after is not None:
                query = query.where(questions.c.id > after)
            rows = connection.execute(query.order_by(questions.c.id).limit(limit)).mappings()
            return [_question(row) for row in rows]

    def revisions(self, collection_key: int, ids: Sequence[str]) -> dict[str, int]:
        """The revision of the current version of each id that the collection holds."""
        with self._reading() as connection:
            return {id_: question.revision for id_, question in _current_by_id(connection, collection_key, ids).items()}

    def exact_matches(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Question]]:
        """For each text, the current questions that equal it after normalisation, oldest first; none: absent."""
        digests = {text: digest(text) for text in texts}
        found: dict[bytes, list[Question]] = {}
        with self._reading() as connection:
            for chunk in _chunks(list(set(digests.values()))):
                query = sa.select(questions).where(
                    questions.c.collection_key == collection_key, questions.c.digest.in_(chunk), CURRENT
                )
                for row in connection.execute(query.order_by(questions.c.revision)).mappings():
                    found.setdefault(row["digest"], []).append(_question(row))
        return {text: found[key] for text, key in digests.items() if key in found}

    def read(self, collection_key: int, revisions: Sequence[int]) -> dict[int, Question]:
        """The versions with these revisions, replaced ones included; deleted ones are absent."""
        found: dict[int, Question] = {}
        with self._reading() as connection:
            for chunk in _chunks(list(revisions)):
                query = sa.select(questions).where(
                    questions.c.collection_key == collection_key,
                    questions.c.revision.in_(chunk),
                    questions.c.text != "",
                )
                for row in connection.execute(query).mappings():
                    found[row["revision"]] = _question(row)
        return found

    def changes_since(self, collection_key: int, revision: int, limit: int) -> Changes | None:
        """What an index at `revision` has to add and remove, at most `limit` of each; None: no such collection."""
        mine = questions.c.collection_key == collection_key
        added_query = sa.select(questions).where(mine, CURRENT, questions.c.revision > revision)
        removed_query = sa.select(questions.c.revision, questions.c.superseded_by).where(
            mine, questions.c.superseded_by > revision, questions.c.revision <= revision
        )
        with self._reading() as connection:
            latest = connection.execute(
                sa.select(collections.c.revision).where(collections.c.key == collection_key)
            ).scalar()
            if latest is None:
                return None
            added = connection.execute(added_query.order_by(questions.c.revision).limit(limit)).mappings().all()
            removed = connection.execute(removed_query.order_by(questions.c.superseded_by).limit(limit)).all()
        upto = latest
        if len(added) == limit:
            upto = min(upto, added[-1]["revision"])
        if len(removed) == limit:
            upto = min(upto, removed[-1].superseded_by)
        return Changes(
            revision=upto,
            added=[_question(row) for row in added if row["revision"] <= upto],
            removed=[row.revision for row in removed if row.superseded_by <= upto],
            complete=upto == latest,
        )

    def quarantined(self) -> int:
        """How many current questions could not be embedded, over all collections."""
        query = sa.select(sa.func.count()).select_from(questions).where(CURRENT, questions.c.quarantined.is_not(None))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    # Connections

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One write transaction at a time. Raises StorageFull when the disk has no room; nothing is written then."""
        try:
            with self._write_lock, self._engine.connect() as connection:
                connection = connection.execution_options(write=True)
                with connection.begin():
                    yield connection
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) in (
                sqlite3.SQLITE_FULL,
                sqlite3.SQLITE_IOERR_WRITE,
            ):
                raise StorageFull("the disk is full: nothing was written") from error
            raise


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema of the database to `revision`, inside the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Durability, asserted on every connection: a pragma that did not take is an error, not a hope."""
    connection.isolation_level = None  # transactions begin where _begin says, not before the first write
    for pragma, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {pragma} = {value}")
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != value:
            raise DataDirectoryUnusable(f"SQLite keeps {pragma} at {found!r} instead of {value!r} on this file system")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _collection(connection: sa.Connection, name: str) -> Collection:
    row = connection.execute(sa.select(collections).where(collections.c.name == name)).mappings().first()
    if row is None:
        raise CollectionNotFound(name)
    return Collection(**row)


def _current_by_id(connection: sa.Connection, collection_key: int, ids: Sequence[str]) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for chunk in _chunks(ids):
        query = sa.select(questions).where(
            questions.c.collection_key == collection_key, questions.c.id.in_(chunk), CURRENT
        )
        for row in connection.execute(query).mappings():
            found[row["id"]] = _question(row)
    return found


def _version(collection_key: int, revision: int) -> sa.ColumnElement[bool]:
    return (questions.c.collection_key == collection_key) & (questions.c.revision == revision)


def _supersede(connection: sa.Connection, collection_key: int, replaced: list[dict[str, int]]) -> None:
    """Mark versions (`old`) as replaced by a revision (`new`)."""
    statement = (
        sa.update(questions)
        .where(questions.c.collection_key == collection_key, questions.c.revision == sa.bindparam("old"))
        .values(superseded_by=sa.bindparam("new"))
    )
    if replaced:
        connection.execute(statement, replaced)


def _advance(connection: sa.Connection, collection: Collection, revision: int, added: int) -> None:
    connection.execute(
        sa.update(collections)
        .where(collections.c.key == collection.key)
        .values(revision=revision, questions=collections.c.questions + added)
    )


def _row(collection_key: int, revision: int, id_: str, text: str) -> dict[str, Any]:
    return {
        "collection_key": collection_key,
        "revision": revision,
        "id": id_,
        "text": text,
        "digest": digest(text),
        "checksum": _checksum(collection_key, revision, id_, text),
    }


def _question(row: sa.RowMapping) -> Question:
    """A row as a question, its checksum verified. Raises DataDamaged."""
    if row["checksum"] != _checksum(row["collection_key"], row["revision"], row["id"], row["text"]):
        raise DataDamaged(
            f"the stored question of revision {row['revision']} fails its checksum: restore the database from a backup"
        )
    return Question(row["id"], row["text"], row["revision"], row["quarantined"])


def _checksum(collection_key: int, revision: int, id_: str, text: str) -> int:
    """63 bits over what a row says, so that damage is noticed instead of served."""
    content = json.dumps([collection_key, revision, id_, text]).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), SELECT_CHUNK):
        yield values[start : start + SELECT_CHUNK]
