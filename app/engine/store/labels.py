"""Labels: what one person says of one pair.

A label knows the pair by its normalised texts and takes no revision: no index has to learn of it. It ends when it is
undone or replaced, and stays for the record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa

from app.engine.store.collections import Collection, find_collection
from app.engine.store.database import (
    Database,
    is_row,
    is_sound,
    metadata,
    now,
    rewrite,
    sealed,
    select,
)
from app.engine.store.questions import current, sound
from app.engine.text import DIGEST_BYTES, digest, pair_digest
from app.errors import FieldError, InvalidRequest, LabelNotFound, LabelReplaced, QuestionNotFound

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

ACTIVE = labels.c.ended_at.is_(None)


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


class Labels:
    """The labels of every collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, collection_name: str, said: Sequence[NewLabel]) -> Labelled:
        """Write labels, all or none; what a person says of a pair replaces what the same person said before.

        Saying the same again changes nothing, nor does leaving out a note. Raises CollectionNotFound,
        QuestionNotFound (every unknown id), InvalidRequest (a pair of one question, a pair labelled both ways).
        """
        with self._database.writing() as connection:
            collection = find_collection(connection, collection_name)
            texts = self._texts_of(connection, collection, said)
            pairs = _distinct_pairs(texts, said)
            return self._write(connection, collection.key, said, texts, pairs)

    def undo(self, collection_name: str, label_id: int, by: str) -> Label:
        """End a label; it stays for the record, and one that was undone before stays as it is.

        Raises CollectionNotFound, LabelNotFound, LabelReplaced.
        """
        with self._database.writing() as connection:
            key = find_collection(connection, collection_name).key
            row = next(
                iter(
                    self._database.passing(
                        labels, select(connection, labels, key, "id", [label_id], sa.true())
                    )
                ),
                None,
            )
            if row is None:
                raise LabelNotFound(collection_name, label_id)
            if row["replaced_by"] is not None:
                raise LabelReplaced(label_id, row["replaced_by"])
            if row["ended_at"] is not None:
                return _as_label(row)
            ended = _ended(row, by)
            rewrite(connection, labels, ended)
            standing = self._standing(connection, key, [row["pair"]]).values()
            _note_contradictions(connection, standing, _weighed(standing))
            return _as_label(ended)

    def page(
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
        conditions = [
            labels.c[name] == value for name, value in wanted.items() if value is not None
        ]
        with self._database.reading() as connection:
            key = find_collection(connection, collection_name).key
            query = sa.select(labels).where(
                labels.c.collection_key == key, labels.c.id > after, *conditions
            )
            query = (query if history else query.where(ACTIVE)).order_by(labels.c.id)
            with connection.execute(query, execution_options={"yield_per": limit}) as rows:
                return [
                    _as_label(row)
                    for row in islice(self._database.passing(labels, rows.mappings()), limit)
                ]

    def on(self, collection_key: int, texts: Sequence[str]) -> dict[str, list[Label]]:
        """For each text, the active labels of the pairs that it is one of; none: absent."""
        digests = {text: digest(text) for text in texts}
        found: dict[bytes, list[Label]] = {}
        with self._database.reading() as connection:
            for column in ("digest1", "digest2"):
                chosen = select(
                    connection, labels, collection_key, column, list(set(digests.values())), ACTIVE
                )
                for row in self._database.passing(labels, chosen):
                    found.setdefault(row[column], []).append(_as_label(row))
        return {text: found[key] for text, key in digests.items() if key in found}

    def of(
        self, collection_key: int, pairs: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[Label]]:
        """For each pair, its active labels; none: absent. The order of its questions makes no difference."""
        digests = {pair: pair_digest(*pair) for pair in pairs}
        found: dict[bytes, list[Label]] = {}
        with self._database.reading() as connection:
            chosen = select(
                connection, labels, collection_key, "pair", list(set(digests.values())), ACTIVE
            )
            for row in self._database.passing(labels, chosen):
                found.setdefault(row["pair"], []).append(_as_label(row))
        return {pair: found[key] for pair, key in digests.items() if key in found}

    def agreed(self, collection_name: str) -> list[Label]:
        """What training may learn from: of each pair with active labels that agree, the latest."""
        with self._database.reading() as connection:
            key = find_collection(connection, collection_name).key
            agreed = sa.select(labels).where(
                labels.c.collection_key == key, ACTIVE, ~labels.c.contradicted
            )
            rows = self._database.passing(
                labels, connection.execute(agreed.order_by(labels.c.id)).mappings()
            )
            return list({row["pair"]: _as_label(row) for row in rows}.values())

    def contradicted(self) -> int:
        """How many active labels are contradicted by another, over all collections."""
        query = sa.select(sa.func.count()).select_from(labels).where(labels.c.contradicted)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def _texts_of(
        self, connection: sa.Connection, collection: Collection, said: Sequence[NewLabel]
    ) -> list[tuple[str, str]]:
        """The two texts of each pair. Raises QuestionNotFound."""
        ids = list(dict.fromkeys(id_ for new in said for id_ in new.ids or ()))
        stored = {
            q.id: q.text
            for q in sound(self._database, current(connection, collection.key, "id", ids))
        }
        if missing := [id_ for id_ in ids if id_ not in stored]:
            raise QuestionNotFound(collection.name, *missing)
        named = [new.questions or [stored[id_] for id_ in new.ids or ()] for new in said]
        return [(one, other) for one, other in named]

    def _write(
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
            rewrite(connection, labels, row)
        if added:
            connection.execute(sa.insert(labels), [sealed(weighed[row["id"]]) for row in added])
        _note_contradictions(connection, before.values(), weighed)
        given = [
            weighed[standing[pair, new.by]["id"]] for new, pair in zip(said, pairs, strict=True)
        ]
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
        rows = list(select(connection, labels, collection_key, "pair", pairs, ACTIVE))
        sound = {(row["pair"], row["said_by"]): row for row in self._database.passing(labels, rows)}
        for row in rows:
            if not is_sound(row):
                connection.execute(sa.delete(labels).where(is_row(labels, row)))
        return dict(sound)


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
            errors.append(
                FieldError(f"labels.{i}", f"says otherwise than labels.{before} of the same pair")
            )
    if errors:
        raise InvalidRequest(*errors)
    return pairs


def _label_row(
    collection_key: int, id_: int, pair: bytes, texts: tuple[str, str], new: NewLabel
) -> dict[str, Any]:
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
        "said_at": now(),
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
    return {
        **row,
        "ended_by": by,
        "ended_at": now(),
        "replaced_by": replaced_by,
        "contradicted": False,
    }


def _weighed(rows: Iterable[Mapping[Any, Any]]) -> dict[int, dict[str, Any]]:
    """By id, all active labels of some pairs, each saying whether another contradicts it."""
    rows = list(rows)
    said: dict[bytes, set[bool]] = {}
    for row in rows:
        said.setdefault(row["pair"], set()).add(row["is_duplicate"])
    return {row["id"]: {**row, "contradicted": len(said[row["pair"]]) > 1} for row in rows}


def _note_contradictions(
    connection: sa.Connection,
    rows: Iterable[Mapping[Any, Any]],
    weighed: Mapping[int, Mapping[Any, Any]],
) -> None:
    """Store of these rows those that weigh otherwise now."""
    for row in rows:
        if (now := weighed.get(row["id"])) and now["contradicted"] != row["contradicted"]:
            rewrite(connection, labels, now)


def _as_label(row: Mapping[Any, Any]) -> Label:
    return Label(
        id=row["id"],
        questions=(row["question1"], row["question2"]),
        is_duplicate=row["is_duplicate"],
        by=row["said_by"],
        at=row["said_at"],
        note=row["note"],
        contradicted=row["contradicted"],
        ended=Ending(row["ended_by"], row["ended_at"], row["replaced_by"])
        if row["ended_at"]
        else None,
        pair=row["pair"],
    )
