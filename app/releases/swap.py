"""A shadow's way to live.

It opens beside the live release and embeds every collection in the background, giving way to the live one. Then it
derives the thresholds of each collection that has a promise, so that this holds from its first answer on. To go live
it joins: no write is acknowledged any more before both show it. Once it has followed every collection since then, it
replaces the live release, by one assignment. The replaced one closes when the last request that holds it has ended.
Its snapshots stay, so that rolling back takes seconds. See docs/decisions/0014.
"""

import asyncio
import ctypes
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from app.background import end, in_thread, log_failure
from app.detector import Detector
from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.engine.store import Store, Stored
from app.errors import ModelFailing, SameaskError
from app.promises.promises import Promises
from app.releases.history import History
from app.releases.opening import Opener

LOOK_SECONDS = 0.5  # between two looks at what was written
NEARLY = 64  # changes that it may lack when it joins: writers wait for them
DRAIN_SECONDS = 0.01

Phase = Literal[
    "opening", "indexing", "promising", "ready", "joining", "swapping", "draining", "failed"
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShadowProgress:
    """The progress of a shadow, and whether it goes live when it has caught up.

    `broken_promises` names the collections whose target the labels support by the live release, and not by this one.
    """

    release: str
    phase: Phase
    goes_live: bool
    collections: int
    questions: int
    questions_indexed: int
    failure: str | None
    broken_promises: Sequence[str]


class Shadow:
    """One release on its way, from `begin` until it is live, has failed, or was ended."""

    def __init__(
        self,
        release: Release,
        detector: Detector,
        store: Store,
        history: History,
        open_release: Opener,
        promises: Promises,
    ) -> None:
        self.release = release
        self.phase: Phase = "opening"
        self.is_over = False  # live, and what was live before is closed
        self._detector = detector
        self._store = store
        self._history = history
        self._open_release = open_release
        self._promises = promises
        self._broken: list[str] = []
        self._held: LiveRelease | None = None  # itself; while it drains, the one that it replaced
        self._reason: str | None = None
        self._is_noted = False  # as live, by another replica
        self.failure: str | None = None
        self._called = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._task: asyncio.Task[None] | None = None

    @property
    def opened(self) -> LiveRelease | None:
        """The release, opened and near the store; None before that, and from when it joins."""
        return self._held if self.phase == "ready" else None

    def begin(self) -> None:
        """Begin, in a task of the running event loop."""
        self._task = asyncio.create_task(self._run())

    @property
    def goes_live(self) -> bool:
        """Whether it was called to go live, and has not failed."""
        return self._reason is not None and self.phase != "failed"

    def go_live(self, reason: str, *, is_noted: bool = False) -> None:
        """Become the live release when it has caught up. The first reason given is the one noted.

        `is_noted`: another replica has noted it, after it had derived what thresholds follow labels.
        """
        if self._reason is None:
            self._reason = reason
            self._is_noted = is_noted
        self._called.set()

    async def end(self) -> None:
        """Stop at any stage, and close the releases that no request needs."""
        if self._task:
            await end(self._task)
        await self._close()

    def progress(self, stored: Stored) -> ShadowProgress:
        """The progress over all that is stored."""
        release = self._detector.live if self.phase == "draining" else self._held
        return ShadowProgress(
            release=self.release.name,
            phase=self.phase,
            goes_live=self._reason is not None,
            collections=stored.collections,
            questions=stored.questions,
            questions_indexed=release.indexed.questions if release else 0,
            failure=self.failure,
            broken_promises=self._broken,
        )

    async def _run(self) -> None:
        try:
            opened = await in_thread(self._thread, self._load)
            opened.models.give_way(self._detector.live.models)
            self.phase = "indexing"
            self._detector.following.take_changed()  # all of it is looked at now
            await in_thread(self._thread, opened.follow_all)
            await self._follow(opened)  # what came meanwhile
            self.phase = "promising"
            await self._promise(opened)
            lacking = await self._follow(opened)
            self.phase = "ready"
            lacking = await self._stay_near(opened, lacking)
            await self._promise(opened)  # what was wished meanwhile
            opened.models.give_way(None)  # what is left is little, and soon done
            await self._come_nearer(opened, lacking)
            await self._swap(opened)
        except Exception as error:
            await self._fail(error)
        else:
            await self._settle(opened)

    async def _promise(self, opened: LiveRelease) -> None:
        """Derive collections' thresholds by its scores, and say which promises it can't keep."""
        if self._is_noted:
            return
        changes = await self._promises.kept.prepare(opened)
        broken = [change.collection for change in changes if change.is_broken]
        self._broken += broken
        for name in broken:
            log.warning(
                "by the release %s, labels don't support the promise of %s", self.release.name, name
            )

    def _load(self) -> LiveRelease:
        """A thread can't be stopped: who ends this waits for it, and finds the release in `_held`."""
        self._held = self._open_release(self.release, self._detector.live.release)
        return self._held

    async def _stay_near(self, opened: LiveRelease, lacking: int) -> int:
        """Follow the store until it is called to go live; returns how many changes it lacks then."""
        while self._reason is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), LOOK_SECONDS)
            lacking = await self._follow(opened)
        return lacking

    async def _follow(self, opened: LiveRelease) -> int:
        """Follow what has changed since the last time; returns how many changes it lacks by then."""
        changed = self._detector.following.take_changed()
        left_behind = await in_thread(self._thread, opened.indexes.left_behind)
        return await in_thread(self._thread, opened.follow_changed, changed | left_behind)

    async def _come_nearer(self, opened: LiveRelease, lacking: int) -> None:
        """Catch up until it lacks few changes. Where that gets it no nearer, writers will wait for it."""
        while lacking > NEARLY:
            before = lacking
            lacking = await self._follow(opened)
            if lacking >= before / 2:
                return

    async def _swap(self, opened: LiveRelease) -> None:
        """Join, follow every collection once, note it in the store, and replace the live release."""
        self.phase = "joining"
        await self._detector.following.join(opened)
        await self._follow(opened)  # what was deleted before it joined, too
        collections = await asyncio.to_thread(self._store.collections.all)
        behind = await asyncio.to_thread(opened.begin, collections)
        await self._detector.following.follow(opened, behind)
        self.phase = "swapping"
        before = self._detector.live.release
        await self._replace(opened, before)
        log.info("the release %s is live in place of %s", self.release.name, before.name)

    async def _settle(self, opened: LiveRelease) -> None:
        """Note what it held back, and close what was live once no request needs it. It is live, whatever fails here."""
        self.phase = "draining"
        steps = (
            self._detector.following.be_seen,
            partial(asyncio.to_thread, opened.go_live),
            self._drain,
            self._close,
        )
        for step in steps:
            try:
                await step()
            except Exception as error:
                log_failure(f"{self.release.name} is live, but has not settled", error)
        self.is_over = True

    async def _replace(self, opened: LiveRelease, before: Release) -> None:
        """Replace the live release, once that is noted: who is answered by it finds it live after a crash, too."""
        if self._is_noted:
            self._held = self._detector.following.replace(opened)
            return
        await self._history.note(self.release, self._reason or "", before)
        try:
            self._held = self._detector.following.replace(opened)
        except ModelFailing:
            reason = f"{self.release.name} failed while it was made live"
            await self._history.note(before, reason, self.release)
            raise

    async def _drain(self) -> None:
        """Wait until no request holds the release that was live."""
        while self._held and self._held.users:
            await asyncio.sleep(DRAIN_SECONDS)

    async def _fail(self, error: Exception) -> None:
        """The live release keeps serving; this one is closed, and stays for people to see why."""
        failure = str(error) if isinstance(error, SameaskError | OSError) else type(error).__name__
        log_failure(f"the release {self.release.name} failed while it was {self.phase}", error)
        await self._close()
        self.phase = "failed"
        self.failure = failure

    async def _close(self) -> None:
        """Close the release that it holds. That ends what its thread does, unless it was still loading it."""
        await self._close_held()
        await asyncio.to_thread(self._thread.shutdown)
        await self._close_held()
        await asyncio.to_thread(_give_back_memory)

    async def _close_held(self) -> None:
        held = self._held
        self._held = None
        if held:
            self._detector.following.part(held)
            self._promises.kept.let_go(held)
            await asyncio.to_thread(held.close)


def _give_back_memory() -> None:
    """Let glibc return freed pages to the system; other allocators have no such call."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
