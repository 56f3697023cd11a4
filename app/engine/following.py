"""Catching up: the releases that must show a write before it is acknowledged, after a crash too. These are the live
release, and one that joined to replace it. Where replicas share the store, a write waits for theirs, too.

The live release is replaced whole, by one which has shown every write since it joined (`join`, `follow`, `replace`).
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from app.background import background_tasks, in_thread, log_failure, repeat
from app.engine.live_release import LiveRelease
from app.engine.replica import Replica
from app.engine.store import Collection, Store
from app.engine.store.replicas import RELEASE
from app.errors import ModelFailing, SameaskError

log = logging.getLogger(__name__)


class Following:
    """The live release and the one that joined it, and how they keep up with the store. Of one event loop."""

    def __init__(self, store: Store, live: LiveRelease, threads: Executor) -> None:
        """`threads` are those in which indexes catch up."""
        self._store = store
        self._live = live
        self._joined: LiveRelease | None = None
        self._threads = threads
        self._catching_up: dict[int, asyncio.Lock] = {}  # by collection
        self._behind: set[int] = set()  # collections that did not catch up when they should have
        self._changed: set[int] = set()  # collections that have changed since `take_changed`
        self._has_begun = False
        self._woken = asyncio.Event()
        self._replica = Replica(store.replicas) if store.replicas else None
        self.on_release: Callable[[], None] | None = None  # told that another replica made one live
        self.refused: str | None = None  # why the one made live last is not the live one here

    @property
    def live(self) -> LiveRelease:
        """The live release."""
        return self._live

    @asynccontextmanager
    async def running(self, pause_seconds: float) -> AsyncIterator[None]:
        """Keep up with the store, be seen by other replicas and hear them, until the context ends."""
        await self.be_seen()
        try:
            async with background_tasks(*self._work(pause_seconds)):
                yield
        finally:
            if self._replica:
                await self._replica.close()

    def _work(self, pause_seconds: float) -> Iterator[Coroutine[Any, Any, object]]:
        failure = "the indexes can't catch up"
        yield repeat(self.keep_up, pause_seconds, failure, sleep=self._pause)
        if self._replica:
            listen = partial(self._replica.listen, self._hear)
            yield repeat(self.be_seen, pause_seconds, "other replicas can't see this one")
            yield repeat(listen, pause_seconds, "other replicas can't be heard")

    # Replacing the live release

    async def join(self, release: LiveRelease) -> None:
        """Have no replica acknowledge a write from now on before this release shows it, too."""
        self._joined = release
        await self.be_seen()

    def part(self, release: LiveRelease) -> None:
        """Undo `join`."""
        if self._joined is release:
            self._joined = None

    async def follow(self, release: LiveRelease, behind: Sequence[Collection]) -> None:
        """Bring the indexes of a release that joined to the store's revisions: of collections that it did not show.

        Raises ModelFailing, also when the model failed during a write; OSError when the disk is full.
        """
        for collection in behind:
            if not release.shows(collection.key, collection.revision):
                await in_thread(self._threads, release.follow, collection.key)
        self._check_joined(release)

    def replace(self, release: LiveRelease) -> LiveRelease:
        """Make the release that joined the live one, in one assignment; returns the one that was live.

        Since it joined, each collection has followed once: so it shows every write that was acknowledged.
        Raises ModelFailing if the model failed during a write.
        """
        self._check_joined(release)
        replaced = self._live
        self._live = release
        self._joined = None
        return replaced

    def _check_joined(self, release: LiveRelease) -> None:
        if self._joined is not release:
            raise ModelFailing("the model failed during a write")

    # Beside other replicas

    async def be_seen(self) -> None:
        """Have other replicas, where there are any, wait for what is followed here, and know that this one is there."""
        if self._replica:
            await self._replica.be_seen(self._followers())

    def _hear(self, what: str) -> None:
        if what != RELEASE:
            self.put_off(int(what))
            self._woken.set()
        elif self.on_release:
            self.on_release()

    # Keeping up with the store

    async def show(self, collection_key: int, revision: int) -> None:
        """Wait until this revision of the collection is shown, here and by every other replica."""
        await self.catch_up(collection_key, revision)
        if self._replica:
            await self._replica.shown_by_all(self._threads, collection_key, revision)

    async def catch_up(self, collection_key: int, revision: float) -> None:
        """Wait until the live release, and one that joined, show this revision of the collection.

        Of many writers who wait, the first catches up for all. Who has to show it is asked again after each release:
        the live one may have been replaced meanwhile.
        """
        self._changed.add(collection_key)
        async with self._catching_up.setdefault(collection_key, asyncio.Lock()):
            tried: list[LiveRelease] = []
            while release := self._next_behind(collection_key, revision, tried):
                tried.append(release)
                await self._catch_up_one(release, collection_key)

    def put_off(self, collection_key: int) -> None:
        """Leave a collection that has changed to `keep_up`: nobody waits for it."""
        self._behind.add(collection_key)
        self._changed.add(collection_key)

    def take_changed(self) -> set[int]:
        """The collections that have changed since the last call, deleted ones too: for who follows without joining."""
        changed = self._changed
        self._changed = set()
        return changed

    async def forget(self, collection_key: int) -> None:
        """Let go of the indexes of a deleted collection, and of what is on disk of them."""
        self._catching_up.pop(collection_key, None)
        self._behind.discard(collection_key)
        self._changed.add(collection_key)
        for release in self._followers():
            await in_thread(self._threads, release.forget, collection_key)

    async def _pause(self, seconds: float) -> None:
        """Wait so long before `keep_up` is called again, or until another replica calls for it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    async def keep_up(self) -> None:
        """Bring every index up to date, the first time; then try again wherever that failed."""
        if not self._has_begun:
            await in_thread(self._threads, self._live.indexes.remove_leftovers)
            collections = await in_thread(self._threads, self._store.collections.all)
            behind = await in_thread(self._threads, self._live.begin, collections)
            self._behind.update(collection.key for collection in behind)
            self._has_begun = True
        self._behind |= await in_thread(self._threads, self._live.indexes.left_behind)
        for key in sorted(self._behind):
            self._behind.discard(key)  # first: what is put off from now on stays so
            try:
                await self.catch_up(key, math.inf)  # with all that there is
            except SameaskError as error:
                log.warning("collection %d is behind: %s", key, error)
            except Exception as error:
                log_failure(f"collection {key} is behind", error)

    def _followers(self) -> list[LiveRelease]:
        return [self._live, self._joined] if self._joined else [self._live]

    def _next_behind(
        self, collection_key: int, revision: float, tried: list[LiveRelease]
    ) -> LiveRelease | None:
        for release in self._followers():
            if release not in tried and not release.shows(collection_key, revision):
                return release
        return None

    async def _catch_up_one(self, release: LiveRelease, collection_key: int) -> None:
        """Catch up one release. A failure counts where the release is live; one that joined is left out from then
        on."""
        is_joined = release is self._joined
        catch_up = release.follow if is_joined else release.catch_up
        try:
            with release.in_use():
                await in_thread(self._threads, catch_up, collection_key)
        except Exception as error:
            if release is self._live:
                self._behind.add(collection_key)
                raise
            log_failure(f"{release.release.name} can't be made live", error)
            self.part(release)
