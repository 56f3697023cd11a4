"""The review queue of one collection: pairs are drawn by lot and claimed, so that nobody else gets the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from app.engine.drawing import STRATA, Draw, Plan, draw
from app.engine.store import Claim, NewOffer, Offer
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
    """A pair that somebody looks at, its offer and the claim on it."""

    near: NearPair
    offer: Offer
    claim: Claim

    @property
    def claimed_until(self) -> str:
        """When the claim ends, in UTC."""
        return datetime.fromtimestamp(self.claim.until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class DrawnPair:
    """A pair that was drawn, and how."""

    near: NearPair
    new: NewOffer


class Queue:
    """Draws pairs of a pool, and knows who looks at which, as the store had it last. Of one event loop."""

    def __init__(
        self, pool: Pool, is_answered: Callable[[bytes], bool], clock: Callable[[], float]
    ) -> None:
        """`clock` is the one that claims go by, in seconds since 1970."""
        self._pool = pool
        self._is_answered = is_answered
        self._clock = clock
        self._claims: dict[bytes, Claim] = {}
        self._lots = lots()

    def use(self, pool: Pool) -> None:
        """Draw from another pool from now on."""
        self._pool = pool

    def see(self, claims: Sequence[Claim]) -> None:
        """Know all claims in the collection, of whichever replica."""
        self._claims = {claim.pair: claim for claim in claims}

    def note(self, claims: Sequence[Claim]) -> None:
        """Know of more claims."""
        self._claims |= {claim.pair: claim for claim in claims}

    def held_by(self, by: str) -> list[NearPair]:
        """What a person looks at, of what is known here."""
        pairs = []
        for claim in self._held():
            near = self._pool.get(claim.pair)
            if near and claim.by == by and not self._is_answered(claim.pair):
                pairs.append(near)
        return pairs

    def waiting(self) -> list[NearPair]:
        """The pairs that may be drawn."""
        held = {claim.pair for claim in self._held()}
        return [
            pair
            for pair in self._pool.pairs
            if pair.digest not in held and not self._is_answered(pair.digest)
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
        for claim in self._held():
            near = self._pool.get(claim.pair)
            if near and not self._is_answered(claim.pair):
                texts.update(near.texts)
        return texts

    def _held(self) -> list[Claim]:
        """The claims that are not over."""
        now = self._clock()
        return [claim for claim in self._claims.values() if claim.until > now]


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
