"""Collections and questions, and their revisions.

Every change of a collection takes its next revision, one for each question written or deleted. A question's
row is one version of it, named by the revision that wrote it, so a revision is also the number under which
an index knows a text: it never means anything else again. A replaced version keeps its text until `purge`,
for indexes that have not caught up; a deleted one loses it at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.engine.store.activations import Activations
from app.engine.store.collections import (
    DEFAULT_COLLECTION,
    Collection,
    advance,
    as_collection,
    collections,
    find_collection,
    insert_collection,
)
from app.engine.store.database import Database, is_sound, metadata, rewrite, select
from app.engine.store.deliveries import Outbox
from app.engine.store.keys import KeyRecords
from app.engine.store.labels import Labels
from app.engine.store.questions import (
    CURRENT,
    NOT_DELETED,
    Changes,
    Contents,
    Question,
    Written,
    current,
    new_row,
    questions,
    sound,
    supersede,
)
from app.engine.store.training_runs import TrainingRuns
from app.engine.text import DIGEST_BYTES, digest
from app.errors import (
    CollectionProtected,
    DataDamaged,
    FieldError,
    InvalidRequest,
    QuestionNotFound,
)

PAGE = 1000  # questions that `every_question` holds at a time


class Store:
    """Collections and questions, with labels and the like beside them. Safe from many threads; one writes at a time."""

    def __init__(self, path: Path, *, prepare: bool = True) -> None:
        """Open or make the database, check it, and bring its schema up to date. Raises DataDirectoryUnusable.

        `prepare` is false beside another process that has done all that: then it is only opened.
        """
        self.database = Database(path)
        self.labels = Labels(self.database)
        self.keys = KeyRecords(self.database)
        self.deliveries = Outbox(self.database)
        self.training_runs = TrainingRuns(self.database)
        self.activations = Activations(self.database)
        if prepare:
            self.database.prepare(_begin)

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self.database.close()

    def view(self) -> AbstractContextManager[object]:
        """What this thread reads inside the context is as it was at one moment, and costs one transaction."""
        return self.database.reading()

    # Collections

    def collection(self, name: str) -> Collection:
        """Raises CollectionNotFound, DataDamaged."""
        with self.database.reading() as connection:
            return find_collection(connection, name)

    def list_collections(self, after: str = "", limit: int | None = None) -> list[Collection]:
        """Collections in the order of their names, past the name `after`."""
        query = (
            sa.select(collections)
            .where(collections.c.name > after)
            .order_by(collections.c.name)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [as_collection(row) for row in connection.execute(query).mappings()]

    def create_collection(self, name: str, max_collections: int) -> tuple[Collection, bool]:
        """The collection of this name, and whether it was made now. Raises InvalidRequest at the limit."""
        with self.database.writing() as connection:
            row = (
                connection.execute(sa.select(collections).where(collections.c.name == name))
                .mappings()
                .first()
            )
            if row:
                return as_collection(row), False
            if (
                connection.execute(sa.select(sa.func.count()).select_from(collections)).scalar_one()
                >= max_collections
            ):
                raise InvalidRequest(
                    FieldError("name", f"can't be added: at most {max_collections:,} collections")
                )
            return insert_collection(connection, name), True

    def delete_collection(self, name: str) -> Collection:
        """Delete a collection, and all that stands in it. Raises CollectionNotFound, CollectionProtected."""
        if name == DEFAULT_COLLECTION:
            raise CollectionProtected(name)
        with self.database.writing() as connection:
            collection = find_collection(connection, name)
            for table in metadata.tables.values():
                if "collection_key" in table.c:
                    connection.execute(
                        sa.delete(table).where(table.c.collection_key == collection.key)
                    )
            connection.execute(sa.delete(collections).where(collections.c.key == collection.key))
            return collection

    # Writing questions

    def upsert(self, collection_name: str, texts: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs with distinct ids, all or none; a text equal to the stored one changes nothing."""
        with self.database.writing() as connection:
            collection = find_collection(connection, collection_name)
            stored = {
                row["id"]: row
                for row in current(connection, collection.key, "id", [id_ for id_, _ in texts])
            }
            changed = [
                (id_, text)
                for id_, text in texts
                if id_ not in stored or not _says(stored[id_], text)
            ]
            new = [
                new_row(collection.key, revision, id_, text)
                for revision, (id_, text) in enumerate(changed, collection.revision + 1)
            ]
            replaced = [(stored[row["id"]], row["revision"]) for row in new if row["id"] in stored]
            if new:
                for row, revision in replaced:
                    supersede(connection, row, revision)
                connection.execute(sa.insert(questions), new)
                advance(connection, collection, by=len(new), added=len(new) - len(replaced))
            return Written(
                collection=collection,
                revision=collection.revision + len(new),
                added=len(new) - len(replaced),
                updated=len(replaced),
                unchanged=len(texts) - len(new),
            )

    def delete(self, collection_name: str, question_id: str) -> Written:
        """Delete one question; its text is gone at once. Raises CollectionNotFound, QuestionNotFound."""
        with self.database.writing() as connection:
            collection = find_collection(connection, collection_name)
            versions = list(
                select(connection, questions, collection.key, "id", [question_id], sa.true())
            )
            if not any(row["superseded_by"] is None for row in versions):
                raise QuestionNotFound(collection_name, question_id)
            for row in versions:
                supersede(connection, row, collection.revision + 1, erase=True)
            advance(connection, collection, by=1, added=-1)
            return Written(collection, collection.revision + 1)

    def quarantine(self, collection_key: int, reasons: Mapping[int, str | None]) -> None:
        """Note for each revision why its text can't be embedded, or None where it now can."""
        with self.database.writing() as connection:
            for row in list(current(connection, collection_key, "revision", list(reasons))):
                if is_sound(row):
                    rewrite(connection, questions, {**row, "quarantined": reasons[row["revision"]]})

    def purge(self, collection_key: int, upto: int) -> None:
        """Forget versions replaced or deleted at or before the revision `upto`: no index needs them any more."""
        outdated = (questions.c.collection_key == collection_key) & (
            questions.c.superseded_by <= upto
        )
        with self.database.writing() as connection:
            connection.execute(sa.delete(questions).where(outdated))

    # Reading questions

    def get(self, collection_name: str, question_id: str) -> Question:
        """Raises CollectionNotFound, QuestionNotFound, DataDamaged."""
        with self.database.reading() as connection:
            key = find_collection(connection, collection_name).key
            rows = list(current(connection, key, "id", [question_id]))
        if not rows:
            raise QuestionNotFound(collection_name, question_id)
        if not (found := sound(self.database, rows)):
            raise DataDamaged(
                f"the stored question {question_id!r} fails its checksum: write it again"
            )
        return found[0]

    def list_questions(self, collection_name: str, after: str | None, limit: int) -> list[Question]:
        """Current questions in the order of their ids, past the id `after`."""
        with self.database.reading() as connection:
            key = find_collection(connection, collection_name).key
            query = (
                sa.select(questions)
                .where(questions.c.collection_key == key, CURRENT)
                .order_by(questions.c.id)
            )
            if after is not None:
                query = query.where(questions.c.id > after)
            found: list[Question] = []
            with connection.execute(query, execution_options={"yield_per": limit}) as rows:
                for row in rows.mappings():
                    found += sound(self.database, [row])
                    if len(found) == limit:
                        break
            return found

    def every_question(self, collection_name: str) -> Iterator[Question]:
        """Current questions in the order of their ids, some at a time."""
        after = None
        while page := self.list_questions(collection_name, after, PAGE):
            yield from page
            after = page[-1].id

    def revisions(self, collection_key: int, ids: Sequence[str]) -> dict[str, int]:
        """The revision of the current version of each id that the collection holds."""
        with self.database.reading() as connection:
            found = sound(self.database, current(connection, collection_key, "id", ids))
        return {question.id: question.revision for question in found}

    def exact_matches(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Question]]:
        """For each text, the current questions that equal it after normalisation, oldest first; none: absent."""
        digests = {text: digest(text) for text in texts}
        found = self.with_digests(collection_key, list(set(digests.values())))
        return {text: found[key] for text, key in digests.items() if key in found}

    def with_digests(
        self, collection_key: int, digests: Sequence[bytes]
    ) -> dict[bytes, list[Question]]:
        """By digest, the current questions whose normalised text has it, oldest first; none: absent."""
        found: dict[bytes, list[Question]] = {}
        with self.database.reading() as connection:
            for question in sound(
                self.database, current(connection, collection_key, "digest", digests)
            ):
                found.setdefault(digest(question.text), []).append(question)
        return {key: sorted(of_text, key=lambda q: q.revision) for key, of_text in found.items()}

    def read(self, collection_key: int, revisions: Sequence[int]) -> dict[int, Question]:
        """The versions with these revisions, replaced ones included; deleted ones are absent."""
        with self.database.reading() as connection:
            found = sound(
                self.database,
                select(connection, questions, collection_key, "revision", revisions, NOT_DELETED),
            )
        return {question.revision: question for question in found}

    def changes_since(self, collection_key: int, revision: int, limit: int) -> Changes | None:
        """What an index at `revision` has to add and remove, at most `limit` of each; None: no such collection."""
        mine = questions.c.collection_key == collection_key
        added_query = sa.select(questions).where(mine, CURRENT, questions.c.revision > revision)
        removed_query = sa.select(questions.c.revision, questions.c.superseded_by).where(
            mine, questions.c.superseded_by > revision, questions.c.revision <= revision
        )
        with self.database.reading() as connection:
            latest = connection.execute(
                sa.select(collections.c.revision).where(collections.c.key == collection_key)
            ).scalar()
            added = (
                connection.execute(added_query.order_by(questions.c.revision).limit(limit))
                .mappings()
                .all()
            )
            removed = connection.execute(
                removed_query.order_by(questions.c.superseded_by).limit(limit)
            ).all()
        if latest is None:
            return None
        upto: int = latest
        if len(added) == limit:
            upto = min(upto, added[-1]["revision"])
        if len(removed) == limit:
            upto = min(upto, removed[-1].superseded_by)
        return Changes(
            revision=upto,
            added=sound(self.database, (row for row in added if row["revision"] <= upto)),
            removed=[row.revision for row in removed if row.superseded_by <= upto],
            complete=upto == latest,
        )

    def contents(self, collection_key: int, revision: int) -> Contents | None:
        """What an index at `revision` may hold, and what of it it must; None: no such collection.

        It need not hold what is quarantined: another release's model may be the one that can't embed it.
        True as long as no version that was superseded after `revision` has been purged.
        """
        required = CURRENT & questions.c.quarantined.is_(None)
        query = sa.select(
            questions.c.revision, questions.c.digest, required.label("required")
        ).where(
            questions.c.collection_key == collection_key,
            questions.c.revision <= revision,
            CURRENT | (questions.c.superseded_by > revision),
        )
        with self.database.reading() as connection:
            if not connection.execute(
                sa.select(collections.c.key).where(collections.c.key == collection_key)
            ).first():
                return None
            rows = connection.execute(query.order_by(questions.c.revision)).all()
        return Contents(
            ids=np.array([row.revision for row in rows], dtype=np.int64),
            required=np.array([row.required for row in rows], dtype=np.bool_),
            digests=np.frombuffer(b"".join(row.digest for row in rows), dtype=np.uint8).reshape(
                len(rows), DIGEST_BYTES
            ),
        )

    def quarantined_revisions(self, collection_key: int) -> list[int]:
        """The revisions of the collection's current questions that are quarantined."""
        query = sa.select(questions.c.revision).where(
            questions.c.collection_key == collection_key,
            CURRENT,
            questions.c.quarantined.is_not(None),
        )
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())

    def quarantined(self) -> int:
        """How many current questions could not be embedded, over all collections."""
        query = (
            sa.select(sa.func.count())
            .select_from(questions)
            .where(CURRENT, questions.c.quarantined.is_not(None))
        )
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _begin(connection: sa.Connection) -> None:
    """What stands there from the start."""
    if not connection.execute(sa.select(collections.c.key).limit(1)).first():
        insert_collection(connection, DEFAULT_COLLECTION)


def _says(row: Mapping[Any, Any], text: str) -> bool:
    """Whether a row is sound and holds this text."""
    return bool(row["text"] == text and is_sound(row))
