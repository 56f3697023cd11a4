"""Labels: what one person says of one pair.

A label knows the pair by its visible words and takes no revision: no index has to learn of it. It is found by all texts
that are loosely the same; `rulings` says for which of them it holds. It ends when it is undone or replaced, and stays
for the record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa

from app.engine.store.collections import Collection, Collections
from app.engine.store.database import TIME, Database, now
from app.engine.store.label_records import Ending, Given, Label, Labelled, NewLabel
from app.engine.store.mapper import Mapper, Row, is_sound
from app.engine.store.questions import Questions
from app.engine.store.schema import metadata
from app.engine.text import (
    TextPair,
    Worded,
    WordedPair,
    Words,
    loose_pair_digest,
    pair_digest,
)
from app.errors import (
    FieldError,
    InvalidRequest,
    LabelNotFound,
    LabelReplaced,
    QuestionNotFound,
    SpeaksForItself,
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
    sa.Column("loose_pair", sa.LargeBinary),
)

ACTIVE = labels.c.ended_at.is_(None)
ANY_LABEL = sa.true()

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class _Given:
    """A label that somebody gives, the two texts of its pair, and the digest by which the pair is known."""

    new: NewLabel
    words: WordedPair
    pair: bytes


class Labels:
    """The labels of every collection."""

    def __init__(self, database: Database, collections: Collections, questions: Questions) -> None:
        self._database = database
        self._collections = collections
        self._questions = questions
        self._mapper = Mapper(database, labels, _as_label)

    # Writing

    def write(self, collection_name: str, new: Sequence[NewLabel]) -> Labelled:
        """Write labels, all or none; what a person says of a pair replaces what the same person said before.

        Saying the same again changes nothing, nor does leaving out a note. Raises CollectionNotFound,
        QuestionNotFound (every unknown id), InvalidRequest (a text with itself, a pair labelled both ways).
        """
        words: dict[str, Words] = {}
        for label in new:
            for text in label.questions or ():
                words[text] = words.get(text) or Words.of(text)  # before others wait for this write
        with self._database.writing() as connection:
            collection = self._collections.locked(connection, collection_name)
            given = self._given(connection, collection, new, words)
            _refuse_inconsistent(given)
            return self._write(connection, collection.key, given)

    def undo(
        self, collection_name: str, label_id: int, by: str, *, own_only: bool = False
    ) -> Label:
        """End a label; it stays for the record, and one that was undone before stays as it is.

        `own_only`: who undoes it must have given it. Raises CollectionNotFound, LabelNotFound, LabelReplaced,
        SpeaksForItself.
        """
        with self._database.writing() as connection:
            key = self._collections.locked(connection, collection_name).key
            rows = self._mapper.any_of(connection, key, "id", [label_id], ANY_LABEL)
            row = next(self._mapper.sound(list(rows)), None)
            if row is None:
                raise LabelNotFound(collection_name, label_id)
            if own_only and row["said_by"] != by:
                raise SpeaksForItself(by)
            if row["replaced_by"] is not None:
                raise LabelReplaced(label_id, row["replaced_by"])
            if row["ended_at"] is not None:
                return self._mapper.record(row)
            ended = _ended(row, by)
            self._mapper.rewrite(connection, ended)
            standing = self._standing(connection, key, [row["pair"]]).values()
            self._note_contradictions(connection, standing, _weighed(standing))
            return self._mapper.record(ended)

    # Reading

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
        max_bytes: int | None = None,
    ) -> list[Label]:
        """Labels in the order in which they were given, past the id `after`: active ones, or (`history`) all.

        Of labels with long texts fewer (`until_full`).
        """
        query = sa.select(labels).where(labels.c.id > after).order_by(labels.c.id)
        wanted = {"is_duplicate": is_duplicate, "said_by": by, "contradicted": contradicted}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(labels.c[name] == value)
        if not history:
            query = query.where(ACTIVE)
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            within = query.where(labels.c.collection_key == key)
            return self._mapper.page(connection, within, limit, max_bytes)

    def on(self, collection_key: int, texts: Sequence[Worded]) -> dict[str, list[Label]]:
        """For each text, the active labels of pairs of which one is loosely the same; none: absent."""
        digests = {words.text: words.loose for words in texts}
        by_digest = self._active(collection_key, ("digest1", "digest2"), digests.values())
        return _found(digests, by_digest)

    def of(self, collection_key: int, pairs: Sequence[WordedPair]) -> dict[TextPair, list[Label]]:
        """For each pair of texts, the active labels of pairs that are loosely the same; none: absent.

        The order of a pair's texts makes no difference.
        """
        digests = {}
        for one, other in pairs:
            digests[one.text, other.text] = loose_pair_digest(one, other)
        by_digest = self._active(collection_key, ("loose_pair",), digests.values())
        return _found(digests, by_digest)

    def labelled(self, collection_key: int, pairs: Sequence[TextPair]) -> set[TextPair]:
        """The pairs of texts of which somebody has said something, or of loosely the same texts."""
        worded = [(Words.of(one), Words.of(other)) for one, other in pairs]
        return set(self.of(collection_key, worded))

    def agreed(self, collection_name: str) -> list[Label]:
        """The labels that training may learn from: of each pair whose active labels agree, the latest."""
        is_agreed = ACTIVE & ~labels.c.contradicted
        query = sa.select(labels).where(is_agreed).order_by(labels.c.id)
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            agreed = self._mapper.every(connection, query.where(labels.c.collection_key == key))
        return list({label.pair: label for label in agreed}.values())

    def contradicted(self) -> int:
        """How many active labels are contradicted by another, over all collections."""
        return self._mapper.count(labels.c.contradicted)

    def given_lately(self) -> int:
        """How many labels were given in the last 24 hours, over all collections."""
        since = (datetime.now(UTC) - timedelta(days=1)).strftime(TIME)
        return self._mapper.count(labels.c.said_at >= since)

    # Inside

    def _active(
        self, collection_key: int, columns: Sequence[str], digests: Iterable[bytes]
    ) -> dict[bytes, list[Label]]:
        """By digest, the active labels that have it in one of the columns, each once, in the order they were given."""
        distinct = list(set(digests))
        active: dict[bytes, dict[int, Label]] = {}
        with self._database.reading() as connection:
            for column in columns:
                rows = self._mapper.any_of(connection, collection_key, column, distinct, ACTIVE)
                for row in self._mapper.sound(rows):
                    active.setdefault(row[column], {})[row["id"]] = _as_label(row)
        in_order = {}
        for digest, by_id in active.items():
            in_order[digest] = [by_id[id_] for id_ in sorted(by_id)]
        return in_order

    def _given(
        self,
        connection: sa.Connection,
        collection: Collection,
        new: Sequence[NewLabel],
        words: Mapping[str, Words],
    ) -> list[_Given]:
        """The labels with their texts, which are given or those of their ids. Raises QuestionNotFound."""
        ids = list(dict.fromkeys(id_ for label in new for id_ in label.ids or ()))
        named = self._questions.current(connection, collection.key, "id", ids)
        stored = {question.id: question for question in named}
        missing = [id_ for id_ in ids if id_ not in stored]
        if missing:
            raise QuestionNotFound(collection.name, *missing)
        given = []
        for label in new:
            texts: list[Worded]
            if label.questions:
                texts = [words[text] for text in label.questions]
            else:
                texts = [stored[id_] for id_ in label.ids or ()]
            one, other = texts
            pair = pair_digest(one, other)
            given.append(_Given(label, (one, other), pair))
        return given

    def _write(
        self, connection: sa.Connection, collection_key: int, given: Sequence[_Given]
    ) -> Labelled:
        pairs = list(dict.fromkeys(label.pair for label in given))
        before = self._standing(connection, collection_key, pairs)
        standing = dict(before)
        added: list[Row] = []
        ended: list[Row] = []
        next_id = self._mapper.last_id(connection, collection_key) + 1
        for label in given:
            place = label.pair, label.new.by
            old = standing.get(place)
            if old and _repeats(old, label.new):
                continue
            row: Row = _label_row(collection_key, next_id + len(added), label)
            if old:
                ended.append(_ended(old, label.new.by, replaced_by=row["id"]))
            added.append(row)
            standing[place] = row
        weighed = _weighed(standing.values())
        for row in ended:
            self._mapper.rewrite(connection, row)
        self._mapper.insert(connection, *(weighed[row["id"]] for row in added))
        self._note_contradictions(connection, before.values(), weighed)
        answers = []
        for label in given:
            standing_for = weighed[standing[label.pair, label.new.by]["id"]]
            answers.append(Given(standing_for["id"], standing_for["contradicted"]))
        return Labelled(
            added=len(added) - len(ended),
            replaced=len(ended),
            unchanged=len(given) - len(added),
            labels=answers,
        )

    def _standing(
        self, connection: sa.Connection, collection_key: int, pairs: Sequence[bytes]
    ) -> dict[tuple[bytes, str], Row]:
        """The active labels of these pairs, by pair and person. A damaged one is cleared out of the way."""
        rows = list(self._mapper.any_of(connection, collection_key, "pair", pairs, ACTIVE))
        standing = {}
        for row in rows:
            if is_sound(row):
                standing[row["pair"], row["said_by"]] = row
            else:
                self._mapper.report(row)
                self._mapper.delete(connection, row)
        return standing

    def _note_contradictions(
        self, connection: sa.Connection, rows: Iterable[Row], weighed: Mapping[int, Row]
    ) -> None:
        """Store those of the rows that are contradicted now and were not, or the other way round."""
        for row in rows:
            current = weighed.get(row["id"])
            if current and current["contradicted"] != row["contradicted"]:
                self._mapper.rewrite(connection, current)


def _found(
    digests: Mapping[Asked, bytes], labels: Mapping[bytes, list[Label]]
) -> dict[Asked, list[Label]]:
    """For each text or pair, the labels by its digest; none: absent."""
    return {asked: labels[digest] for asked, digest in digests.items() if digest in labels}


def _refuse_inconsistent(given: Sequence[_Given]) -> None:
    """Raise InvalidRequest for a text with itself, and for a pair that is labelled both ways."""
    first: dict[tuple[bytes, str], int] = {}
    errors = []
    for i, label in enumerate(given):
        before = first.setdefault((label.pair, label.new.by), i)
        earlier = given[before].new
        one, other = label.words
        if one.text == other.text:
            errors.append(FieldError(f"labels.{i}", "is a pair of a text with itself"))
        elif label.new.is_duplicate != earlier.is_duplicate or label.new.note != earlier.note:
            why = f"says otherwise than labels.{before} of the same pair"
            errors.append(FieldError(f"labels.{i}", why))
    if errors:
        raise InvalidRequest(*errors)


def _label_row(collection_key: int, id_: int, label: _Given) -> dict[str, Any]:
    """The row of a label, save for its checksum."""
    one, other = label.words
    return {
        "collection_key": collection_key,
        "id": id_,
        "pair": label.pair,
        "loose_pair": loose_pair_digest(one, other),
        "digest1": one.loose,
        "digest2": other.loose,
        "question1": one.text,
        "question2": other.text,
        "is_duplicate": label.new.is_duplicate,
        "said_by": label.new.by,
        "said_at": now(),
        "note": label.new.note,
        "ended_by": None,
        "ended_at": None,
        "replaced_by": None,
        "contradicted": False,
    }


def _repeats(row: Row, new: NewLabel) -> bool:
    """Whether a person says again what the row says."""
    if row["is_duplicate"] != new.is_duplicate:
        return False
    return new.note is None or new.note == row["note"]


def _ended(row: Row, by: str, replaced_by: int | None = None) -> dict[str, Any]:
    return {
        **row,
        "ended_by": by,
        "ended_at": now(),
        "replaced_by": replaced_by,
        "contradicted": False,
    }


def _weighed(rows: Iterable[Row]) -> dict[int, Row]:
    """By id, all active labels of some pairs, each saying whether another contradicts it."""
    rows = list(rows)
    answers: dict[bytes, set[bool]] = {}
    for row in rows:
        answers.setdefault(row["pair"], set()).add(row["is_duplicate"])
    weighed: dict[int, Row] = {}
    for row in rows:
        contradicted = len(answers[row["pair"]]) > 1
        weighed[row["id"]] = {**row, "contradicted": contradicted}
    return weighed


def _as_label(row: Row) -> Label:
    ended = None
    if row["ended_at"]:
        ended = Ending(row["ended_by"], row["ended_at"], row["replaced_by"])
    return Label(
        id=row["id"],
        questions=(row["question1"], row["question2"]),
        is_duplicate=row["is_duplicate"],
        by=row["said_by"],
        at=row["said_at"],
        note=row["note"],
        contradicted=row["contradicted"],
        ended=ended,
        pair=row["pair"],
        loose=(row["digest1"], row["digest2"]),
    )
