"""The rows of questions: a row is one version of a question, named by the revision that wrote it."""

from typing import Any

import sqlalchemy as sa

from app.engine.store.mapper import Row
from app.engine.store.question_records import Question
from app.engine.store.schema import metadata
from app.engine.text import Words

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
    sa.Column("loose", sa.LargeBinary),
)

CURRENT = questions.c.superseded_by.is_(None)
NOT_DELETED = questions.c.text != ""
ANY_VERSION = sa.true()


def of_collection(collection_key: int) -> sa.ColumnElement[bool]:
    """That a row is the collection's."""
    return questions.c.collection_key == collection_key


def version_row(collection_key: int, revision: int, id_: str, words: Words) -> dict[str, Any]:
    """The row of a version that is current, save for its checksum."""
    return {
        "collection_key": collection_key,
        "revision": revision,
        "id": id_,
        "text": words.text,
        "digest": words.digest,
        "loose": words.loose,
        "superseded_by": None,
        "quarantined": None,
    }


def as_question(row: Row) -> Question:
    """The record of a row."""
    return Question(
        id=row["id"],
        text=row["text"],
        revision=row["revision"],
        quarantined=row["quarantined"],
        digest=row["digest"],
        loose=row["loose"],
    )
