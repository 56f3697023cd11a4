"""Questions and their revisions.

Every change of a collection takes its next revision, one for each question written or deleted. A question's
row is one version of it, named by the revision that wrote it. So a revision is also the number under which an index
knows a text: it never means anything else again. A replaced version keeps its text until `Revisions.purge`,
for indexes that have not caught up; a deleted one loses it at once.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any, Literal

import sqlalchemy as sa

from app.engine.store.along import Along
from app.engine.store.collections import Collections
from app.engine.store.database import Database
from app.engine.store.mapper import Mapper, Row, is_sound
from app.engine.store.pairs_to_label import PairsToLabel
from app.engine.store.prepared import Prepared
from app.engine.store.question_records import Copies, Question, Written
from app.engine.store.question_rows import (
    ANY_VERSION,
    CURRENT,
    NOT_DELETED,
    as_question,
    of_collection,
    questions,
    version_row,
)
from app.engine.text import Worded, Words, digest
from app.errors import DataDamaged, QuestionNotFound

PAGE, PAGE_BYTES = 1000, 2**19  # questions, and bytes of their texts, that `every` holds at a time
MOST_IDS = 20  # that are told of one text
OF_TEXT = (
    questions.c.collection_key == sa.bindparam("key"),
    questions.c.digest == sa.bindparam("of_words"),
    questions.c.text == sa.bindparam("of_text"),
    CURRENT,
)
# Sorted by no index: SQLite would look through all revisions rather than sort a few.
BY_REVISION = questions.c.revision + sa.literal_column("0")
COPIES = Prepared(
    questions, *OF_TEXT, ascending=BY_REVISION, limit=sa.bindparam("most", type_=sa.Integer)
)
COUNT = sa.select(sa.func.count()).select_from(questions).where(*OF_TEXT)


class Questions:
    """The questions of every collection."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, questions, as_question)
        self._pairs_to_label = PairsToLabel(database)
        self.along = Along()

    # Writing

    def upsert(self, collection_name: str, texts: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs with distinct ids, all or none; a text equal to the stored one changes nothing."""
        words = [Words.of(text) for _, text in texts]  # before others have to wait for this write
        ids = [id_ for id_, _ in texts]
        at_hand = self.along.embed(self._new_texts(collection_name, texts))
        with self._database.writing() as connection:
            collection = self._collections.locked(connection, collection_name)
            current = self._current(connection, collection.key, "id", ids)
            stored = {row["id"]: row for row in current}
            added: list[Row] = []
            replaced: dict[str, int] = {}  # the revisions of ids
            for id_, of_text in zip(ids, words, strict=True):
                row = stored.get(id_)
                if row and row["text"] == of_text.text and is_sound(row):
                    continue
                revision = collection.revision + len(added) + 1
                added.append(version_row(collection.key, revision, id_, of_text))
                if row:
                    self._supersede(connection, row, revision)
                    replaced[id_] = row["revision"]
            new = len(added) - len(replaced)
            if added:
                self._mapper.insert(connection, *added)
                self._collections.advance(connection, collection, by=len(added), added=new)
            if replaced:
                self._pairs_to_label.forget(connection, collection.key, replaced.keys())
            by_revision = {row["revision"]: row["text"] for row in added}
            gone = list(replaced.values())
            at_hand.write(connection, collection, len(added), by_revision, gone)
        at_hand.written(collection)
        return Written(
            collection=collection,
            revision=collection.revision + len(added),
            added=new,
            updated=len(replaced),
            unchanged=len(texts) - len(added),
        )

    def delete(self, collection_name: str, question_id: str) -> Written:
        """Delete one question; its text is gone at once. Raises CollectionNotFound, QuestionNotFound."""
        at_hand = self.along.embed([])
        with self._database.writing() as connection:
            collection = self._collections.locked(connection, collection_name)
            revision = collection.revision + 1
            of_id = self._mapper.any_of(
                connection, collection.key, "id", [question_id], ANY_VERSION
            )
            versions = list(of_id)
            if all(row["superseded_by"] is not None for row in versions):
                raise QuestionNotFound(collection_name, question_id)
            for row in versions:
                self._supersede(connection, row, revision, erase=True)
            self._collections.advance(connection, collection, by=1, added=-1)
            self._pairs_to_label.forget(connection, collection.key, {question_id})
            gone = [row["revision"] for row in versions]
            at_hand.write(connection, collection, 1, {}, gone)
        at_hand.written(collection)
        self._database.erase_deleted()
        return Written(collection, revision)

    def forget_stale_pairs(self, collection_key: int) -> None:
        """Forget what training runs ask people to label of questions that were deleted or replaced while they ran."""
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                return
            ids = self._pairs_to_label.ids(connection, collection_key)
            stored = self.current(connection, collection_key, "id", sorted(ids))
            texts = {question.id: question.text for question in stored}
            has_forgotten = self._pairs_to_label.keep_current(connection, collection_key, texts)
        if has_forgotten:
            self._database.erase_deleted()

    # Reading

    def get(self, collection_name: str, question_id: str) -> Question:
        """Raises CollectionNotFound, QuestionNotFound, DataDamaged."""
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            rows = list(self._current(connection, key, "id", [question_id]))
        if not rows:
            raise QuestionNotFound(collection_name, question_id)
        question = next(self._mapper.records(rows), None)
        if question is None:
            damage = f"the stored question {question_id!r} fails its checksum: write it again"
            raise DataDamaged(damage)
        return question

    def page(
        self,
        collection_name: str,
        after: str | None,
        limit: int,
        *,
        words: Sequence[str] = (),
        max_bytes: int | None = None,
    ) -> list[Question]:
        """Current questions in the order of their ids, past the id `after`; those with all `words` in text or id.

        Letter case makes no difference, save outside ASCII. Of large questions fewer than `limit` (`until_full`).
        """
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            query = sa.select(questions).where(of_collection(key), CURRENT).order_by(questions.c.id)
            if after is not None:
                query = query.where(questions.c.id > after)
            for word in words:
                in_text = questions.c.text.icontains(word, autoescape=True)
                query = query.where(in_text | questions.c.id.icontains(word, autoescape=True))
            return self._mapper.page(connection, query, limit, max_bytes)

    def every(self, collection_name: str) -> Iterator[Question]:
        """Current questions in the order of their ids, some at a time."""
        after = None
        while page := self.page(collection_name, after, PAGE, max_bytes=PAGE_BYTES):
            yield from page
            after = page[-1].id

    def revisions(self, collection_key: int, ids: Sequence[str]) -> dict[str, int]:
        """The revision of the current version of each id that the collection holds."""
        with self._database.reading() as connection:
            named = self.current(connection, collection_key, "id", ids)
            return {question.id: question.revision for question in named}

    def texts(self, collection_key: int, ids: Sequence[str]) -> dict[str, str]:
        """The text of the current version of each id that the collection holds."""
        with self._database.reading() as connection:
            named = self.current(connection, collection_key, "id", ids)
            return {question.id: question.text for question in named}

    def exact_matches(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Question]]:
        """For each text, the current questions of the same visible words, oldest first; none: absent."""
        digests = {text: digest(text) for text in texts}
        matches: dict[bytes, list[Question]] = {}
        for question in self.with_digests(collection_key, list(set(digests.values()))):
            matches.setdefault(question.digest, []).append(question)
        for equal in matches.values():
            equal.sort(key=lambda question: question.revision)
        return {text: matches[key] for text, key in digests.items() if key in matches}

    def with_digests(
        self,
        collection_key: int,
        digests: Sequence[bytes],
        column: Literal["digest", "loose"] = "digest",
    ) -> Iterator[Question]:
        """The current questions that have one of the digests in the column, one at a time: there may be any number."""
        with self._database.reading() as connection:
            yield from self.current(connection, collection_key, column, digests)

    def copies(
        self, collection_key: int, worded: Iterable[Worded], excluded: Set[str] = frozenset()
    ) -> dict[str, Copies]:
        """Of each text, its current questions but for those with excluded ids; none: absent."""
        distinct = {words.text: words.digest for words in worded}
        most = MOST_IDS + 1 + len(excluded)
        found = {}
        named_by_text = {
            text: {"key": collection_key, "of_words": digest_, "of_text": text}
            for text, digest_ in distinct.items()
        }
        with self._database.asking() as connection:
            each = COPIES.rows_of_each(
                connection, [{**named, "most": most} for named in named_by_text.values()]
            )
            for (text, named), rows in zip(named_by_text.items(), each, strict=True):
                sound = self._mapper.sound(rows)
                ids = [row["id"] for row in sound if row["id"] not in excluded]
                if not ids:
                    continue
                count = len(ids)
                if len(rows) == most:
                    counted = COUNT.where(questions.c.id.not_in(excluded))
                    counted_later = connection.execute(counted, named).scalar_one()
                    count = max(count, counted_later)  # some may be deleted meanwhile
                found[text] = Copies(tuple(ids[:MOST_IDS]), count)
        return found

    def read(self, collection_key: int, revisions: Sequence[int]) -> dict[int, Question]:
        """The versions with these revisions, replaced ones included; deleted ones are absent."""
        with self._database.asking() as connection:
            rows = self._mapper.any_of(
                connection, collection_key, "revision", revisions, NOT_DELETED
            )
            return {question.revision: question for question in self._mapper.records(rows)}

    def _new_texts(self, collection_name: str, texts: Sequence[tuple[str, str]]) -> list[str]:
        """Those that differ from what stands under their ids, where vectors of them could be written along."""
        if not self.along.has_begun:
            return []
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            stored = self.texts(key, [id_ for id_, _ in texts])
        if not self.along.keeps_up(key):
            return []
        return [text for id_, text in texts if stored.get(id_) != text]

    # Within a transaction

    def current(
        self, connection: sa.Connection, collection_key: int, column: str, values: Sequence[Any]
    ) -> Iterator[Question]:
        """The current questions in which the column has one of the values."""
        return self._mapper.records(self._current(connection, collection_key, column, values))

    def _current(
        self, connection: sa.Connection, collection_key: int, column: str, values: Sequence[Any]
    ) -> Iterator[Row]:
        return self._mapper.any_of(connection, collection_key, column, values, CURRENT)

    def _supersede(
        self, connection: sa.Connection, row: Row, revision: int, *, erase: bool = False
    ) -> None:
        """Mark a version as replaced by a revision, if it was not before. Of a damaged one nothing else is kept."""
        if not is_sound(row):
            row = version_row(row["collection_key"], row["revision"], "", Words.of(""))
        superseded_by = row["superseded_by"] or revision
        text = "" if erase else row["text"]
        changed = {**row, "text": text, "superseded_by": superseded_by}
        self._mapper.rewrite(connection, changed)
