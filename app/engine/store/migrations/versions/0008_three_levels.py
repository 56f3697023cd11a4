"""The same words are the same visible words, and a label is found by loosely the same texts.

All digests are made anew of the texts that are kept. A row that is damaged stays so, and is passed over as before. What
one person said twice of pairs that are one pair now is the later of the two: it replaces the earlier.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from app.engine.store.mapper import is_sound, sealed
from app.engine.text import Words, loose_pair_digest, pair_digest

revision = "0008"
down_revision = "0007"

ROWS = 1000  # that are held at a time
ADDED = ("loose", "loose_pair")
UNKNOWN = b""  # of a text that is gone

Row = Mapping[Any, Any]


def upgrade() -> None:
    """Add the columns, fill them, and make the indexes on them."""
    empty = sa.text("''" if op.get_context().dialect.name == "postgresql" else "x''")
    for table, column in zip(("questions", "labels"), ADDED, strict=True):
        added = sa.Column(column, sa.LargeBinary, nullable=False, server_default=empty)
        op.add_column(table, added)
    connection = op.get_bind()
    questions = sa.Table("questions", sa.MetaData(), autoload_with=connection)
    labels = sa.Table("labels", sa.MetaData(), autoload_with=connection)
    op.drop_index("ix_labels_pair", "labels")
    _renew(connection, questions, _with_question_digests)
    _renew(connection, labels, _with_label_digests)
    _settle(connection, labels)
    _make_indexes()


def _renew(connection: sa.Connection, table: sa.Table, renewed: Callable[[Row], Row]) -> None:
    """Write every sound row as `renewed` makes it."""
    for rows in _pages(connection, table):
        sound = [row for row in map(_before, rows) if is_sound(row)]
        _rewrite(connection, table, [renewed(row) for row in sound])


def _pages(connection: sa.Connection, table: sa.Table) -> Iterator[Sequence[Row]]:
    """All rows in the order of their keys, some at a time."""
    key = list(table.primary_key)
    query = sa.select(table).order_by(*key).limit(ROWS)
    rows = connection.execute(query).mappings().all()
    while rows:
        yield rows
        last = [rows[-1][column.name] for column in key]
        beyond = sa.tuple_(*key) > sa.tuple_(*map(sa.literal, last))
        rows = connection.execute(query.where(beyond)).mappings().all()


def _before(row: Row) -> dict[Any, Any]:
    """A row without the columns that were added: its checksum knows nothing of them."""
    return {name: value for name, value in row.items() if name not in ADDED}


def _rewrite(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Store changed rows, their checksums made anew."""
    if not rows:
        return
    names = [column.name for column in table.primary_key]
    same = [table.c[name] == sa.bindparam(f"the_{name}") for name in names]
    parameters = []
    for row in rows:
        values = {name: value for name, value in sealed(row).items() if name not in names}
        parameters.append(values | {f"the_{name}": row[name] for name in names})
    connection.execute(sa.update(table).where(*same), parameters)


def _with_question_digests(row: Row) -> Row:
    """The digest of a text that was deleted stays: indexes are compared by it."""
    if not row["text"]:
        return {**row, "loose": UNKNOWN}
    words = Words.of(row["text"])
    return {**row, "digest": words.digest, "loose": words.loose}


def _with_label_digests(row: Row) -> Row:
    one = Words.of(row["question1"])
    other = Words.of(row["question2"])
    return {
        **row,
        "pair": pair_digest(one, other),
        "loose_pair": loose_pair_digest(one, other),
        "digest1": one.loose,
        "digest2": other.loose,
    }


def _settle(connection: sa.Connection, labels: sa.Table) -> None:
    """Of each pair: end what the same person said otherwise later, and note which labels contradict each other."""
    query = sa.select(labels).where(labels.c.ended_at.is_(None))
    ordered = query.order_by(labels.c.collection_key, labels.c.pair, labels.c.id)
    active = connection.execute(ordered).mappings().all()
    changed: list[Row] = []
    for _, of_pair in groupby(active, lambda row: (row["collection_key"], row["pair"])):
        rows = list(of_pair)
        sound = [row for row in rows if is_sound(row)]
        if len(rows) > 1:  # a damaged one could stand in the way of another
            _delete(connection, labels, [row for row in rows if not is_sound(row)])
        changed += _settled(sound)
    _rewrite(connection, labels, changed)


def _settled(rows: Sequence[Row]) -> Iterator[Row]:
    """Those of a pair's active labels that change, in the order they were given."""
    standing = {row["said_by"]: row for row in rows}
    contradicted = len({row["is_duplicate"] for row in standing.values()}) > 1
    for row in rows:
        later = standing[row["said_by"]]
        if later is not row:
            ended = {"ended_by": row["said_by"], "ended_at": later["said_at"]}
            yield {**row, **ended, "replaced_by": later["id"], "contradicted": False}
        elif row["contradicted"] != contradicted:
            yield {**row, "contradicted": contradicted}


def _delete(connection: sa.Connection, labels: sa.Table, rows: Sequence[Row]) -> None:
    for row in rows:
        key = [column == row[column.name] for column in labels.primary_key]
        connection.execute(sa.delete(labels).where(*key))


def _make_indexes() -> None:
    active = sa.text("ended_at IS NULL")
    current = sa.text("superseded_by IS NULL")
    op.create_index(
        "ix_labels_pair",
        "labels",
        ["collection_key", "pair", "said_by"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index(
        "ix_labels_loose_pair",
        "labels",
        ["collection_key", "loose_pair"],
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_index(
        "ix_questions_loose",
        "questions",
        ["collection_key", "loose"],
        sqlite_where=current,
        postgresql_where=current,
    )
