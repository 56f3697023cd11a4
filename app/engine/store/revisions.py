"""The revisions of collections, as indexes follow them.

Of each collection: the changes that an index lacks, the questions that it may hold, and those that can't be embedded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.engine.store.collections import Collections
from app.engine.store.database import Database
from app.engine.store.mapper import Mapper, is_sound
from app.engine.store.question_records import Changes, Contents
from app.engine.store.question_rows import CURRENT, as_question, of_collection, questions
from app.engine.text import DIGEST_BYTES

QUARANTINED = CURRENT & questions.c.quarantined.is_not(None)
NOT_QUARANTINED = questions.c.quarantined.is_(None)
PURGED_AT_ONCE = 10_000  # versions


class Revisions:
    """The revisions of every collection, for its index."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, questions, as_question)

    # What an index lacks, and what it may hold

    def changes_since(self, collection_key: int, revision: int, limit: int) -> Changes | None:
        """The changes an index at `revision` lacks, at most `limit` of each kind; None: no such collection."""
        added_query = (
            sa.select(questions)
            .where(of_collection(collection_key), CURRENT, questions.c.revision > revision)
            .order_by(questions.c.revision)
        )
        removed_query = (
            sa.select(questions.c.revision, questions.c.superseded_by)
            .where(of_collection(collection_key), questions.c.superseded_by > revision)
            .where(questions.c.revision <= revision)
            .order_by(questions.c.superseded_by)
        )
        with self._database.reading() as connection:
            latest = self._collections.latest_revision(connection, collection_key)
            added = self._mapper.rows(connection, added_query.limit(limit))
            removed = connection.execute(removed_query.limit(limit)).all()
        if latest is None:
            return None
        upto = latest
        if len(added) == limit:
            upto = min(upto, added[-1]["revision"])
        if len(removed) == limit:
            upto = min(upto, removed[-1].superseded_by)
        within = [row for row in added if row["revision"] <= upto]
        return Changes(
            revision=upto,
            added=list(self._mapper.records(within)),
            removed=[row.revision for row in removed if row.superseded_by <= upto],
            complete=upto == latest,
        )

    def contents(
        self, collection_key: int, revision: int, held: NDArray[np.int64]
    ) -> Contents | None:
        """The questions an index at `revision` that holds `held` may hold, and which it must; None: no such collection.

        It need not hold a quarantined one: another release's model may be the one that can't embed it. Nor a damaged
        one: `changes_since` left it out. True as long as no version that was superseded after `revision` has been
        purged.
        """
        required = (CURRENT & NOT_QUARANTINED).label("required")
        query = (
            sa.select(questions.c.revision, questions.c.digest, required)
            .where(of_collection(collection_key), questions.c.revision <= revision)
            .where(CURRENT | (questions.c.superseded_by > revision))
            .order_by(questions.c.revision)
        )
        with self._database.reading() as connection:
            if self._collections.latest_revision(connection, collection_key) is None:
                return None
            rows = connection.execute(query).all()
            contents = _contents(rows)
            # Checksums of all rows would take four times as long.
            lacking = np.setdiff1d(contents.ids[contents.required], held)
            damaged = self._damaged(connection, collection_key, lacking.tolist())
        contents.required[np.isin(contents.ids, damaged)] = False
        return contents

    def purge(self, collection_key: int, upto: int) -> bool:
        """Forget versions replaced or deleted at or before the revision `upto`, which no index needs any more; whether
        there were any. There may be millions: who writes meanwhile waits for some of them at most."""
        within = of_collection(collection_key)
        outdated = within & (questions.c.superseded_by <= upto)
        some = sa.select(questions.c.revision).where(outdated).limit(PURGED_AT_ONCE)
        purging = sa.delete(questions).where(within & questions.c.revision.in_(some))
        total = 0
        while True:
            with self._database.writing() as connection:
                self._collections.lock(connection, collection_key)
                self._database.driver.take_time(connection)  # on a slow disk
                purged = connection.execute(purging).rowcount
            total += purged
            if purged < PURGED_AT_ONCE:
                break
        if total:
            self._database.erase_deleted()
        return bool(total)

    # What can't be embedded

    def quarantine(self, collection_key: int, reasons: Mapping[int, str | None]) -> None:
        """Note for each revision why its text can't be embedded, or None where it now can."""
        with self._database.writing() as connection:
            self._collections.lock(connection, collection_key)
            rows = self._mapper.any_of(
                connection, collection_key, "revision", list(reasons), CURRENT
            )
            for row in list(rows):
                if is_sound(row):
                    noted = {**row, "quarantined": reasons[row["revision"]]}
                    self._mapper.rewrite(connection, noted)

    def quarantined(self) -> dict[int, list[int]]:
        """By collection, the revisions of current questions that are quarantined; none: absent."""
        query = sa.select(questions.c.collection_key, questions.c.revision).where(QUARANTINED)
        revisions: dict[int, list[int]] = {}
        with self._database.reading() as connection:
            for key, revision in connection.execute(query):
                revisions.setdefault(key, []).append(revision)
        return revisions

    def quarantined_count(self) -> int:
        """How many current questions could not be embedded, over all collections."""
        return self._mapper.count(QUARANTINED)

    # Inside

    def _damaged(
        self, connection: sa.Connection, collection_key: int, revisions: Sequence[int]
    ) -> list[int]:
        """Those of the current questions of these revisions whose rows fail their checksum."""
        rows = self._mapper.any_of(connection, collection_key, "revision", revisions, CURRENT)
        return [row["revision"] for row in rows if not is_sound(row)]


def _contents(rows: Sequence[sa.Row[Any]]) -> Contents:
    """Of rows with revision, digest and `required`."""
    digests = np.frombuffer(b"".join(_digest(row.digest) for row in rows), dtype=np.uint8)
    return Contents(
        ids=np.array([row.revision for row in rows], dtype=np.int64),
        required=np.array([row.required for row in rows], dtype=np.bool_),
        digests=digests.reshape(len(rows), DIGEST_BYTES),
    )


def _digest(stored: object) -> bytes:
    """A digest as it is stored; zeros for what can be none, in a damaged row."""
    if isinstance(stored, bytes) and len(stored) == DIGEST_BYTES:
        return stored
    return bytes(DIGEST_BYTES)
