"""What is kept of one collection by one release: near pairs, answers, the queue, and what is derived of them."""

import asyncio
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from app.engine.collection_thresholds import (
    LEAST_DUPLICATE,
    STARTS,
    TIGHTER,
    Evidence,
    Point,
    Promise,
    derive,
)
from app.engine.drawing import Plan, plan
from app.engine.live_release import LiveRelease
from app.engine.scorer import CollectionThresholds
from app.engine.store import Collection, Derived, Store
from app.errors import CollectionNotFound
from app.promises.labelled import LabelledPairs
from app.promises.pool import Pool
from app.promises.queue import Queue
from app.promises.report import Shortfall

GROWN, FEW = 1.2, 10  # times and pairs by which a pool may grow before thresholds are derived anew
ASKED_AT_MOST = 2000  # texts of those asked lately that the pool takes in


@dataclass(frozen=True)
class Standing:
    """Where a collection stands: its thresholds, the promise of its target, and all that its labels say."""

    collection: Collection
    thresholds: CollectionThresholds
    promise: Promise | None
    evidence: Evidence
    plan: Plan

    def curve(self) -> list[Point]:
        """Precision and recall against threshold."""
        return self.evidence.curve()

    def shortfall(self) -> Shortfall | None:
        """How much the collection's near pairs may say of its target; None where that is kept, or none is asked for."""
        if self.promise is None or self.promise.is_kept:
            return None
        least = max(self.thresholds.review, LEAST_DUPLICATE)
        pairs = int(self.evidence.pairs_above([least])[0])
        starts = [start for start in STARTS if start >= least]
        fewest = min(self.evidence.lacking_at(starts, self.promise.target_precision), default=inf)
        return Shortfall(least, pairs, round(fewest) if isfinite(fewest) else None)

    def promises(self) -> list[Promise]:
        """What is known of promises from 0.90 to 0.99."""
        return [self.evidence.promise(target, self.thresholds.review) for target in TIGHTER]


class Kept:
    """One collection by one release. Of one event loop."""

    def __init__(self, store: Store, release: LiveRelease, collection: Collection) -> None:
        self.collection = collection
        self.release = release
        self.lock = asyncio.Lock()
        self.pool = Pool(store, release, collection.key)
        self.labelled = LabelledPairs(
            store, release, collection.key, self.pool, _learnt_until(store, release, collection.key)
        )
        self.queue = Queue(self.pool, self.labelled.is_answered, lambda: store.claims.clock())
        self.standing: Standing | None = None
        self._store = store
        self._noted: Derived | None = None
        self._news: tuple[int, ...] = ()  # of the answers that were read last

    @property
    def is_current(self) -> bool:
        """Whether what was derived last was derived for what is wished now, and of nearly as many near pairs."""
        if self.standing is None:
            return False
        if self.pool.size > GROWN * len(self.standing.evidence.population) + FEW:
            return False
        before = self.standing.collection
        return (before.target_precision, before.review_recall) == (
            self.collection.target_precision,
            self.collection.review_recall,
        )

    @property
    def key(self) -> int:
        """The collection's."""
        return self.collection.key

    async def open(self) -> None:
        """Read what is known of it. Raises NotReady."""
        await asyncio.to_thread(self._load)
        asked = await asyncio.to_thread(self._store.asked.latest, self.key, ASKED_AT_MOST)
        self.pool.begin(asked)

    async def reload(self) -> None:
        """Read all answers anew."""
        await asyncio.to_thread(self.labelled.load)

    async def begin_anew(self) -> None:
        """Let another pool take the place of this one, of the questions that are there now. Raises NotReady."""
        pool = Pool(self._store, self.release, self.key, self.pool)
        asked = await asyncio.to_thread(self._store.asked.latest, self.key, ASKED_AT_MOST)
        pool.begin(asked)
        self.pool = pool
        self.labelled.use(pool)
        self.queue.use(pool)

    async def current_standing(self) -> Standing:
        """Where it stands now: as derived last, or anew where that is out of date."""
        if self.standing and self.is_current and not await self._has_news():
            return self.standing
        return await self.derive()

    async def _has_news(self) -> bool:
        """Whether another replica was told of answers that are not known here."""
        if not self._store.is_shared:
            return False
        return self._news != await asyncio.to_thread(self._store.offers.news, self.key)

    async def derive(self) -> Standing:
        """Derive thresholds from all labels, let the release hold them, and keep them over a restart.

        Raises CollectionNotFound when the collection is gone, though another may have its name now; ModelFailing.
        """
        if self._store.is_shared:
            self._news = await asyncio.to_thread(self._store.offers.news, self.key)
            await self.reload()
        await self.labelled.score()
        collection = await asyncio.to_thread(self._store.collections.get, self.collection.name)
        if collection.key != self.key:
            raise CollectionNotFound(collection.name)
        self.collection = collection
        standing = await asyncio.to_thread(self._derived)
        self.standing = standing
        if not self.collection.has_wish:
            self.release.hold(self.key, None)
            if self._noted:
                await asyncio.to_thread(self._store.derived.forget_thresholds, self.key)
                self._noted = None
        else:
            self.release.hold(self.key, standing.thresholds)
            await asyncio.to_thread(self._note, standing)
        return standing

    def take(self, derived: Derived | None) -> None:
        """Let thresholds hold that another replica has derived of the labels; None: those of the release."""
        self.release.hold(self.key, derived.thresholds if derived else None)
        if not _are_same(self._noted, derived):
            self._noted = derived
            self.standing = None

    def _load(self) -> None:
        self.labelled.load()
        noted = self._store.derived.of_release(self.release.release.digest)
        self._noted = noted.get(self.key)

    def _derived(self) -> Standing:
        wanted = self.collection.target_precision
        scorer = self.release.scorer
        evidence = Evidence(self.labelled.drawn(), self._population())
        of_release = scorer.thresholds(wanted)
        thresholds, promise = derive(evidence, of_release, wanted, self.collection.review_recall)
        target = float(scorer.target_precision) if wanted is None else wanted
        wanted_next = plan(evidence, target, of_release.review)
        return Standing(self.collection, thresholds, promise, evidence, wanted_next)

    def _population(self) -> NDArray[np.float64]:
        """The near pairs' probabilities: of the pool, or until it has come as far, those that were kept.

        Where questions are deleted to be written again, the pool is all but empty for a while: what was kept stands.
        """
        known = self.pool.probabilities()
        if self._noted is None:
            return known
        kept = self._noted.population
        enough = len(kept) if self.pool.to_read else len(kept) / 2
        return known if len(known) >= enough else kept.astype(np.float64)

    def _note(self, standing: Standing) -> None:
        population = standing.evidence.population.astype(np.float32)
        derived = Derived(standing.thresholds, population)
        if not _are_same(self._noted, derived):
            self._store.derived.note(self.key, self.release.release.digest, derived)
            self._noted = derived


def _are_same(one: Derived | None, other: Derived | None) -> bool:
    if one is None or other is None:
        return one is other
    is_as_large = len(one.population) == len(other.population)
    return is_as_large and one.thresholds == other.thresholds


def _learnt_until(store: Store, release: LiveRelease, collection_key: int) -> str:
    """The time up to which this release, or any that it goes back to, may have learnt from the collection's labels."""
    times = [""]
    known: set[str] = set()
    names = [release.release.name, release.release.parent or ""]
    while names:
        name = names.pop()
        run = store.training_runs.that_made(name) if name not in known else None
        known.add(name)
        if run:
            names.append(PurePath(run.request["champion"]).name)
            if run.collection_key == collection_key:
                times.append(run.started_at or run.created_at)
    return max(times)
