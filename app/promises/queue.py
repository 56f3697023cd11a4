"""The review queue of one collection: pairs are drawn by lot and claimed, so that nobody else gets the same."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from app.engine.drawing import STRATA, Draw, Plan, draw
from app.engine.store import NewOffer, Offer
from app.promises.pool import NearPair, Pool, strata

CLAIM_SECONDS = 60
TRIES = 8  # to draw a pair none of whose questions is being looked at
HARDLY_ANY = 10  # pairs that may support a promise, from which on the pool grows
GOOD = 4  # the lowest stratum of those: from 0.75 up


def lots() -> np.random.Generator:
    """What pairs are drawn by: chance, that nobody can foresee."""
    return np.random.default_rng()


@dataclass(frozen=True)
class OfferedPair:
    """A pair that somebody looks at, until when, and its offer."""

    near: NearPair
    offer: Offer
    by: str
    until: float  # by the clock of the queue, in seconds

    def claimed_until(self, now: float) -> str:
        """When the claim ends, in UTC."""
        end = datetime.now(UTC) + timedelta(seconds=self.until - now)
        return end.strftime("%Y-%m-%dT%H:%M:%SZ")


Claims = dict[bytes, OfferedPair]  # by the pair's digest


@dataclass(frozen=True)
class DrawnPair:
    """A pair that was drawn, and how."""

    near: NearPair
    new: NewOffer


class Queue:
    """Draws pairs of a pool, and knows who looks at which. Of one event loop."""

    def __init__(
        self,
        pool: Pool,
        is_answered: Callable[[bytes], bool],
        claims: Claims,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`claims` outlive the queue: they are the collection's, whatever release is live."""
        self._pool = pool
        self._is_answered = is_answered
        self._claims = claims
        self.clock = clock
        self._lots = lots()

    def use(self, pool: Pool) -> None:
        """Draw from another pool from now on."""
        self._pool = pool

    def held_by(self, by: str) -> list[OfferedPair]:
        """What a person looks at."""
        self._let_go()
        return [claim for claim in self._claims.values() if claim.by == by]

    def claim(self, near: NearPair, offer: Offer, by: str) -> OfferedPair:
        """Let a person look at a pair from now on."""
        offered = OfferedPair(near, offer, by, self.clock() + CLAIM_SECONDS)
        self._claims[near.digest] = offered
        return offered

    def claim_first(self, near: NearPair, offer: Offer, by: str) -> OfferedPair:
        """Let a person look at a pair from now on, before any other that they hold."""
        others = {pair: claim for pair, claim in self._claims.items() if pair != near.digest}
        self._claims.clear()
        offered = self.claim(near, offer, by)
        self._claims.update(others)
        return offered

    def give_back(self, pairs: Iterable[bytes]) -> None:
        """Let nobody look at these pairs any more."""
        for pair in pairs:
            self._claims.pop(pair, None)

    def waiting(self) -> list[NearPair]:
        """The pairs that may be drawn."""
        self._let_go()
        pairs = self._pool.pairs
        return [
            pair
            for pair in pairs
            if pair.digest not in self._claims and not self._is_answered(pair.digest)
        ]

    def is_short(self, waiting: Sequence[NearPair]) -> bool:
        """Whether hardly a pair is left where a promise is sought."""
        return int(np.count_nonzero(strata(waiting) >= GOOD)) < HARDLY_ANY

    def draw(self, plan: Plan, waiting: Sequence[NearPair], release: str) -> DrawnPair | None:
        """A pair of those that wait; None where none does.

        One of whose questions is being looked at is put back: it comes later, as likely as any.
        """
        of_pairs = strata(waiting)
        left = np.bincount(of_pairs, minlength=STRATA)
        sizes = np.bincount(strata(self._pool.pairs), minlength=STRATA)
        looked_at = self._looked_at()
        drawn: DrawnPair | None = None
        for _ in range(TRIES):
            where = draw(plan, left, self._lots)
            if where is None:
                return None
            places = np.flatnonzero(of_pairs == where.stratum)
            near = waiting[int(self._lots.choice(places))]
            drawn = _drawn(near, where, len(places), int(sizes[where.stratum]), release)
            if looked_at.isdisjoint(near.texts):
                return drawn
        return drawn

    def _looked_at(self) -> set[str]:
        texts: set[str] = set()
        for claim in self._claims.values():
            texts.update(claim.near.texts)
        return texts

    def _let_go(self) -> None:
        """End the claims whose time is over."""
        now = self.clock()
        over = [pair for pair, claim in self._claims.items() if claim.until <= now]
        self.give_back(over)


def _drawn(near: NearPair, where: Draw, left: int, size: int, release: str) -> DrawnPair:
    """The stratum's name holds the release's digest: another release parts pairs in another way."""
    new = NewOffer(
        pair=near.digest,
        stratum=f"{release[:16]}:{where.stratum}",
        size=size,
        offered_by=where.by,
        probability=where.probability / left,
    )
    return DrawnPair(near, new)
