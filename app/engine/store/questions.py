"""Questions: the table, whose rows are versions named by their revisions, and how a version is read and ended."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.engine.store.collections import Collection
from app.engine.store.database import Database, is_sound, metadata, rewrite, sealed, select
from app.engine.text import digest

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

CURRENT = questions.c.superseded_by.is_(None)
NOT_DELETED = questions.c.text != ""


@dataclass(frozen=True)
class Question:
    """One version of a question. `quarantined` says why it could not be embedded, if it could not."""

    id: str
    text: str
    revision: int
    quarantined: str | None

    @property
    def digest(self) -> bytes:
        """Of the normalised text."""
        return digest(self.text)


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

    It may lack a version that was superseded since: one that caught up in chunks never saw it; and one that is
    quarantined.
    """

    ids: NDArray[np.int64]
    required: NDArray[np.bool_]
    digests: NDArray[np.uint8]


def sound(database: Database, rows: Iterable[Mapping[Any, Any]]) -> list[Question]:
    """Rows as questions. One that fails its checksum is reported and left out."""
    return [
        Question(row["id"], row["text"], row["revision"], row["quarantined"])
        for row in database.passing(questions, rows)
    ]


def current(
    connection: sa.Connection, collection_key: int, column: str, values: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    return select(connection, questions, collection_key, column, values, CURRENT)


def supersede(
    connection: sa.Connection, row: Mapping[Any, Any], revision: int, *, erase: bool = False
) -> None:
    """Mark a version as replaced by a revision, if it was not before. Of a damaged one nothing else is kept."""
    version = row if is_sound(row) else new_row(row["collection_key"], row["revision"], "", "")
    text = "" if erase else version["text"]
    changed = {**version, "text": text, "superseded_by": version["superseded_by"] or revision}
    rewrite(connection, questions, changed)


def new_row(collection_key: int, revision: int, id_: str, text: str) -> dict[str, Any]:
    row = {
        "collection_key": collection_key,
        "revision": revision,
        "id": id_,
        "text": text,
        "digest": digest(text),
    }
    return sealed({**row, "superseded_by": None, "quarantined": None})
