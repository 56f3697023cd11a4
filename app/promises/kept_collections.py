"""The collections whose near pairs and answers are kept: by the live release, and by one on its way."""

import asyncio
from contextlib import suppress

from app.detector import Detector
from app.engine.live_release import LiveRelease
from app.engine.store import Collection, Store
from app.errors import CollectionNotFound, NotReady
from app.promises.kept import Kept
from app.promises.report import Change

MOST_KEPT = 200  # collections whose near pairs are kept in memory; those with a wish always


class KeptCollections:
    """What is kept of every collection, by which release. Of one event loop."""

    def __init__(self, store: Store, detector: Detector) -> None:
        self._store = store
        self._detector = detector
        self._kept: dict[int, Kept] = {}  # by collection, of the live release
        self._on_its_way: LiveRelease | None = None  # the release that was prepared last
        self._prepared: dict[int, Kept] = {}  # by collection, of that one
        self._opening = asyncio.Lock()

    # By the live release

    async def of(self, name: str, live: LiveRelease) -> Kept:
        """What is kept of a collection by the live release. Raises CollectionNotFound, NotReady."""
        collection = await self._detector.read(self._store.collections.get, name)
        async with self._opening:
            kept = self._kept.get(collection.key)
            if kept is None or kept.release is not live:
                kept = await self._begun(live, collection)
            self._keep(kept)
            if kept.pool.is_outdated:
                await kept.begin_anew()
        kept.collection = collection
        return kept

    def get(self, collection_key: int) -> Kept | None:
        """What is kept of a collection, if anybody has asked for it."""
        return self._kept.get(collection_key)

    def all(self) -> list[Kept]:
        """What is kept by now, that which nobody asked for longest first."""
        return list(self._kept.values())

    def forget(self, collection_key: int) -> None:
        """Let go of a deleted collection."""
        self._kept.pop(collection_key, None)
        self._prepared.pop(collection_key, None)

    async def forget_asked(self, collection_key: int) -> None:
        """Let go of what was asked in a collection, whichever release read it."""
        async with self._opening:
            for kept in (self._kept.get(collection_key), self._prepared.get(collection_key)):
                if kept:
                    kept.pool.forget_asked()

    async def _begun(self, live: LiveRelease, collection: Collection) -> Kept:
        """What was prepared of a collection before the release went live, with all answers by now; or a new one."""
        kept = self._prepared.get(collection.key)
        if kept and kept.release is live and kept.standing:
            await kept.reload()
            return kept
        kept = Kept(self._store, live, collection)
        await kept.open()
        return kept

    def _keep(self, kept: Kept) -> None:
        """Keep it as the one that was asked for last, and let go of the one that nobody asked for longest."""
        self._kept.pop(kept.key, None)
        self._kept[kept.key] = kept
        if len(self._kept) > MOST_KEPT:
            without_wish = (
                key for key, other in self._kept.items() if not other.collection.has_wish
            )
            self._kept.pop(next(without_wish, kept.key))

    # By a release on its way

    async def prepare(self, release: LiveRelease) -> list[Change]:
        """Derive the thresholds of collections with a wish by a release on its way; what would change.

        Called again, it does so where something is wished since. Raises ModelFailing.
        """
        if release is not self._on_its_way:
            self._on_its_way = release
            self._prepared = {}
        changes = []
        for collection in await self._detector.read(self._store.collections.all):
            if not collection.has_wish or collection.key in self._prepared:
                continue
            with suppress(CollectionNotFound, NotReady):  # deleted meanwhile, or just created
                kept = await self._prepare(release, collection)
                changes.append(await self._change(kept))
        return changes

    async def _prepare(self, release: LiveRelease, collection: Collection) -> Kept:
        """What is kept of a collection; known before its answers are read, so that it hears of later ones."""
        kept = Kept(self._store, release, collection)
        self._prepared[collection.key] = kept
        try:
            async with self._opening:
                await kept.open()
            while await kept.pool.advance():
                pass
            async with kept.lock:
                await kept.derive()
        except BaseException:
            self._prepared.pop(collection.key, None)
            raise
        return kept

    async def renew_prepared(self, collection_key: int, live: LiveRelease) -> None:
        """Let a release on its way follow what was answered or wished in a collection. Raises ModelFailing."""
        kept = self._prepared.get(collection_key)
        if kept is None or kept.release is live:
            return
        with kept.release.in_use():
            async with kept.lock:
                await kept.reload()
                if kept.standing:
                    await kept.derive()

    def prepared(self, collection_key: int) -> Kept | None:
        """What the release on its way keeps of a collection."""
        return self._prepared.get(collection_key)

    async def change(self, release: LiveRelease, collection_key: int) -> Change | None:
        """What a prepared release would change in a collection; None where nothing is wished of it."""
        kept = self._prepared.get(collection_key)
        if kept is None or kept.release is not release or kept.standing is None:
            return None
        return await self._change(kept)

    def let_go(self, release: LiveRelease) -> None:
        """Keep nothing of a release that is being closed: it could not be freed."""
        if release is self._on_its_way:
            self._on_its_way = None
            self._prepared = {}
        for kept in self.all():
            if kept.release is release:
                del self._kept[kept.key]

    async def _change(self, shadow: Kept) -> Change:
        assert shadow.standing
        with self._detector.live.in_use() as live:
            own = await self.of(shadow.collection.name, live)
            standing = await own.current_standing()
            return Change(
                collection=shadow.collection.name,
                live=live.thresholds(shadow.key),
                shadow=shadow.release.thresholds(shadow.key),
                live_promise=standing.promise,
                shadow_promise=shadow.standing.promise,
            )
