"""Offers: which pairs the review queue drew by lot, with what chance, and which were skipped.

An offer knows its pair by the same digest as labels do, and holds none of its words. A pair has one offer at most:
drawn again, as nobody labelled or skipped it, it keeps its id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from app.engine.store.collections import Collection, Collections
from app.engine.store.database import Database, now
from app.engine.store.labels import ACTIVE, ANY_LABEL, labels
from app.engine.store.mapper import Mapper, Row, fields
from app.engine.store.schema import metadata
from app.engine.text import TextPair
from app.errors import CollectionNotFound, OfferNotFound

offers = sa.Table(
    "offers",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("pair", sa.LargeBinary),
    sa.Column("stratum", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("offered_by", sa.Text),
    sa.Column("probability", sa.Float),
    sa.Column("offered_at", sa.Text),
    sa.Column("skipped_by", sa.Text),
    sa.Column("skipped_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
ANY_OFFER = sa.true()
IS_OFFERED = (labels.c.collection_key == offers.c.collection_key) & (labels.c.pair == offers.c.pair)
ON_OFFERED = sa.select(labels).join(offers, IS_OFFERED).where(ACTIVE)


@dataclass(frozen=True)
class NewOffer:
    """A pair that was drawn with this probability, from a stratum of so many pairs: chosen, or taken at random."""

    pair: bytes
    stratum: str
    size: int
    offered_by: str
    probability: float


@dataclass(frozen=True)
class Offer:
    """A pair that was offered for review."""

    id: int
    pair: bytes
    stratum: str
    size: int
    offered_by: str
    probability: float
    offered_at: str
    skipped_by: str | None
    skipped_at: str | None


@dataclass(frozen=True)
class Answered:
    """An offer, and what came of it: the latest label on its pair, if there is one.

    `is_duplicate` is None where it was skipped, or where people contradict each other. `at` is when it was answered.
    """

    offer: Offer
    is_duplicate: bool | None
    by: str
    at: str
    contradicted: bool


class Offers:
    """The offers of every collection."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, offers, _as_offer)
        self._labels = Mapper(database, labels, dict)

    def write(self, collection: Collection, new: Sequence[NewOffer]) -> list[Offer]:
        """Note that these pairs are offered; one offer for each, in their order.

        Raises CollectionNotFound when the collection is gone, though another may have its name now.
        """
        collection_key = collection.key
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                raise CollectionNotFound(collection.name)
            pairs = [offer.pair for offer in new]
            before = {row["pair"]: row for row in self._of(connection, collection_key, pairs)}
            next_id = self._mapper.last_id(connection, collection_key) + 1
            written = []
            for offer in new:
                known = before.get(offer.pair)
                row = _row(collection_key, known["id"] if known else next_id, offer)
                if known:
                    row |= {column: known[column] for column in ("skipped_by", "skipped_at")}
                    self._mapper.rewrite(connection, row)
                else:
                    self._mapper.insert(connection, row)
                    next_id += 1
                written.append(_as_offer(row))
        return written

    def skip(self, collection_name: str, offer_id: int, by: str) -> Offer:
        """Note that a person could not tell; who skipped it first stands. Raises CollectionNotFound, OfferNotFound."""
        with self._database.writing() as connection:
            row = self._locked(connection, collection_name, offer_id)
            if row["skipped_by"] is None:
                row = {**row, "skipped_by": by, "skipped_at": now()}
                self._mapper.rewrite(connection, row)
            return _as_offer(row)

    def unskip(self, collection_name: str, offer_id: int, by: str) -> Offer:
        """Take a person's own skip back; that of another stands. Raises CollectionNotFound, OfferNotFound."""
        with self._database.writing() as connection:
            row = self._locked(connection, collection_name, offer_id)
            if row["skipped_by"] == by:
                row = {**row, "skipped_by": None, "skipped_at": None}
                self._mapper.rewrite(connection, row)
            return _as_offer(row)

    def in_collection(self, collection_name: str, pairs: Sequence[bytes]) -> dict[bytes, Offer]:
        """By the pair's digest, the offers of these pairs; never offered: absent. Raises CollectionNotFound."""
        with self._database.reading() as connection:
            key = self._collections.find(connection, collection_name).key
            found = self._of(connection, key, list(set(pairs)))
            return {offer.pair: offer for offer in self._mapper.records(found)}

    def answered(
        self, collection_key: int, pairs: Sequence[bytes] | None = None
    ) -> dict[bytes, Answered]:
        """By the pair's digest, the offers that were labelled or skipped: all, or those of these pairs."""
        with self._database.reading() as connection:
            if pairs is None:
                within = offers.c.collection_key == collection_key
                rows = self._mapper.rows(connection, sa.select(offers).where(within))
            else:
                rows = self._of(connection, collection_key, list(set(pairs)))
            found = {offer.pair: offer for offer in self._mapper.records(rows)}
            said = self._said(connection, collection_key, pairs)
        answers = {}
        for pair, offer in found.items():
            answer = _answered(offer, said.get(pair))
            if answer:
                answers[pair] = answer
        return answers

    def unanswered(self, collection_key: int) -> list[bytes]:
        """The digests of pairs that were offered, and that nobody has labelled or skipped; the first offered first."""
        is_labelled = sa.exists().where(IS_OFFERED, ACTIVE)
        within = offers.c.collection_key == collection_key, offers.c.skipped_at.is_(None)
        query = sa.select(offers.c.pair).where(*within, ~is_labelled).order_by(offers.c.id)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def texts(self, collection_key: int, pairs: Sequence[bytes]) -> dict[bytes, TextPair]:
        """By the pair's digest, the texts of those that have an active label."""
        with self._database.reading() as connection:
            rows = self._labels.any_of(connection, collection_key, "pair", pairs, ACTIVE)
            sound = self._labels.sound(rows)
            return {row["pair"]: (row["question1"], row["question2"]) for row in sound}

    def labelled_pairs(self, collection_key: int) -> int:
        """How many pairs of a collection have an active label, damaged ones included."""
        count = sa.select(sa.func.count(sa.distinct(labels.c.pair)))
        within = count.where(labels.c.collection_key == collection_key, ACTIVE)
        with self._database.reading() as connection:
            return int(connection.execute(within).scalar_one())

    def news(self, collection_key: int) -> tuple[int, ...]:
        """Numbers that are others when a label of a collection was given or undone, or an offer made or skipped."""
        of_labels = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(labels.c.id), 0))
        of_offers = sa.select(sa.func.count(), sa.func.count(offers.c.skipped_at))
        within = of_labels.where(labels.c.collection_key == collection_key, ACTIVE)
        among = of_offers.where(offers.c.collection_key == collection_key)
        with self._database.reading() as connection:
            return (*connection.execute(within).one(), *connection.execute(among).one())

    def pairs_of_labels(self, collection_key: int, label_ids: Sequence[int]) -> list[bytes]:
        """The digests of the pairs that these labels are on."""
        with self._database.reading() as connection:
            rows = self._labels.any_of(connection, collection_key, "id", label_ids, ANY_LABEL)
            return [row["pair"] for row in self._labels.sound(rows)]

    def _locked(self, connection: sa.Connection, collection_name: str, offer_id: int) -> Row:
        """The row of an offer, in a collection that nobody else writes to meanwhile."""
        key = self._collections.locked(connection, collection_name).key
        found = self._mapper.any_of(connection, key, "id", [offer_id], ANY_OFFER)
        row = next(self._mapper.sound(list(found)), None)
        if row is None:
            raise OfferNotFound(collection_name, offer_id)
        return row

    def _of(
        self, connection: sa.Connection, collection_key: int, pairs: Sequence[bytes]
    ) -> list[Row]:
        return list(self._mapper.any_of(connection, collection_key, "pair", pairs, ANY_OFFER))

    def _said(
        self, connection: sa.Connection, collection_key: int, pairs: Sequence[bytes] | None
    ) -> dict[bytes, Row]:
        """By the pair's digest, the latest active label: of all pairs that were offered, or of these."""
        rows: Iterable[Row]
        if pairs is None:
            within = ON_OFFERED.where(labels.c.collection_key == collection_key)
            rows = self._labels.rows(connection, within)
        else:
            chosen = list(set(pairs))
            rows = self._labels.any_of(connection, collection_key, "pair", chosen, ACTIVE)
        latest: dict[bytes, Row] = {}
        for row in self._labels.sound(rows):
            before = latest.get(row["pair"])
            if before is None or before["id"] < row["id"]:
                latest[row["pair"]] = row
        return latest


def _answered(offer: Offer, label: Row | None) -> Answered | None:
    if label:
        is_duplicate = None if label["contradicted"] else label["is_duplicate"]
        return Answered(
            offer, is_duplicate, label["said_by"], label["said_at"], label["contradicted"]
        )
    if offer.skipped_by is not None:
        return Answered(offer, None, offer.skipped_by, offer.skipped_at or "", contradicted=False)
    return None


def _row(collection_key: int, id_: int, offer: NewOffer) -> dict[str, object]:
    """The row of an offer, save for its checksum."""
    return {
        "collection_key": collection_key,
        "id": id_,
        **asdict(offer),
        "offered_at": now(),
        "skipped_by": None,
        "skipped_at": None,
    }


def _as_offer(row: Row) -> Offer:
    values = fields(row)
    del values["collection_key"]
    return Offer(**values)
