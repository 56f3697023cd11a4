"""The truth: collections, questions and their revisions, labels, and keys, in SQL. The only room with SQL in it.

Every change of a collection takes its next revision, one for each question written or deleted. A question's
row is one version of it, named by the revision that wrote it, so a revision is also the number under which
an index knows a text: it never means anything else again. A replaced version keeps its text until `purge`,
for indexes that have not caught up; a deleted one loses it at once. Each row carries a checksum over all of
it: a damaged one is reported and passed over, never served.

A label is what one person says of one pair. It knows the pair by its normalised texts and takes no revision: no
index has to learn of it. It ends when it is undone or replaced, and stays for the record.
"""

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError

from app.engine.text import DIGEST_BYTES, digest, pair_digest
from app.errors import (
    CollectionNotFound,
    CollectionProtected,
    DataDamaged,
    DataDirectoryUnusable,
    FieldError,
    InvalidRequest,
    KeyNotFound,
    LabelNotFound,
    LabelReplaced,
    QuestionNotFound,
    StorageFull,
)

DEFAULT_COLLECTION = "default"
SELECT_CHUNK = 500  # values in one IN (...)
ANSWERS_KEPT = timedelta(hours=24)  # those of requests with an Idempotency-Key
TIME = "%Y-%m-%dT%H:%M:%SZ"
NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_FSYNC}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # by their low byte
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
    sa.Column("checksum", sa.BigInteger),
)
questions = sa.Table(
    "questions",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("superseded_by", sa.BigInteger),
    sa.Column("quarantined", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
labels = sa.Table(
    "labels",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("pair", sa.LargeBinary),
    sa.Column("digest1", sa.LargeBinary),
    sa.Column("digest2", sa.LargeBinary),
    sa.Column("question1", sa.Text),
    sa.Column("question2", sa.Text),
    sa.Column("is_duplicate", sa.Boolean),
    sa.Column("said_by", sa.Text),
    sa.Column("said_at", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("ended_by", sa.Text),
    sa.Column("ended_at", sa.Text),
    sa.Column("replaced_by", sa.BigInteger),
    sa.Column("contradicted", sa.Boolean),
    sa.Column("checksum", sa.BigInteger),
)
label_requests = sa.Table(
    "label_requests",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("collection_key", sa.Integer),
    sa.Column("fingerprint", sa.LargeBinary),
    sa.Column("answer", sa.Text),
    sa.Column("answered_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
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
log = logging.getLogger(__name__)

CURRENT = questions.c.superseded_by.is_(None)
ACTIVE = labels.c.ended_at.is_(None)


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


@dataclass(frozen=True)
class Contents:
    """What an index may hold: ids (n,) ascending, digests of their texts (n, 16), and which of them it must hold.

    It may lack a version that was superseded since: one that caught up in chunks never saw it.
    """

    ids: NDArray[np.int64]
    required: NDArray[np.bool_]
    digests: NDArray[np.uint8]


@dataclass(frozen=True)
class NewLabel:
    """What somebody says of a pair, named either by two ids of the collection or by two texts."""

    is_duplicate: bool
    by: str
    note: str | None = None
    ids: Sequence[str] | None = None
    questions: Sequence[str] | None = None


@dataclass(frozen=True)
class Ending:
    """Who ended a label, and when: undone, or replaced by a later label of the same person."""

    by: str
    at: str
    replaced_by: int | None


@dataclass(frozen=True)
class Label:
    """What a person said of a pair: active until it is `ended`, `contradicted` while others say the opposite.

    `questions` are the texts as they were given; `pair` is their digest, by which the pair is known.
    """

    id: int
    questions: tuple[str, str]
    is_duplicate: bool
    by: str
    at: str
    note: str | None
    contradicted: bool
    ended: Ending | None
    pair: bytes


@dataclass(frozen=True)
class Given:
    """The label that now stands for what was said, and whether others say the opposite."""

    id: int
    contradicted: bool


@dataclass(frozen=True)
class Labelled:
    """What labelling did; `labels` has one for each pair, in the order they were given."""

    added: int
    replaced: int
    unchanged: int
    labels: Sequence[Given]


@dataclass(frozen=True)
class Once:
    """What tells that a request is one that was answered before: the client's key, and a digest of its body."""

    key: str
    fingerprint: bytes


@dataclass(frozen=True)
class Key:
    """What is kept of a key: its public id, the SHA-256 of the whole, and what it is for."""

    id: str
    digest: bytes
    scopes: tuple[str, ...]
    name: str
    created_at: str
    revoked_at: str | None = None


class Store:
    """Collections, questions, labels and keys in one SQLite database. Safe from many threads; one writes at a time."""

    def __init__(self, path: Path, *, prepare: bool = True) -> None:
        """Open or make the database, check it, and bring its schema up to date. Raises DataDirectoryUnusable.

        `prepare` is false beside another process that has done all that: then it is only opened.
        """
        self._write_lock = threading.Lock()
        self._damaged: set[tuple[str, int, int]] = set()
        url = sa.URL.create("sqlite", database=str(path))
        self._engine = sa.create_engine(url, pool_size=32, max_overflow=32, hide_parameters=True)
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin)
        if prepare:
            self._prepare(path)

    def _prepare(self, path: Path) -> None:
        try:
            self._check_integrity()
            with self._writing() as connection:
                migrate(connection)
                _check_schema(connection)
                if not connection.execute(sa.select(collections.c.key).limit(1)).first():
                    _insert_collection(connection, DEFAULT_COLLECTION)
        except (DBAPIError, CommandError, DataDamaged, StorageFull) as error:
            self._engine.dispose()
            raise DataDirectoryUnusable(f"can't use the database {path}: {_words(error)}") from error

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self._engine.dispose()

    def is_current(self) -> bool:
        """Whether the schema is the one that this code knows. Raises DataDamaged."""
        with self._reading() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found == latest_schema()

    @property
    def damaged(self) -> int:
        """How many rows were found that do not match their checksum; they are passed over."""
        return len(self._damaged)

    # Collections

    def collection(self, name: str) -> Collection:
        """Raises CollectionNotFound, DataDamaged."""
        with self._reading() as connection:
            return _collection(connection, name)

    def list_collections(self, after: str = "", limit: int | None = None) -> list[Collection]:
        """Collections in the order of their names, past the name `after`."""
        query = sa.select(collections).where(collections.c.name > after).order_by(collections.c.name).limit(limit)
        with self._reading() as connection:
            return [_as_collection(row) for row in connection.execute(query).mappings()]

    def create_collection(self, name: str, max_collections: int) -> tuple[Collection, bool]:
        """The collection of this name, and whether it was made now. Raises InvalidRequest at the limit."""
        with self._writing() as connection:
            row = connection.execute(sa.select(collections).where(collections.c.name == name)).mappings().first()
            if row:
                return _as_collection(row), False
            if connection.execute(sa.select(sa.func.count()).select_from(collections)).scalar_one() >= max_collections:
                raise InvalidRequest(FieldError("name", f"can't be added: at most {max_collections:,} collections"))
            return _insert_collection(connection, name), True

    def delete_collection(self, name: str) -> Collection:
        """Delete a collection, its questions and its labels. Raises CollectionNotFound, CollectionProtected."""
        if name == DEFAULT_COLLECTION:
            raise CollectionProtected(name)
        with self._writing() as connection:
            collection = _collection(connection, name)
            for table in (questions, labels, label_requests):
                connection.execute(sa.delete(table).where(table.c.collection_key == collection.key))
            connection.execute(sa.delete(collections).where(collections.c.key == collection.key))
            return collection

    # Writing questions

    def upsert(self, collection_name: str, texts: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs with distinct ids, all or none; a text equal to the stored one changes nothing."""
        with self._writing() as connection:
            collection = _collection(connection, collection_name)
            stored = {row["id"]: row for row in _current(connection, collection.key, "id", [id_ for id_, _ in texts])}
            changed = [(id_, text) for id_, text in texts if id_ not in stored or not _says(stored[id_], text)]
            new = [
                _row(collection.key, revision, id_, text)
                for revision, (id_, text) in enumerate(changed, collection.revision + 1)
            ]
            replaced = [(stored[row["id"]], row["revision"]) for row in new if row["id"] in stored]
            if new:
                for row, revision in replaced:
                    _supersede(connection, row, revision)
                connection.execute(sa.insert(questions), new)
                _advance(connection, collection, by=len(new), added=len(new) - len(replaced))
            return Written(
                collection=collection,
                revision=collection.revision + len(new),
                added=len(new) - len(replaced),
                updated=len(replaced),
                unchanged=len(texts) - len(new),
            )

    def delete(self, collection_name: str, question_id: str) -> Written:
        """Delete one question; its text is gone at once. Raises CollectionNotFound, QuestionNotFound."""
        with self._writing() as connection:
            collection = _collection(connection, collection_name)
            versions = list(_select(connection, questions, collection.key, "id", [question_id], sa.true()))
            if not any(row["superseded_by"] is None for row in versions):
                raise QuestionNotFound(collection_name, question_id)
            for row in versions:
                _supersede(connection, row, collection.revision + 1, erase=True)
            _advance(connection, collection, by=1, added=-1)
            return Written(collection, collection.revision + 1)

    def quarantine(self, collection_key: int, reasons: Mapping[int, str | None]) -> None:
        """Note for each revision why its text can't be embedded, or None where it now can."""
        with self._writing() as connection:
            for row in list(_current(connection, collection_key, "revision", list(reasons))):
                if _is_sound(row):
                    _rewrite(connection, questions, {**row, "quarantined": reasons[row["revision"]]})

    def purge(self, collection_key: int, upto: int) -> None:
        """Forget versions replaced or deleted at or before the revision `upto`: no index needs them any more."""
        outdated = (questions.c.collection_key == collection_key) & (questions.c.superseded_by <= upto)
        with self._writing() as connection:
            connection.execute(sa.delete(questions).where(outdated))

    # Reading questions

    def get(self, collection_name: str, question_id: str) -> Question:
        """Raises CollectionNotFound, QuestionNotFound, DataDamaged."""
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            rows = list(_current(connection, key, "id", [question_id]))
        if not rows:
            raise QuestionNotFound(collection_name, question_id)
        if not (found := self._sound(rows)):
            raise DataDamaged(f"the stored question {question_id!r} fails its checksum: write it again")
        return found[0]

    def list_questions(self, collection_name: str, after: str | None, limit: int) -> list[Question]:
        """Current questions in the order of their ids, past the id `after`."""
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            query = sa.select(questions).where(questions.c.collection_key == key, CURRENT).order_by(questions.c.id)
            if after is not None:
                query = query.where(questions.c.id > after)
            found: list[Question] = []
            with connection.execution_options(yield_per=limit).execute(query) as rows:
                for row in rows.mappings():
                    found += self._sound([row])
                    if len(found) == limit:
                        break
            return found

    def revisions(self, collection_key: int, ids: Sequence[str]) -> dict[str, int]:
        """The revision of the current version of each id that the collection holds."""
        with self._reading() as connection:
            found = self._sound(_current(connection, collection_key, "id", ids))
        return {question.id: question.revision for question in found}

    def exact_matches(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Question]]:
        """For each text, the current questions that equal it after normalisation, oldest first; none: absent."""
        digests = {text: digest(text) for text in texts}
        found = self.with_digests(collection_key, list(set(digests.values())))
        return {text: found[key] for text, key in digests.items() if key in found}

    def with_digests(self, collection_key: int, digests: Sequence[bytes]) -> dict[bytes, list[Question]]:
        """By digest, the current questions whose normalised text has it, oldest first; none: absent."""
        found: dict[bytes, list[Question]] = {}
        with self._reading() as connection:
            for question in self._sound(_current(connection, collection_key, "digest", digests)):
                found.setdefault(digest(question.text), []).append(question)
        return {key: sorted(of_text, key=lambda q: q.revision) for key, of_text in found.items()}

    def read(self, collection_key: int, revisions: Sequence[int]) -> dict[int, Question]:
        """The versions with these revisions, replaced ones included; deleted ones are absent."""
        with self._reading() as connection:
            found = self._sound(
                _select(connection, questions, collection_key, "revision", revisions, questions.c.text != "")
            )
        return {question.revision: question for question in found}

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
            added = connection.execute(added_query.order_by(questions.c.revision).limit(limit)).mappings().all()
            removed = connection.execute(removed_query.order_by(questions.c.superseded_by).limit(limit)).all()
        if latest is None:
            return None
        upto: int = latest
        if len(added) == limit:
            upto = min(upto, added[-1]["revision"])
        if len(removed) == limit:
            upto = min(upto, removed[-1].superseded_by)
        return Changes(
            revision=upto,
            added=self._sound(row for row in added if row["revision"] <= upto),
            removed=[row.revision for row in removed if row.superseded_by <= upto],
            complete=upto == latest,
        )

    def contents(self, collection_key: int, revision: int) -> Contents | None:
        """What an index at `revision` may hold, and what of it it must; None: no such collection.

        True as long as no version that was superseded after `revision` has been purged.
        """
        query = sa.select(questions.c.revision, questions.c.digest, questions.c.superseded_by).where(
            questions.c.collection_key == collection_key,
            questions.c.revision <= revision,
            CURRENT | (questions.c.superseded_by > revision),
            questions.c.quarantined.is_(None),
        )
        with self._reading() as connection:
            if not connection.execute(sa.select(collections.c.key).where(collections.c.key == collection_key)).first():
                return None
            rows = connection.execute(query.order_by(questions.c.revision)).all()
        return Contents(
            ids=np.array([row.revision for row in rows], dtype=np.int64),
            required=np.array([row.superseded_by is None for row in rows], dtype=np.bool_),
            digests=np.frombuffer(b"".join(row.digest for row in rows), dtype=np.uint8).reshape(
                len(rows), DIGEST_BYTES
            ),
        )

    def quarantined(self) -> int:
        """How many current questions could not be embedded, over all collections."""
        query = sa.select(sa.func.count()).select_from(questions).where(CURRENT, questions.c.quarantined.is_not(None))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    # Labels

    def label(self, collection_name: str, said: Sequence[NewLabel], once: Once | None = None) -> Labelled:
        """Write labels, all or none; what a person says of a pair replaces what the same person said before.

        Saying the same again changes nothing, nor does leaving out a note. A request that was answered in the
        last day (`once`) gets the same answer again. Raises CollectionNotFound, QuestionNotFound (every unknown
        id), InvalidRequest (a pair of one question, a pair labelled both ways, a key used for another request).
        """
        with self._writing() as connection:
            collection = _collection(connection, collection_name)
            if once and (answer := self._answered(connection, collection.key, once)):
                return answer
            texts = self._texts_of(connection, collection, said)
            pairs = _distinct_pairs(texts, said)
            answer = self._write_labels(connection, collection.key, said, texts, pairs)
            if once:
                connection.execute(sa.insert(label_requests), _request_row(collection.key, once, answer))
            return answer

    def undo_label(self, collection_name: str, label_id: int, by: str) -> Label:
        """End a label; it stays for the record, and one that was undone before stays as it is.

        Raises CollectionNotFound, LabelNotFound, LabelReplaced.
        """
        with self._writing() as connection:
            key = _collection(connection, collection_name).key
            row = next(iter(self._passing(labels, _select(connection, labels, key, "id", [label_id], sa.true()))), None)
            if row is None:
                raise LabelNotFound(collection_name, label_id)
            if row["replaced_by"] is not None:
                raise LabelReplaced(label_id, row["replaced_by"])
            if row["ended_at"] is not None:
                return _as_label(row)
            ended = _ended(row, by)
            _rewrite(connection, labels, ended)
            standing = self._standing(connection, key, [row["pair"]]).values()
            _note_contradictions(connection, standing, _weighed(standing))
            return _as_label(ended)

    def list_labels(
        self,
        collection_name: str,
        after: int,
        limit: int,
        *,
        is_duplicate: bool | None = None,
        by: str | None = None,
        contradicted: bool | None = None,
        history: bool = False,
    ) -> list[Label]:
        """Labels in the order in which they were given, past the id `after`: active ones, or (`history`) all."""
        wanted = {"is_duplicate": is_duplicate, "said_by": by, "contradicted": contradicted}
        conditions = [labels.c[name] == value for name, value in wanted.items() if value is not None]
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            query = sa.select(labels).where(labels.c.collection_key == key, labels.c.id > after, *conditions)
            query = (query if history else query.where(ACTIVE)).order_by(labels.c.id)
            with connection.execution_options(yield_per=limit).execute(query) as rows:
                return [_as_label(row) for row in islice(self._passing(labels, rows.mappings()), limit)]

    def labels_on(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Label]]:
        """For each text, the active labels of the pairs that it is one of; none: absent."""
        digests = {text: digest(text) for text in texts}
        found: dict[bytes, list[Label]] = {}
        with self._reading() as connection:
            for column in ("digest1", "digest2"):
                chosen = _select(connection, labels, collection_key, column, list(set(digests.values())), ACTIVE)
                for row in self._passing(labels, chosen):
                    found.setdefault(row[column], []).append(_as_label(row))
        return {text: found[key] for text, key in digests.items() if key in found}

    def labels_of(self, collection_key: int, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Label]]:
        """For each pair, its active labels; none: absent. The order of its questions makes no difference."""
        digests = {pair: pair_digest(*pair) for pair in pairs}
        found: dict[bytes, list[Label]] = {}
        with self._reading() as connection:
            chosen = _select(connection, labels, collection_key, "pair", list(set(digests.values())), ACTIVE)
            for row in self._passing(labels, chosen):
                found.setdefault(row["pair"], []).append(_as_label(row))
        return {pair: found[key] for pair, key in digests.items() if key in found}

    def labelled_pairs(self, collection_name: str) -> list[Label]:
        """What training may learn from: of each pair with active labels that agree, the latest."""
        with self._reading() as connection:
            key = _collection(connection, collection_name).key
            agreed = sa.select(labels).where(labels.c.collection_key == key, ACTIVE, ~labels.c.contradicted)
            rows = self._passing(labels, connection.execute(agreed.order_by(labels.c.id)).mappings())
            return list({row["pair"]: _as_label(row) for row in rows}.values())

    def contradicted_labels(self) -> int:
        """How many active labels are contradicted by another, over all collections."""
        query = sa.select(sa.func.count()).select_from(labels).where(labels.c.contradicted)
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def _texts_of(
        self, connection: sa.Connection, collection: Collection, said: Sequence[NewLabel]
    ) -> list[tuple[str, str]]:
        """The two texts of each pair. Raises QuestionNotFound."""
        ids = list(dict.fromkeys(id_ for new in said for id_ in new.ids or ()))
        stored = {q.id: q.text for q in self._sound(_current(connection, collection.key, "id", ids))}
        if missing := [id_ for id_ in ids if id_ not in stored]:
            raise QuestionNotFound(collection.name, *missing)
        named = [new.questions or [stored[id_] for id_ in new.ids or ()] for new in said]
        return [(one, other) for one, other in named]

    def _write_labels(
        self,
        connection: sa.Connection,
        collection_key: int,
        said: Sequence[NewLabel],
        texts: Sequence[tuple[str, str]],
        pairs: Sequence[bytes],
    ) -> Labelled:
        before = self._standing(connection, collection_key, list(dict.fromkeys(pairs)))
        standing = dict(before)
        added: list[dict[str, Any]] = []
        ended: list[dict[str, Any]] = []
        last = connection.execute(
            sa.select(sa.func.max(labels.c.id)).where(labels.c.collection_key == collection_key)
        ).scalar()
        for new, of_pair, pair in zip(said, texts, pairs, strict=True):
            old = standing.get((pair, new.by))
            if old and _repeats(old, new):
                continue
            row = _label_row(collection_key, (last or 0) + len(added) + 1, pair, of_pair, new)
            if old:
                ended.append(_ended(old, new.by, replaced_by=row["id"]))
            added.append(row)
            standing[pair, new.by] = row
        weighed = _weighed(standing.values())
        for row in ended:
            _rewrite(connection, labels, row)
        if added:
            connection.execute(sa.insert(labels), [_sealed(weighed[row["id"]]) for row in added])
        _note_contradictions(connection, before.values(), weighed)
        given = [weighed[standing[pair, new.by]["id"]] for new, pair in zip(said, pairs, strict=True)]
        return Labelled(
            added=len(added) - len(ended),
            replaced=len(ended),
            unchanged=len(said) - len(added),
            labels=[Given(row["id"], row["contradicted"]) for row in given],
        )

    def _standing(
        self, connection: sa.Connection, collection_key: int, pairs: Sequence[bytes]
    ) -> dict[tuple[bytes, str], Mapping[Any, Any]]:
        """The active labels of these pairs, by pair and person. A damaged one is cleared out of the way."""
        rows = list(_select(connection, labels, collection_key, "pair", pairs, ACTIVE))
        sound = {(row["pair"], row["said_by"]): row for row in self._passing(labels, rows)}
        for row in rows:
            if not _is_sound(row):
                connection.execute(sa.delete(labels).where(_is_row(labels, row)))
        return dict(sound)

    def _answered(self, connection: sa.Connection, collection_key: int, once: Once) -> Labelled | None:
        """The answer that the request got before. Raises InvalidRequest if the key came with another body."""
        expired = (datetime.now(UTC) - ANSWERS_KEPT).strftime(TIME)
        mine = label_requests.c.collection_key == collection_key
        connection.execute(sa.delete(label_requests).where(mine, label_requests.c.answered_at < expired))
        of_key = label_requests.c.key == once.key
        row = connection.execute(sa.select(label_requests).where(of_key)).mappings().first()
        if row and not _is_sound(row):  # what it answered is written again, which changes nothing
            self._report(label_requests, collection_key, 0)
            connection.execute(sa.delete(label_requests).where(of_key))
            return None
        if row and row["fingerprint"] != once.fingerprint:
            raise InvalidRequest(FieldError("Idempotency-Key", "was used for another request"))
        return _as_labelled(row["answer"]) if row else None

    # Keys

    def add_key(self, key_id: str, digest: bytes, scopes: Sequence[str], name: str) -> Key:
        """Keep a new key."""
        key = Key(key_id, digest, tuple(scopes), name, created_at=_now())
        with self._writing() as connection:
            connection.execute(sa.insert(keys).values(**_sealed({**asdict(key), "scopes": " ".join(scopes)})))
        return key

    def key(self, key_id: str) -> Key | None:
        """The key with this id, revoked or not. Raises DataDamaged."""
        with self._reading() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id)).mappings().first()
        if row and not _is_sound(row):
            raise DataDamaged(f"the row of key {key_id!r} fails its checksum: revoke it, and make another")
        return _as_key(row) if row else None

    def list_keys(self) -> list[Key]:
        """All keys, oldest first. A row that fails its checksum is reported and left out."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.id)).mappings().all()
        for row in rows:
            if not _is_sound(row):
                log.error("the row of key %r fails its checksum: revoke it, and make another", row["id"])
        return [_as_key(row) for row in rows if _is_sound(row)]

    def has_keys(self) -> bool:
        """Whether a key was ever made, revoked and damaged ones included."""
        with self._reading() as connection:
            return connection.execute(sa.select(keys.c.id).limit(1)).first() is not None

    def revoke_key(self, key_id: str) -> Key:
        """The key, from now on good for nothing; revoked before, it stays as it was. Raises KeyNotFound."""
        with self._writing() as connection:
            row = connection.execute(sa.select(keys).where(keys.c.id == key_id)).mappings().first()
            if row is None:
                raise KeyNotFound(key_id)
            revoked = _sealed({**row, "revoked_at": row["revoked_at"] or _now()})
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(**revoked))
            return _as_key(revoked)

    # Connections

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A consistent view. Raises DataDamaged where SQLite finds the file malformed."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """One write transaction at a time. Raises StorageFull when the disk has no room; nothing is written then."""
        with _translated(), self._write_lock, self._engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def _check_integrity(self) -> None:
        """Raise DataDamaged if a page, or an index against its table, is not what it should be."""
        with self._reading() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
        if found != "ok":
            raise DataDamaged(f"it is damaged ({found}): restore a backup")

    def _sound(self, rows: Iterable[Mapping[Any, Any]]) -> list[Question]:
        """Rows as questions. One that fails its checksum is reported and left out."""
        return [
            Question(row["id"], row["text"], row["revision"], row["quarantined"])
            for row in self._passing(questions, rows)
        ]

    def _passing(self, table: sa.Table, rows: Iterable[Mapping[Any, Any]]) -> Iterator[Mapping[Any, Any]]:
        """The rows that match their checksum; any other is reported and left out."""
        for row in rows:
            if _is_sound(row):
                yield row
            else:
                self._report(table, *(row[column.name] for column in table.primary_key))

    def _report(self, table: sa.Table, collection_key: int, number: int) -> None:
        """Say once that a row is damaged, and count it."""
        if (place := (table.name, collection_key, number)) not in self._damaged:
            self._damaged.add(place)
            log.error("row %s of collection %s in %s fails its checksum; it is left out", number, collection_key, table)


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema of the database to `revision`, inside the connection's transaction."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def latest_schema() -> str:
    """The version of the schema that this code knows."""
    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _check_schema(connection: sa.Connection) -> None:
    """Touch every column, and write: what fails here would otherwise fail in the middle of a request."""
    for table in metadata.sorted_tables:
        connection.execute(sa.select(table).limit(0))
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    """Durability, asserted on every connection: a pragma that did not take is an error, not a hope."""
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")  # damaged text fails its checksum
    connection.isolation_level = None  # transactions begin where _begin says, not before the first write
    for pragma, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {pragma} = {value}")
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != value:
            raise DataDirectoryUnusable(f"SQLite keeps {pragma} at {found!r} instead of {value!r} on this file system")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours, where they have one."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0)
        if code in NO_ROOM:
            raise StorageFull("the disk is full: nothing was written") from error
        if code & 0xFF in DAMAGED:
            raise DataDamaged("the database is damaged: restore a backup") from error
        raise
    except UnicodeDecodeError as error:  # in SQLite's own words about a damaged schema
        raise DataDamaged("the database is damaged: restore a backup") from error


def _words(error: Exception) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)


def _collection(connection: sa.Connection, name: str) -> Collection:
    row = connection.execute(sa.select(collections).where(collections.c.name == name)).mappings().first()
    if row is None:
        raise CollectionNotFound(name)
    return _as_collection(row)


def _as_collection(row: Mapping[Any, Any]) -> Collection:
    if not _is_sound(row):
        raise DataDamaged("the row of a collection fails its checksum: restore a backup")
    return Collection(**{name: value for name, value in row.items() if name != "checksum"})


def _insert_collection(connection: sa.Connection, name: str) -> Collection:
    values: dict[str, Any] = {
        "name": name,
        "revision": 0,
        "questions": 0,
        "created_at": _now(),
    }
    inserted = connection.execute(sa.insert(collections).values(**values, checksum=0))
    (key,) = inserted.inserted_primary_key or (0,)
    collection = Collection(key=key, **values)
    _advance(connection, collection, by=0, added=0)
    return collection


def _as_key(row: Mapping[Any, Any]) -> Key:
    values = {name: value for name, value in row.items() if name != "checksum"}
    return Key(**{**values, "scopes": tuple(row["scopes"].split())})


def _advance(connection: sa.Connection, collection: Collection, by: int, added: int) -> None:
    """Move a collection `by` revisions on, with `added` more questions."""
    values = {
        **asdict(collection),
        "revision": collection.revision + by,
        "questions": collection.questions + added,
    }
    changed = {name: value for name, value in _sealed(values).items() if name != "key"}  # its rows would all be checked
    connection.execute(sa.update(collections).where(collections.c.key == collection.key).values(**changed))


def _select(
    connection: sa.Connection,
    table: sa.Table,
    collection_key: int,
    column: str,
    values: Sequence[Any],
    condition: sa.ColumnElement[bool],
) -> Iterator[sa.RowMapping]:
    """The collection's rows in which the column has one of these values."""
    for start in range(0, len(values), SELECT_CHUNK):
        query = sa.select(table).where(
            table.c.collection_key == collection_key,
            table.c[column].in_(values[start : start + SELECT_CHUNK]),
            condition,
        )
        yield from connection.execute(query).mappings()


def _current(
    connection: sa.Connection, collection_key: int, column: str, values: Sequence[Any]
) -> Iterator[sa.RowMapping]:
    return _select(connection, questions, collection_key, column, values, CURRENT)


def _supersede(connection: sa.Connection, row: Mapping[Any, Any], revision: int, *, erase: bool = False) -> None:
    """Mark a version as replaced by a revision, if it was not before. Of a damaged one nothing else is kept."""
    version = row if _is_sound(row) else _row(row["collection_key"], row["revision"], "", "")
    text = "" if erase else version["text"]
    changed = {**version, "text": text, "superseded_by": version["superseded_by"] or revision}
    _rewrite(connection, questions, changed)


def _rewrite(connection: sa.Connection, table: sa.Table, row: Mapping[Any, Any]) -> None:
    """Store a changed row, its checksum made anew."""
    connection.execute(sa.update(table).where(_is_row(table, row)).values(**_sealed(row)))


def _is_row(table: sa.Table, row: Mapping[Any, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


def _row(collection_key: int, revision: int, id_: str, text: str) -> dict[str, Any]:
    row = {"collection_key": collection_key, "revision": revision, "id": id_, "text": text, "digest": digest(text)}
    return _sealed({**row, "superseded_by": None, "quarantined": None})


def _distinct_pairs(texts: Sequence[tuple[str, str]], said: Sequence[NewLabel]) -> list[bytes]:
    """The digest of each pair. Raises InvalidRequest for a pair of one question, and one labelled both ways."""
    pairs = [pair_digest(*of_pair) for of_pair in texts]
    first: dict[tuple[bytes, str], int] = {}
    errors = []
    for i, (new, pair) in enumerate(zip(said, pairs, strict=True)):
        before = first.setdefault((pair, new.by), i)
        if pair[:DIGEST_BYTES] == pair[DIGEST_BYTES:]:
            errors.append(FieldError(f"labels.{i}", "is a pair of a question with itself"))
        elif (new.is_duplicate, new.note) != (said[before].is_duplicate, said[before].note):
            errors.append(FieldError(f"labels.{i}", f"says otherwise than labels.{before} of the same pair"))
    if errors:
        raise InvalidRequest(*errors)
    return pairs


def _label_row(collection_key: int, id_: int, pair: bytes, texts: tuple[str, str], new: NewLabel) -> dict[str, Any]:
    """The row of a label, save for its checksum."""
    return {
        "collection_key": collection_key,
        "id": id_,
        "pair": pair,
        "digest1": pair[:DIGEST_BYTES],
        "digest2": pair[DIGEST_BYTES:],
        "question1": texts[0],
        "question2": texts[1],
        "is_duplicate": new.is_duplicate,
        "said_by": new.by,
        "said_at": _now(),
        "note": new.note,
        "ended_by": None,
        "ended_at": None,
        "replaced_by": None,
        "contradicted": False,
    }


def _repeats(row: Mapping[Any, Any], new: NewLabel) -> bool:
    """Whether a person says again what the row says."""
    return bool(row["is_duplicate"] == new.is_duplicate and new.note in (None, row["note"]))


def _ended(row: Mapping[Any, Any], by: str, replaced_by: int | None = None) -> dict[str, Any]:
    return {**row, "ended_by": by, "ended_at": _now(), "replaced_by": replaced_by, "contradicted": False}


def _weighed(rows: Iterable[Mapping[Any, Any]]) -> dict[int, dict[str, Any]]:
    """By id, all active labels of some pairs, each saying whether another contradicts it."""
    rows = list(rows)
    said: dict[bytes, set[bool]] = {}
    for row in rows:
        said.setdefault(row["pair"], set()).add(row["is_duplicate"])
    return {row["id"]: {**row, "contradicted": len(said[row["pair"]]) > 1} for row in rows}


def _note_contradictions(
    connection: sa.Connection, rows: Iterable[Mapping[Any, Any]], weighed: Mapping[int, Mapping[Any, Any]]
) -> None:
    """Store of these rows those that weigh otherwise now."""
    for row in rows:
        if (now := weighed.get(row["id"])) and now["contradicted"] != row["contradicted"]:
            _rewrite(connection, labels, now)


def _request_row(collection_key: int, once: Once, answer: Labelled) -> dict[str, Any]:
    row = {"key": once.key, "collection_key": collection_key, "fingerprint": once.fingerprint}
    return _sealed({**row, "answer": json.dumps(asdict(answer)), "answered_at": _now()})


def _as_labelled(answer: str) -> Labelled:
    values = json.loads(answer)
    return Labelled(**{**values, "labels": [Given(**given) for given in values["labels"]]})


def _as_label(row: Mapping[Any, Any]) -> Label:
    return Label(
        id=row["id"],
        questions=(row["question1"], row["question2"]),
        is_duplicate=row["is_duplicate"],
        by=row["said_by"],
        at=row["said_at"],
        note=row["note"],
        contradicted=row["contradicted"],
        ended=Ending(row["ended_by"], row["ended_at"], row["replaced_by"]) if row["ended_at"] else None,
        pair=row["pair"],
    )


def _now() -> str:
    return datetime.now(UTC).strftime(TIME)


def _says(row: Mapping[Any, Any], text: str) -> bool:
    """Whether a row is sound and holds this text."""
    return bool(row["text"] == text and _is_sound(row))


def _is_sound(row: Mapping[Any, Any]) -> bool:
    return bool(row["checksum"] == _checksum(row))


def _sealed(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {**row, "checksum": _checksum(row)}


def _checksum(row: Mapping[Any, Any]) -> int:
    """63 bits over all that a row says, so that damage is noticed instead of served."""
    values = [[name, value.hex() if isinstance(value, bytes) else value] for name, value in row.items()]
    content = json.dumps(sorted(pair for pair in values if pair[0] != "checksum")).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1
