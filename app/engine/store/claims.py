"""Claims of the review queue: who looks at which pair, and until when. Nobody else is offered it meanwhile.

They stand in the store, so that they hold at every replica. A claim knows its pair by the digest, and none of its
words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time

import sqlalchemy as sa

from app.engine.store.collections import Collections
from app.engine.store.database import Database
from app.engine.store.mapper import Mapper, Row
from app.engine.store.schema import metadata

LONGEST_SECONDS = 120  # of a claim: one that ends later was made before the clock was set back

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("pair", sa.LargeBinary, primary_key=True),
    sa.Column("claimed_by", sa.Text),
    sa.Column("place", sa.Float),
    sa.Column("until", sa.Float),
    sa.Column("checksum", sa.BigInteger),
)


@dataclass(frozen=True)
class Claim:
    """Who looks at a pair, until when in seconds since 1970, and its place among those of a person: the least first."""

    pair: bytes
    by: str
    place: float
    until: float


class Claims:
    """The claims of every collection."""

    def __init__(
        self, database: Database, collections: Collections, clock: Callable[[], float] = time
    ) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, claims, _as_claim)
        self.clock = clock

    def held(self, collection_key: int) -> list[Claim]:
        """The claims in a collection that are not over, each person's in their order."""
        with self._database.reading() as connection:
            return self._held(connection, collection_key)

    def take(
        self,
        collection_key: int,
        pairs: Sequence[bytes],
        by: str,
        seconds: float,
        *,
        first: bool = False,
    ) -> list[Claim]:
        """Claim pairs for a person, or claim them for longer; the claims on those that nobody else holds.

        `seconds` are at most LONGEST_SECONDS. `first`: they come before all others that the person holds.
        """
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                return []
            held = {claim.pair: claim for claim in self._held(connection, collection_key)}
            own = [claim.place for claim in held.values() if claim.by == by]
            now = self.clock()
            within = claims.c.collection_key == collection_key
            connection.execute(sa.delete(claims).where(within, ~_is_held(now)))
            taken = []
            for number, pair in enumerate(pairs):
                before = held.get(pair)
                if before and before.by != by:
                    continue
                place = before.place if before else max(own, default=0.0) + 1 + number
                if first:
                    place = min(own, default=0.0) - 1
                row = {"collection_key": collection_key, "pair": pair, "claimed_by": by}
                row |= {"place": place, "until": now + seconds}
                self._mapper.delete(connection, row)
                self._mapper.insert(connection, row)
                taken.append(_as_claim(row))
        return taken

    def give_back(self, collection_key: int, pairs: Sequence[bytes]) -> None:
        """Let nobody hold these pairs any more."""
        within = claims.c.collection_key == collection_key
        with self._database.writing() as connection:
            self._collections.lock(connection, collection_key)
            connection.execute(sa.delete(claims).where(within, claims.c.pair.in_(pairs)))

    def _held(self, connection: sa.Connection, collection_key: int) -> list[Claim]:
        within = claims.c.collection_key == collection_key
        query = sa.select(claims).where(within, _is_held(self.clock()))
        return self._mapper.every(connection, query.order_by(claims.c.place))


def _is_held(now: float) -> sa.ColumnElement[bool]:
    """Whether a claim holds at this time."""
    return (claims.c.until > now) & (claims.c.until <= now + LONGEST_SECONDS)


def _as_claim(row: Row) -> Claim:
    return Claim(row["pair"], row["claimed_by"], row["place"], row["until"])
