"""Labels and wishes in, thresholds out within a second; and near pairs looked for, a few questions at a time."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

from app.background import log_failure, repeat
from app.detector import Detector
from app.engine.live_release import LiveRelease
from app.engine.store import Derived, Store
from app.errors import CollectionNotFound, NotReady, SameaskError
from app.promises.kept import Kept
from app.promises.kept_collections import KeptCollections

TAKE_OVER_SECONDS = 1.0

log = logging.getLogger(__name__)


class Upkeep:
    """Which collections' labels and wishes have changed, and what follows from that. Of one event loop."""

    def __init__(self, store: Store, detector: Detector, kept: KeptCollections) -> None:
        self._store = store
        self._detector = detector
        self._kept = kept
        self._labelled: dict[str, set[int]] = defaultdict(set)  # by collection, labels not seen yet
        self._wished: set[str] = set()  # collections whose thresholds are to be derived anew
        self._held: tuple[str, dict[int, int]] = ("", {})  # by which release, which thresholds
        self._derived_by = ""  # the digest of the release by which they are derived

    async def begin(self) -> None:
        """Have thresholds derived wherever something is wished, and from now on wherever labels change."""
        await self._see_live()
        self._detector.on_labels = self.labels_changed

    async def _see_live(self) -> None:
        """Have thresholds derived wherever something is wished, or holds by a wish of before, when another release is
        live."""
        digest = self._detector.live.release.digest
        if digest == self._derived_by:
            return
        held = await self._detector.read(self._store.derived.versions, digest)
        for collection in await self._detector.read(self._store.collections.all):
            if collection.has_wish or collection.key in held:
                self.renew_soon(collection.name)
        self._derived_by = digest

    def labels_changed(self, collection: str, label_ids: Sequence[int]) -> None:
        """Labels of a collection were written or undone."""
        self._labelled[collection].update(label_ids)

    def renew_soon(self, collection: str) -> None:
        """Derive a collection's thresholds soon: what is wished of it has changed, or what is known."""
        self._wished.add(collection)

    async def learn(self, kept: Kept) -> bool:
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
            answered = [pair for pair in pairs if kept.labelled.is_answered(pair)]
            await asyncio.to_thread(self._store.claims.give_back, kept.key, answered)
        except BaseException:
            self._labelled[name].update(label_ids)  # they are read another time
            raise
        return True

    async def keep_up(self) -> None:
        """Derive the thresholds of collections whose labels or wishes have changed."""
        await self._see_live()
        wished = self._wished
        self._wished = set()
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
            kept = await self._kept.of(name, live)
            async with kept.lock:
                await self.learn(kept)
            await kept.derive()
            try:
                await self._kept.renew_prepared(kept.key, live)
            except SameaskError as error:  # it may be ended meanwhile
                log.warning("a release on its way can't follow labels: %s", error)

    def work_beside_replicas(self) -> list[Coroutine[Any, Any, object]]:
        """What goes on where other replicas derive thresholds, too."""
        if not self._store.is_shared:
            return []
        failure = "thresholds of other replicas can't be taken over"
        return [repeat(self.take_over, TAKE_OVER_SECONDS, failure)]

    async def take_over(self) -> None:
        """Let the thresholds hold that other replicas have derived since the last time."""
        with self._detector.live.in_use() as live:
            digest = live.release.digest
            versions = await self._detector.read(self._store.derived.versions, digest)
            (of, held) = self._held
            known = held if of == digest else {}
            changed = {key for key, _ in known.items() ^ versions.items()}
            if not changed:
                return
            derived = await self._detector.read(self._store.derived.of_release, digest)
            for key in changed:
                self._take(live, key, derived.get(key))
            self._held = (digest, versions)

    def _take(self, live: LiveRelease, collection_key: int, derived: Derived | None) -> None:
        kept = self._kept.get(collection_key)
        if kept and kept.release is live:
            kept.take(derived)
        else:
            live.hold(collection_key, derived.thresholds if derived else None)

    async def look_further(self) -> bool:
        """Take a few more questions into the pools that want some; whether there were any. Raises what one met last."""
        has_more = False
        failure: SameaskError | None = None
        for kept in self._kept.all():
            with self._detector.live.in_use() as live:
                if kept.release is not live:
                    continue
                if not live.state(kept.key).ready:
                    self._kept.forget(kept.key)
                    continue
                if kept.pool.is_outdated:
                    await self._kept.of(kept.collection.name, live)
                try:
                    had_more = await kept.pool.advance()
                except SameaskError as error:  # the others have their turn all the same
                    failure = error
                    continue
                if had_more and not kept.pool.to_read:
                    self._wished.add(kept.collection.name)
                has_more = has_more or had_more
        if failure:
            raise failure
        return has_more
