"""The collections whose near pairs and answers are kept: by the live release, and by one on its way."""

import asyncio

from app.detector import Detector
from app.engine.live_release import LiveRelease
from app.engine.store import Store
from app.promises.kept import Kept
from app.promises.report import Change

MOST_KEPT = 200  # collections whose near pairs are kept in memory; those with a wish always


class KeptCollections:
    """What is kept of every collection, by which release. Of one event loop."""

    def __init__(self, store: Store, detector: Detector) -> None:
        self._store = store
        self._detector = detector
        self._kept: dict[int, Kept] = {}  # by collection, of the live release
        self._prepared: dict[str, dict[int, Kept]] = {}  # by the digest of a release on its way
        self._opening = asyncio.Lock()

    # By the live release

    async def of(self, name: str, live: LiveRelease) -> Kept:
        """What is kept of a collection by the live release. Raises CollectionNotFound, NotReady."""
        collection = await self._detector.read(self._store.collections.get, name)
        async with self._opening:
            kept = self._kept.get(collection.key)
            if kept is None or kept.release is not live:
                kept = self._prepared.get(live.release.digest, {}).get(collection.key)
            if kept is None or kept.release is not live:
                kept = Kept(self._store, live, collection)
                await kept.open()
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
        """Derive the thresholds of every collection with a wish by a release on its way; what would change.

        Raises ModelFailing.
        """
        prepared: dict[int, Kept] = {}
        changes = []
        for collection in await self._detector.read(self._store.collections.all):
            if not collection.has_wish:
                continue
            kept = Kept(self._store, release, collection)
            await kept.open()
            while await kept.pool.advance():
                pass
            await kept.derive()
            prepared[collection.key] = kept
            changes.append(await self._change(kept))
        self._prepared = {release.release.digest: prepared}
        return changes

    def prepared(self, collection_key: int) -> list[Kept]:
        """What releases on their way keep of a collection."""
        of_releases = [prepared.get(collection_key) for prepared in self._prepared.values()]
        return [kept for kept in of_releases if kept]

    async def change(self, release: LiveRelease, collection_key: int) -> Change | None:
        """What a prepared release would change in a collection; None where nothing is wished of it."""
        kept = self._prepared.get(release.release.digest, {}).get(collection_key)
        return await self._change(kept) if kept else None

    def let_go(self, release: LiveRelease) -> None:
        """Keep nothing of a release that is being closed: it could not be freed."""
        prepared = self._prepared.get(release.release.digest, {})
        if any(kept.release is release for kept in prepared.values()):
            del self._prepared[release.release.digest]
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
