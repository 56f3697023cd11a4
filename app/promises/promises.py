"""Labels in, thresholds out within a second, and the review queue and the evidence of each collection.

All of it works beside requests: whoever asks meets the thresholds that were derived last, and waits for nothing here.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.background import background_tasks, log_failure, repeat
from app.detector import Detector
from app.engine.live_release import LiveRelease
from app.engine.store import Store
from app.errors import CollectionNotFound, NotReady, SameaskError
from app.promises.activity import MOST_NAMED, Activity
from app.promises.kept import Kept, Standing
from app.promises.offering import Offering
from app.promises.queue import Claims
from app.promises.report import Change, Figures, Offered, PromiseState, Report

PAUSE_SECONDS = 0.1
MOST_KEPT = 200  # collections whose near pairs are kept in memory; those with a wish always

log = logging.getLogger(__name__)


class Promises:
    """The promises of every collection. Of one event loop."""

    def __init__(self, store: Store, detector: Detector, activity: Activity) -> None:
        self._store = store
        self._detector = detector
        self._activity = activity
        self._offering = Offering(store, detector)
        self._kept: dict[int, Kept] = {}  # by collection, of the live release
        self._prepared: dict[str, dict[int, Kept]] = {}  # by the digest of a release on its way
        self._claims: dict[int, Claims] = defaultdict(dict)  # by collection
        self._labelled: dict[str, set[int]] = defaultdict(set)  # by collection, labels not seen yet
        self._learnt: dict[str, set[bytes]] = defaultdict(set)  # pairs that no shadow has seen yet
        self._wished: set[str] = set()  # collections whose wishes have changed
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep thresholds up with labels until the context ends."""
        for collection in await self._detector.read(self._store.collections.all):
            if collection.target_precision is not None or collection.review_recall is not None:
                self._wished.add(collection.name)
        self._detector.on_labels = self.labels_changed
        async with background_tasks(
            repeat(self._keep_up, PAUSE_SECONDS, "thresholds can't keep up with labels"),
            repeat(self._look_further, PAUSE_SECONDS, "near pairs can't be looked for"),
            repeat(self._activity.flush, 1.0, "what was asked can't be remembered"),
            repeat(self._activity.forget_old, 3600.0, "what was asked can't be forgotten"),
        ):
            yield

    # What others tell

    def labels_changed(self, collection: str, label_ids: Sequence[int]) -> None:
        """Labels of a collection were written or undone."""
        self._labelled[collection].update(label_ids)

    def wishes_changed(self, collection: str) -> None:
        """Other things are wished of a collection."""
        self._wished.add(collection)

    # What is asked

    async def evidence(self, name: str) -> Report:
        """What the labels of a collection support. Raises CollectionNotFound, NotReady, ModelFailing."""
        with self._detector.live.in_use() as live:
            kept = await self._of(name, live)
            standing = await self._standing(kept)
            labels = await self._detector.read(self._store.offers.labelled_pairs, kept.key)
            curve = await asyncio.to_thread(standing.curve)
            promises = await asyncio.to_thread(standing.promises)
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
            volumes=self._activity.a_day(name, thresholds),
        )

    async def offer(self, name: str, by: str, limit: int) -> Offered:
        """Pairs for a person to label: those that it looks at already, and as many more as there are up to `limit`.

        Raises CollectionNotFound, NotReady (the first near pairs are looked for), ModelFailing, StorageFull.
        """
        with self._detector.live.in_use() as live:
            kept = await self._of(name, live)
            async with kept.lock:
                if await self._learn(kept):
                    self._wished.add(name)
                standing = await self._standing(kept)
                looks, counted = await self._offering.offer(kept, standing.plan, by, limit)
            if counted:
                self._wished.add(name)
            waiting = kept.queue.waiting()
            if kept.queue.is_short(waiting):
                kept.pool.grow()
        return Offered(name, live.release.name, looks, len(waiting), kept.pool.to_read)

    async def skip(self, name: str, by: str, offer_id: int) -> None:
        """Note that a person can't tell of an offered pair: nobody is asked again.

        Raises CollectionNotFound, OfferNotFound, StorageFull.
        """
        offer = await self._detector.write(self._store.offers.skip, name, offer_id, by)
        collection = await self._detector.read(self._store.collections.get, name)
        kept = self._kept.get(collection.key)
        if kept:
            async with kept.lock:
                await self._detector.read(kept.labelled.renew, [offer.pair])
                kept.queue.give_back([offer.pair])
        self._wished.add(name)

    async def figures(self) -> Figures:
        """Verdicts and promises, of so many collections at most, by name."""
        states = []
        for kept in sorted(self._kept.values(), key=lambda kept: kept.collection.name):
            promise = kept.standing.promise if kept.standing else None
            if promise:
                labels = len(kept.labelled.drawn())
                name = kept.collection.name
                states.append(PromiseState(name, promise.is_kept, labels, promise.lacking))
        today = await self._detector.read(self._store.labels.given_lately)
        return Figures(self._activity.verdicts, states[:MOST_NAMED], today)

    async def forget_asked(self, name: str) -> None:
        """Let go of what was asked in a collection, now that it was erased. Raises CollectionNotFound."""
        collection = await self._detector.read(self._store.collections.get, name)
        self._activity.forget(name)
        kept = self._kept.get(collection.key)
        if kept:
            kept.queue.give_back(kept.pool.forget_asked())

    # A release on its way

    async def prepare(self, release: LiveRelease) -> list[Change]:
        """Derive the thresholds of every collection with a wish by a release on its way; what would change.

        Raises ModelFailing.
        """
        prepared: dict[int, Kept] = {}
        changes = []
        for collection in await self._detector.read(self._store.collections.all):
            if collection.target_precision is None and collection.review_recall is None:
                continue
            kept = Kept(self._store, release, collection, self._claims[collection.key])
            await kept.open()
            while await kept.pool.advance():
                pass
            await kept.derive()
            prepared[collection.key] = kept
            changes.append(await self._change(kept))
        self._prepared = {release.release.digest: prepared}
        return changes

    def let_go(self, release: LiveRelease) -> None:
        """Keep nothing of a release that is being closed: it could not be freed."""
        prepared = self._prepared.get(release.release.digest, {})
        if any(kept.release is release for kept in prepared.values()):
            del self._prepared[release.release.digest]
        for key, kept in list(self._kept.items()):
            if kept.release is release:
                del self._kept[key]

    async def change(self, release: LiveRelease, collection_key: int) -> Change | None:
        """What a prepared release would change in a collection; None where nothing is wished of it."""
        kept = self._prepared.get(release.release.digest, {}).get(collection_key)
        return await self._change(kept) if kept else None

    async def _change(self, shadow: Kept) -> Change:
        assert shadow.standing
        with self._detector.live.in_use() as live:
            own = await self._of(shadow.collection.name, live)
            standing = await self._standing(own)
            return Change(
                collection=shadow.collection.name,
                live=live.thresholds(shadow.key),
                shadow=shadow.release.thresholds(shadow.key),
                live_promise=standing.promise,
                shadow_promise=shadow.standing.promise,
            )

    # Inside

    async def _of(self, name: str, live: LiveRelease) -> Kept:
        """What is kept of a collection by the live release. Raises CollectionNotFound, NotReady."""
        collection = await self._detector.read(self._store.collections.get, name)
        async with self._opening:
            kept = self._kept.get(collection.key)
            if kept is None or kept.release is not live:
                kept = self._prepared.get(live.release.digest, {}).get(collection.key)
            if kept is None or kept.release is not live:
                kept = Kept(self._store, live, collection, self._claims[collection.key])
                await kept.open()
            self._keep(kept)
            if kept.pool.is_outdated:
                await kept.begin_anew()
        kept.collection = collection
        return kept

    def _keep(self, kept: Kept) -> None:
        """Keep it as the one that was asked for last, and let go of the one that nobody asked for longest."""
        self._kept.pop(kept.key, None)
        self._kept[kept.key] = kept
        if len(self._kept) > MOST_KEPT:
            without = (key for key, other in self._kept.items() if not other.has_wish)
            self._kept.pop(next(without, kept.key))

    async def _standing(self, kept: Kept) -> Standing:
        if kept.standing and kept.is_current:
            return kept.standing
        return await kept.derive()

    async def _keep_up(self) -> None:
        """Derive the thresholds of collections whose labels or wishes have changed."""
        wished, self._wished = self._wished, set()
        for name in sorted(self._labelled.keys() | wished):
            try:
                await self._renew(name)
            except CollectionNotFound:
                self._labelled.pop(name, None)
            except NotReady:
                self._wished.add(name)
            except SameaskError as error:
                log.warning("the thresholds of %s can't be derived: %s", name, error)
                self._wished.add(name)
            except Exception as error:
                self._labelled.pop(name, None)
                log_failure(f"the thresholds of {name} can't be derived", error)

    async def _renew(self, name: str) -> None:
        with self._detector.live.in_use() as live:
            kept = await self._of(name, live)
            async with kept.lock:
                await self._learn(kept)
            await kept.derive()
            pairs = sorted(self._learnt.pop(name, ()))
            for prepared in list(self._prepared.values()):
                shadow = prepared.get(kept.key)
                if shadow and shadow.release is not live:
                    await self._renew_shadow(shadow, pairs)

    async def _renew_shadow(self, shadow: Kept, pairs: Sequence[bytes]) -> None:
        """Let a release on its way follow, which may be ended meanwhile."""
        try:
            with shadow.release.in_use():
                await self._detector.read(shadow.labelled.renew, pairs)
                await shadow.derive()
        except SameaskError as error:
            log.warning("a release on its way can't follow labels: %s", error)

    async def _learn(self, kept: Kept) -> bool:
        """Read what new labels say, and which pairs nobody needs to look at any more; whether there were any.

        The caller holds the lock of what is kept: nobody is offered a pair whose label is being read.
        """
        name = kept.collection.name
        label_ids = self._labelled.pop(name, set())
        if not label_ids:
            return False
        read = self._detector.read
        try:
            pairs = await read(self._store.offers.pairs_of_labels, kept.key, sorted(label_ids))
            await read(kept.labelled.renew, pairs)
        except BaseException:
            self._labelled[name].update(label_ids)  # they are read another time
            raise
        kept.queue.give_back(pair for pair in pairs if kept.labelled.is_answered(pair))
        self._learnt[name].update(pairs)
        return True

    async def _look_further(self) -> bool:
        """Take a few more questions into the pools that want some; whether there were any."""
        has_more = False
        for key, kept in list(self._kept.items()):
            with self._detector.live.in_use() as live:
                if kept.release is not live:
                    continue
                if not live.state(key).ready:
                    self._kept.pop(key)  # deleted
                    self._claims.pop(key, None)
                    continue
                if kept.pool.is_outdated:
                    await self._of(kept.collection.name, live)
                had_more = await kept.pool.advance()
                if had_more and not kept.pool.to_read:
                    self._wished.add(kept.collection.name)
                has_more = has_more or had_more
        return has_more
