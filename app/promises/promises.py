"""What is asked about the promises of collections: the evidence of each, and pairs for people to label.

What keeps thresholds up with labels works beside that (`Upkeep`): who asks meets those that were derived last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.background import background_tasks, repeat, to_its_end
from app.detector import Detector
from app.engine.store import Store
from app.engine.text import TextPair, Words, pair_digest
from app.promises.activity import MOST_NAMED, Activity
from app.promises.kept_collections import KeptCollections
from app.promises.offering import Offering
from app.promises.report import Figures, Look, Offered, PromiseState, Report
from app.promises.upkeep import Upkeep

PAUSE_SECONDS = 0.1
FAILURE_PAUSE_SECONDS = 5.0


class Promises:
    """The promises of every collection. Of one event loop."""

    def __init__(self, store: Store, detector: Detector, activity: Activity) -> None:
        self.kept = KeptCollections(store, detector)
        self.upkeep = Upkeep(store, detector, self.kept)
        self._store = store
        self._detector = detector
        self._activity = activity
        self._offering = Offering(store, detector)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep thresholds up with labels until the context ends."""
        await self.upkeep.begin()
        async with background_tasks(
            *self.upkeep.work_beside_replicas(),
            repeat(self.upkeep.keep_up, PAUSE_SECONDS, "thresholds can't keep up with labels"),
            repeat(
                self.upkeep.look_further,
                PAUSE_SECONDS,
                "near pairs can't be looked for",
                failure_pause_seconds=FAILURE_PAUSE_SECONDS,
            ),
            repeat(self._activity.flush, 1.0, "what was asked can't be remembered"),
            repeat(self._activity.forget_old, 3600.0, "what was asked can't be forgotten"),
        ):
            yield

    async def evidence(self, name: str) -> Report:
        """What the labels of a collection support. Raises CollectionNotFound, NotReady, ModelFailing."""
        with self._detector.live.in_use() as live:
            kept = await self.kept.of(name, live)
            standing = await kept.current_standing()
            labels = await self._detector.read(self._store.offers.labelled_pairs, kept.key)
            curve = await asyncio.to_thread(standing.curve)
            promises = await asyncio.to_thread(standing.promises)
            shortfall = await asyncio.to_thread(standing.shortfall)
        thresholds = [point.threshold for point in curve]
        return Report(
            collection=kept.collection,
            release=live.release.name,
            thresholds=live.thresholds(kept.key),
            promise=standing.promise,
            promises=promises,
            labels=kept.labelled.counts(labels),
            known_pairs=len(kept.pool.pairs),
            to_read=kept.pool.to_read,
            asked_hours=self._activity.hours,
            curve=curve,
            volumes=self._activity.a_day(kept.key, thresholds),
            shortfall=shortfall,
        )

    async def offer(self, name: str, by: str, limit: int) -> Offered:
        """Pairs for a person to label: those that it looks at already, and as many more as there are up to `limit`.

        Raises CollectionNotFound, NotReady (the first near pairs are looked for), ModelFailing, StorageFull.
        """
        with self._detector.live.in_use() as live:
            kept = await self.kept.of(name, live)
            async with kept.lock:
                if await self.upkeep.learn(kept):
                    self.upkeep.renew_soon(name)
                standing = await kept.current_standing()
                looks, counted = await self._offering.offer(kept, standing.plan, by, limit)
            if counted:
                self.upkeep.renew_soon(name)
            waiting = kept.queue.waiting()
            if kept.queue.is_short(waiting):
                kept.pool.grow()
        return Offered(name, live.release.name, looks, len(waiting), kept.pool.to_read)

    async def skip(self, name: str, by: str, offer_id: int) -> None:
        """Note that a person can't tell of an offered pair: nobody is asked again.

        Raises CollectionNotFound, OfferNotFound, StorageFull.
        """
        offer = await self._detector.write(self._store.offers.skip, name, offer_id, by)
        await to_its_end(self._renew(name, offer.pair))

    async def figures(self) -> Figures:
        """Verdicts and promises, of so many collections at most, by name."""
        states = []
        for kept in sorted(self.kept.all(), key=lambda kept: kept.collection.name):
            promise = kept.standing.promise if kept.standing else None
            if promise:
                labels = len(kept.labelled.drawn())
                name = kept.collection.name
                states.append(PromiseState(name, promise.is_kept, labels, promise.lacking))
        today = await self._detector.read(self._store.labels.given_lately)
        return Figures(self._activity.verdicts, states[:MOST_NAMED], today)

    async def offer_again(self, name: str, by: str, texts: TextPair) -> Look | None:
        """The pair of these texts to a person once more, who has just taken back a label on it.

        None where it is near no more, or is labelled by others or skipped. Raises CollectionNotFound, NotReady.
        """
        first, second = texts
        return await self._offer_again(name, by, pair_digest(Words.of(first), Words.of(second)))

    async def unskip(self, name: str, by: str, offer_id: int) -> Look | None:
        """Take a person's own skip of an offered pair back, and offer it to that person once more.

        None where it is near no more, or is labelled or skipped by others. Raises CollectionNotFound, OfferNotFound,
        NotReady, StorageFull.
        """
        offer = await self._detector.write(self._store.offers.unskip, name, offer_id, by)
        await to_its_end(self._renew(name, offer.pair))
        return await self._offer_again(name, by, offer.pair)

    async def _renew(self, name: str, pair: bytes) -> None:
        """Know at once what came of a pair."""
        collection = await self._detector.read(self._store.collections.get, name)
        kept = self.kept.get(collection.key)
        if kept:
            async with kept.lock:
                await self._detector.read(kept.labelled.renew, [pair])
        self.upkeep.renew_soon(name)

    async def _offer_again(self, name: str, by: str, pair: bytes) -> Look | None:
        with self._detector.live.in_use() as live:
            kept = await self.kept.of(name, live)
            async with kept.lock:
                if await self.upkeep.learn(kept):
                    self.upkeep.renew_soon(name)
                return await self._offering.offer_again(kept, by, pair)

    async def erase_asked(self, name: str) -> None:
        """Erase what was asked in a collection, and let go of the pairs with it that wait to be offered.

        Raises CollectionNotFound, StorageFull.
        """
        collection = await self._detector.read(self._store.collections.get, name)
        async with self._activity.writing:
            self._activity.forget(collection.key)
            await self._detector.write(self._store.asked.erase, name)
        await to_its_end(self.kept.forget_asked(collection.key))
