"""Which release is live, and how another takes its place.

A release opens beside the live one, as its shadow, and embeds every collection in the background, giving way to the
live one. To go live it joins: no write is acknowledged any more before both show it. When it has followed every
collection once since then, it replaces the live one, by one assignment. What was replaced is closed when the last
request that holds it has ended; its snapshots stay, so that rolling back takes seconds. See docs/decisions/0014.
"""

import asyncio
import ctypes
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.detector import Detector, in_use
from app.engine.index.snapshot import Snapshots
from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.engine.store import Store
from app.errors import (
    GateNotPassed,
    ModelFailing,
    ModelRefused,
    NoShadow,
    NothingBefore,
    ReleaseProtected,
    RequestError,
    SameaskError,
    ShadowBusy,
    ShadowNotReady,
    StorageFull,
)
from app.releases.catalogue import Catalogue, Entry
from app.releases.comparison import Diff, compare
from app.settings import Settings

LOOK_SECONDS = 0.5  # between two looks of a shadow at what was written
NEARLY = 64  # changes that a shadow may lack when it joins: writers wait for them
DRAIN_SECONDS = 0.01
AT_START = "SAMEASK_RELEASE"
SNAPSHOTS = "snapshots"

Phase = Literal["opening", "indexing", "ready", "joining", "swapping", "draining", "failed"]
State = Literal["live", "shadow", "ready", "refused"]
Opener = Callable[[Release, bool], LiveRelease]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a shadow is, and whether it goes live when it has caught up."""

    release: str
    phase: Phase
    goes_live: bool
    collections: int
    questions: int
    questions_indexed: int
    failure: str | None


@dataclass(frozen=True)
class Listed:
    """A release as the list shows it. `why` it is refused; `last_live_at` is when it was last made live."""

    name: str
    state: State
    why: str | None
    digest: str | None
    parent: str | None
    created_at: str | None
    dimension: int | None
    metrics: Mapping[str, Any]
    last_live_at: str | None
    shadow: Progress | None


@dataclass(frozen=True)
class Live:
    """What is live, since when and why; the swap under way, if there is one."""

    release: str
    digest: str
    since: str | None
    reason: str | None
    swap: Progress | None


@dataclass(eq=False)
class _Shadow:
    """A release on its way, and what it is to become."""

    release: Release
    phase: Phase = "opening"
    opened: LiveRelease | None = None
    reason: str | None = None  # to go live, if it is to
    failure: str | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="shadow")
    )
    task: "asyncio.Task[None] | None" = None


class Releases:
    """The releases, the live one among them, and at most one on its way beside it."""

    def __init__(
        self,
        detector: Detector,
        store: Store,
        catalogue: Catalogue,
        open_release: Opener,
        *,
        snapshot_dir: Path,
        keep: int,
        diff_questions: int,
        tells: bool = False,
    ) -> None:
        """`open_release` opens a release, as a shadow or not; `keep` is how many that were live can't be removed;
        `tells`: a webhook is told of what goes live."""
        self._detector = detector
        self._store = store
        self._catalogue = catalogue
        self._open_release = open_release
        self._snapshot_dir = snapshot_dir
        self._keep = keep
        self._diff_questions = diff_questions
        self._shadow: _Shadow | None = None
        self._tells = tells

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let shadows come and go until the context ends; one that is under way then is left where it is."""
        try:
            yield
        finally:
            await self._end_shadow()

    # Reading

    async def all(self) -> list[Listed]:
        """Every release, SAMEASK_RELEASE's first."""
        entries = await asyncio.to_thread(self._catalogue.entries)
        activations = await asyncio.to_thread(self._store.activations.latest_first)
        last_live = {
            activation.release: activation.activated_at for activation in reversed(activations)
        }
        shadow = await self._progress()
        return [self._listed(entry, last_live.get(entry.name), shadow) for entry in entries]

    async def live(self) -> Live:
        """What is live, and the swap under way."""
        release = self._detector.live.release
        activations = await asyncio.to_thread(self._store.activations.latest_first)
        latest = next((a for a in activations if a.digest == release.digest), None)
        shadow = await self._progress()
        return Live(
            release=release.name,
            digest=release.digest,
            since=latest.activated_at if latest else None,
            reason=latest.reason if latest else None,
            swap=shadow if shadow and shadow.goes_live else None,
        )

    async def shadow(self) -> Progress:
        """The release on its way, or the one that failed last. Raises NoShadow."""
        progress = await self._progress()
        if progress is None:
            raise NoShadow
        return progress

    async def diff(self, name: str, collection: str) -> tuple[str, Diff]:
        """The live release's name, and what would change in the collection if this shadow went live.

        Raises ShadowNotReady, CollectionNotFound, NotReady, ModelFailing.
        """
        live, shadow = self._detector.live, self._shadow
        if not (
            shadow and shadow.release.name == name and shadow.phase == "ready" and shadow.opened
        ):
            raise ShadowNotReady(name)
        key = (await self._detector.collection(collection)).key
        with in_use(live), in_use(shadow.opened):
            return live.release.name, await compare(
                self._store, live, shadow.opened, key, self._diff_questions
            )

    # Changing

    async def open_shadow(self, name: str) -> Progress:
        """Open a release beside the live one. Raises ReleaseNotFound, ReleaseUnusable, ReleaseProtected, ShadowBusy."""
        await self._start(name)
        return await self.shadow()

    async def cancel_shadow(self) -> None:
        """End the shadow; its snapshots stay, so that it goes on from there another time. Raises NoShadow,
        ShadowBusy."""
        shadow = self._shadow
        if shadow is None:
            raise NoShadow
        if shadow.phase in ("swapping", "draining"):
            raise ShadowBusy(shadow.release.name, shadow.phase)
        await self._end_shadow()

    async def activate(self, name: str, reason: str, *, force: bool = False) -> Progress | None:
        """Make a release live: open it unless it is the shadow, and swap when it has caught up; None if it is live.

        Returns when that is under way. Raises GateNotPassed, unless forced, for one that was trained here, was never
        live, and whose gate has not passed; and like `open_shadow`.
        """
        if name != self._detector.live.release.name:
            if not force and name not in await self._lived():
                await asyncio.to_thread(self._assert_passed, name)
            shadow = await self._start(name)
            shadow.reason = reason if shadow.reason is None else shadow.reason
            shadow.called.set()
        return await self._progress()

    async def roll_back(self, reason: str) -> Progress | None:
        """Activate the release that was live before. Raises NothingBefore, and like `activate`."""
        names = [
            entry.name
            for entry in await asyncio.to_thread(self._catalogue.entries)
            if not entry.refused
        ]
        before = [name for name in await self._lived() if name in names]
        if not before:
            raise NothingBefore
        return await self.activate(before[0], reason)

    async def remove(self, name: str) -> None:
        """Remove a release that was trained here, with its snapshots. Raises ReleaseNotFound, ReleaseProtected."""
        entry = await asyncio.to_thread(self._catalogue.entry, name)
        if name == self._detector.live.release.name:
            raise ReleaseProtected(name, "is live")
        if self._shadow and self._shadow.phase != "failed" and name == self._shadow.release.name:
            raise ReleaseProtected(name, f"is {self._shadow.phase}")
        if name in (await self._lived())[: self._keep]:
            raise ReleaseProtected(
                name, f"was one of the last {self._keep} to be live (SAMEASK_KEEP_RELEASES)"
            )
        await asyncio.to_thread(self._catalogue.remove, entry)
        if entry.release:
            await asyncio.to_thread(Snapshots(self._snapshot_dir, entry.release.digest).remove_all)

    # Inside

    def _assert_passed(self, name: str) -> None:
        run = self._store.training_runs.that_made(name)
        if run and run.gate and run.gate["outcome"] != "passed":
            raise GateNotPassed(name, run.gate["outcome"])

    async def _lived(self) -> list[str]:
        """The names that were live before the one that is, the latest first."""
        activations = await asyncio.to_thread(self._store.activations.latest_first)
        live = self._detector.live.release.name
        return [
            name
            for name in dict.fromkeys(activation.release for activation in activations)
            if name != live
        ]

    def _listed(self, entry: Entry, last_live_at: str | None, shadow: Progress | None) -> Listed:
        release, manifest = entry.release, entry.release.manifest if entry.release else {}
        mine = shadow if shadow and shadow.release == entry.name else None
        live = self._detector.live.release
        state: State = (
            "refused" if entry.refused else "shadow" if mine and mine.phase != "failed" else "ready"
        )
        return Listed(
            name=entry.name,
            state="live" if (entry.name, entry.path) == (live.name, live.path) else state,
            why=entry.refused,
            digest=release.digest if release else None,
            parent=release.parent if release else None,
            created_at=manifest.get("created_at"),
            dimension=release.dimension if release else None,
            metrics=release.metrics if release else {},
            last_live_at=last_live_at,
            shadow=mine,
        )

    async def _progress(self) -> Progress | None:
        collections = await asyncio.to_thread(self._store.collections.all)
        if not (shadow := self._shadow):
            return None
        opened = self._detector.live if shadow.phase == "draining" else shadow.opened
        indexed = (
            sum(opened.state(collection.key).size for collection in collections) if opened else 0
        )
        return Progress(
            release=shadow.release.name,
            phase=shadow.phase,
            goes_live=shadow.reason is not None,
            collections=len(collections),
            questions=sum(collection.questions for collection in collections),
            questions_indexed=indexed,
            failure=shadow.failure,
        )

    async def _start(self, name: str) -> _Shadow:
        """The shadow of this name, begun now unless it is under way."""
        if (shadow := self._under_way(name)) is None:
            release = await asyncio.to_thread(self._catalogue.open, name)
            if (shadow := self._under_way(name)) is None:
                self._shadow = shadow = _Shadow(release)
                shadow.task = asyncio.create_task(self._run(shadow))
        return shadow

    def _under_way(self, name: str) -> _Shadow | None:
        """The shadow, if it is this one. Raises ReleaseProtected for the live one, ShadowBusy if it is another."""
        if name == self._detector.live.release.name:
            raise ReleaseProtected(name, "is live")
        shadow = self._shadow
        if shadow is None or shadow.phase == "failed":
            return None
        if shadow.release.name != name:
            raise ShadowBusy(shadow.release.name, shadow.phase)
        return shadow

    async def _run(self, shadow: _Shadow) -> None:
        """Bring a shadow up, keep it near the store, and let it go live when it is called to."""
        try:
            opened = await self._open(shadow)
            opened.give_way(self._detector.live)
            shadow.phase = "indexing"
            lacking = await self._pass(shadow, opened)
            shadow.phase = "ready"
            while shadow.reason is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(shadow.called.wait(), LOOK_SECONDS)
                lacking = await self._pass(shadow, opened)
            opened.give_way(None)  # what is left is little, and soon done
            while lacking > NEARLY and (less := await self._pass(shadow, opened)) < lacking / 2:
                lacking = less  # and where it gets no nearer, writers wait for it
            await self._swap(shadow, opened)
        except Exception as error:
            await self._fail(shadow, error)

    async def _open(self, shadow: _Shadow) -> LiveRelease:
        """Load it in its thread. A thread can't be stopped: who cancels this waits, and finds it in `opened`."""

        def load() -> LiveRelease:
            shadow.opened = self._open_release(shadow.release, True)
            return shadow.opened

        return await asyncio.get_running_loop().run_in_executor(shadow.thread, load)

    async def _pass(self, shadow: _Shadow, opened: LiveRelease) -> int:
        """Bring every index of the shadow up to the store; returns how many changes have come since."""
        return await asyncio.get_running_loop().run_in_executor(
            shadow.thread, self._catch_up, opened
        )

    def _catch_up(self, opened: LiveRelease) -> int:
        collections = self._store.collections.all()
        opened.keep_only([collection.key for collection in collections])
        for collection in collections:
            state = opened.state(collection.key)
            if not state.ready or state.revision < collection.revision:
                opened.reserve(collection.key)
                opened.catch_up(collection.key)
        opened.upkeep()
        return sum(c.revision - opened.state(c.key).revision for c in self._store.collections.all())

    async def _swap(self, shadow: _Shadow, opened: LiveRelease) -> None:
        """Join, follow every collection once, note it in the store, replace the live release, and close what it was."""
        shadow.phase = "joining"
        self._detector.join(opened)
        for collection in await asyncio.to_thread(self._store.collections.all):
            await self._detector.follow(opened, collection)
        shadow.phase = "swapping"
        before = self._detector.live.release
        await self._note(opened.release, shadow.reason or "", before)
        try:
            shadow.opened = self._detector.replace(opened)
        except ModelFailing:
            await self._note(
                before, f"{opened.release.name} failed while it was made live", opened.release
            )
            raise
        shadow.phase = "draining"
        log.info("the release %s is live in place of %s", opened.release.name, before.name)
        await asyncio.to_thread(opened.go_live)
        while shadow.opened.users:
            await asyncio.sleep(DRAIN_SECONDS)
        await self._close(shadow)
        self._shadow = None

    async def _note(self, release: Release, reason: str, before: Release) -> None:
        """Note the activation first: whoever is answered by a release finds it live after a crash, too."""
        add, setting = self._store.activations.add, str(self._catalogue.setting)
        told = before.name if self._tells else None
        await asyncio.to_thread(add, release.name, release.digest, reason, setting, told)

    async def _fail(self, shadow: _Shadow, error: Exception) -> None:
        """The live release keeps serving; what failed is closed, and stays for people to see why."""
        log.warning(
            "the release %s failed while it was %s: %s", shadow.release.name, shadow.phase, error
        )
        shadow.failure = (
            str(error) if isinstance(error, SameaskError) else f"{type(error).__name__}: {error}"
        )
        await self._close(shadow)
        shadow.phase = "failed"

    async def _end_shadow(self) -> None:
        """Stop what is under way, whatever it is at, and close what no request needs."""
        shadow, self._shadow = self._shadow, None
        if shadow and shadow.task:
            shadow.task.cancel()
            await asyncio.gather(shadow.task, return_exceptions=True)
            await self._close(shadow)

    async def _close(self, shadow: _Shadow) -> None:
        """Close the release that the shadow holds: itself, or what it replaced. Its thread ends first."""
        if opened := shadow.opened:
            self._detector.part(opened)
            await asyncio.to_thread(opened.close)
        await asyncio.to_thread(shadow.thread.shutdown)
        if shadow.opened and shadow.opened is not opened:  # it was still being loaded
            await asyncio.to_thread(shadow.opened.close)
        shadow.opened = opened = None
        await asyncio.to_thread(_give_back_memory)


def opener(settings: Settings, store: Store) -> Opener:
    """Opens a release with these settings, as a shadow or not. Raises ModelRefused."""

    def open_release(release: Release, is_shadow: bool) -> LiveRelease:
        return LiveRelease.open(
            release,
            store,
            snapshot_dir=settings.data_dir / SNAPSHOTS,
            device=settings.device,
            backend=settings.backend,
            models_dir=settings.data_dir / "models",
            target_precision=settings.target_precision,
            max_waiting=settings.max_waiting_texts,
            max_waiting_pairs=settings.max_waiting_pairs,
            max_batch_tokens=settings.max_batch_tokens,
            max_cached_embeddings=settings.max_cached_embeddings,
            is_shadow=is_shadow,
        )

    return open_release


def open_chosen(
    catalogue: Catalogue, store: Store, open_release: Opener, *, is_server: bool = True
) -> LiveRelease:
    """The release that was made live last, if it is sound and SAMEASK_RELEASE is what it was then; else
    SAMEASK_RELEASE's. Raises ReleaseRefused, ModelRefused."""
    history = store.activations.latest_first()
    latest = history[0] if history else None
    setting = str(catalogue.setting)
    if latest and latest.setting != setting:
        log.info(
            "SAMEASK_RELEASE was changed since %s was made live, so it says what is served",
            latest.release,
        )
    elif latest:
        try:
            release = catalogue.open(latest.release)
            if release.digest == latest.digest:
                return open_release(release, False)
            log.warning(
                "the release %s is not the one that was made live: SAMEASK_RELEASE's is served",
                release.name,
            )
        except (RequestError, ModelRefused) as error:
            log.warning(
                "%s is not served, though it was made live last, but SAMEASK_RELEASE's: %s",
                latest.release,
                error,
            )
    live = open_release(Release.open(catalogue.setting), False)
    if latest is None or (is_server and latest.setting != setting):
        try:
            store.activations.add(live.release.name, live.release.digest, AT_START, setting)
        except StorageFull as error:
            log.warning("that %s is live is not noted: %s", live.release.name, error)
    return live


def _give_back_memory() -> None:
    """Let glibc return freed pages to the system; other allocators have no such call."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
