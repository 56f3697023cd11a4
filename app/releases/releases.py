"""The releases as the service's clients see them: listed, compared, made live and removed.

Which folders are releases is known in `catalogue`, which were live in `history`; a `shadow` is one on its way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from app.background import background_tasks, to_its_end
from app.detector import Detector
from app.engine.index.opening import remove_indexes
from app.engine.store import Store
from app.errors import (
    GateNotPassed,
    NoShadow,
    NothingBefore,
    ReleaseProtected,
    ShadowNotReady,
)
from app.promises.promises import Promises
from app.promises.report import Change
from app.releases.agreeing import Agreeing
from app.releases.at_start import newly_shipped
from app.releases.catalogue import Catalogue, Entry
from app.releases.comparison import Diff, compare
from app.releases.history import History
from app.releases.opening import Opener
from app.releases.shadows import Shadows
from app.releases.silence import silent_at
from app.releases.swap import Shadow
from app.releases.swap import ShadowProgress as ShadowProgress

log = logging.getLogger(__name__)

State = Literal["live", "shadow", "ready", "refused"]


@dataclass(frozen=True)
class Listed:
    """A release as the list shows it. `why` it is refused; `last_live_at` is when it was last made live.

    `is_trained`: it was trained here, and can be removed.
    """

    name: str
    state: State
    why: str | None
    digest: str | None
    parent: str | None
    created_at: str | None
    dimension: int | None
    metrics: Mapping[str, Any]
    last_live_at: str | None
    shadow: ShadowProgress | None
    is_trained: bool = False


@dataclass(frozen=True)
class Live:
    """The live release, since when and why it is live; the swap under way, if there is one."""

    release: str
    digest: str
    since: str | None
    reason: str | None
    swap: ShadowProgress | None


class Releases:
    """The releases, the live one among them, and at most one on its way beside it."""

    def __init__(
        self,
        detector: Detector,
        store: Store,
        catalogue: Catalogue,
        open_release: Opener,
        *,
        promises: Promises,
        snapshot_dir: Path,
        keep: int,
        diff_questions: int,
        tells: bool = False,
        agrees: bool = True,
    ) -> None:
        """`open_release` opens a release, as a shadow or not; `keep` is how many that were live can't be removed;
        `tells`: a webhook is told of what goes live; `agrees`: what another replica makes live is made so here, too."""
        self._detector = detector
        self._store = store
        self._catalogue = catalogue
        self._history = History(store, str(catalogue.setting), tells=tells)
        self._promises = promises
        self._shadows = Shadows(
            detector,
            store,
            catalogue,
            lambda release: Shadow(release, detector, store, self._history, open_release, promises),
        )
        self._snapshot_dir = snapshot_dir
        self._keep = keep
        self._diff_questions = diff_questions
        self._agreeing = Agreeing(store, detector, catalogue, self._shadows)
        self._agrees = agrees and store.is_shared

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let shadows come and go until the context ends; one that is under way then is left where it is."""
        try:
            async with background_tasks(*self._agreeing.work() if self._agrees else ()):
                yield
        finally:
            await self._shadows.end()

    # Reading

    async def all(self) -> list[Listed]:
        """Every release, SAMEASK_RELEASE's first."""
        entries = await asyncio.to_thread(self._catalogue.entries)
        last_live = await self._history.last_live()
        progress = await self._shadows.progress()
        return [self._listed(entry, last_live.get(entry.name), progress) for entry in entries]

    async def live(self) -> Live:
        """The live release, and the swap under way."""
        release = self._detector.live.release
        latest = await self._history.latest(release)
        progress = await self._shadows.progress()
        return Live(
            release=release.name,
            digest=release.digest,
            since=latest.activated_at if latest else None,
            reason=latest.reason if latest else None,
            swap=progress if progress and progress.goes_live else None,
        )

    async def shadow(self) -> ShadowProgress:
        """The release on its way, or the one that failed last. Raises NoShadow."""
        progress = await self._shadows.progress()
        if progress is None:
            raise NoShadow
        return progress

    async def diff(self, name: str, collection: str) -> tuple[str, Diff, Change | None]:
        """The live release's name, and what would change in the collection and its promise if this shadow went live.

        Raises ShadowNotReady, CollectionNotFound, NotReady, ModelFailing.
        """
        live = self._detector.live
        shadow = self._shadows.current
        opened = shadow.opened if shadow and shadow.release.name == name else None
        if opened is None:
            raise ShadowNotReady(name)
        key = (await asyncio.to_thread(self._store.collections.get, collection)).key
        with live.in_use(), opened.in_use():
            diff = await compare(self._store, live, opened, key, self._diff_questions)
            change = await self._promises.kept.change(opened, key)
        return live.release.name, diff, change

    async def before(self) -> str:
        """The name of the release that was live before, of those that can still be used. Raises NothingBefore."""
        entries = await asyncio.to_thread(self._catalogue.entries)
        usable = {entry.name for entry in entries if not entry.refused}
        for name in await self._names_before():
            if name in usable:
                return name
        raise NothingBefore

    async def silent_at(self, name: str, collection: str) -> float | None:
        """As `app.releases.silence` says it. Raises ReleaseNotFound, CollectionNotFound."""
        entry = await asyncio.to_thread(self._catalogue.entry, name)
        stored = await asyncio.to_thread(self._store.collections.get, collection)
        live, shadow = self._detector.live, self._shadows.current
        return silent_at(entry.release, live, shadow, stored) if entry.release else None

    # Changing

    async def open_newly_shipped(self) -> None:
        """Open what this version of Sameask ships as a shadow, where that of the version before is still live."""
        live = self._detector.live.release
        name = await asyncio.to_thread(newly_shipped, self._catalogue, live)
        if name:
            log.info("%s stays live; %s, which is newer, comes up beside it", live.name, name)
            await self._shadows.start(name)

    async def open_shadow(self, name: str) -> ShadowProgress:
        """Open a release beside the live one. Raises ReleaseNotFound, ReleaseUnusable, ReleaseProtected, ShadowBusy."""
        await self._shadows.start(name)
        return await to_its_end(self.shadow())

    async def cancel_shadow(self) -> None:
        """End the shadow; its snapshots stay, so that it goes on from there another time. Raises NoShadow,
        ShadowBusy."""
        await self._shadows.cancel()

    async def activate(
        self, name: str, reason: str, *, force: bool = False
    ) -> ShadowProgress | None:
        """Make a release live: open it unless it is the shadow, and swap when it has caught up; None if it is live.

        Returns when that is under way. Raises GateNotPassed, unless forced, for one that was made of labels, was never
        live, and is not known to have passed its gate against the live one; and like `open_shadow`.
        """
        if name != self._detector.live.release.name:
            if not force and name not in await self._names_before():
                await asyncio.to_thread(self._assert_passed, name)
            shadow = await self._shadows.start(name)
            shadow.go_live(reason)
        return await to_its_end(self._shadows.progress())

    async def roll_back(self, reason: str) -> ShadowProgress | None:
        """Activate the release that was live before. Raises NothingBefore, and like `activate`."""
        return await self.activate(await self.before(), reason)

    async def remove(self, name: str) -> None:
        """Remove a release that was trained here, with its snapshots. Raises ReleaseNotFound, ReleaseProtected."""
        entry = await asyncio.to_thread(self._catalogue.entry, name)
        await self._assert_removable(name, entry.release.digest if entry.release else None)
        await to_its_end(asyncio.to_thread(self._remove, entry))

    # Inside

    def _remove(self, entry: Entry) -> None:
        if entry.release:  # first: once the folder is gone, nobody would know of them
            remove_indexes(self._store, self._snapshot_dir, entry.release.digest)
        self._catalogue.remove(entry)

    def _assert_passed(self, name: str) -> None:
        made = self._catalogue.entry(name).release
        run = self._store.training_runs.that_made(name)
        if run is None or run.gate is None:
            if run or (made and made.is_of_labels):
                raise GateNotPassed(name, "is made of labels, and no gate is known that it passed")
            return
        if run.gate["outcome"] != "passed":
            outcome = run.gate["outcome"]
            raise GateNotPassed(name, f"did not pass its gate, whose outcome is {outcome!r}")
        live = self._detector.live.release.path.name
        champion = PurePath(run.request["champion"]).name
        if champion != live:
            raise GateNotPassed(
                name, f"passed its gate against {champion!r}, and {live!r} is live now"
            )

    async def _assert_removable(self, name: str, digest: str | None) -> None:
        if name == self._detector.live.release.name:
            raise ReleaseProtected(name, "is live")
        shadow = self._shadows.current
        if shadow and shadow.phase != "failed" and shadow.release.name == name:
            raise ReleaseProtected(name, f"is {shadow.phase}")
        if await asyncio.to_thread(self._is_served_elsewhere, digest):
            raise ReleaseProtected(name, "is served by another replica")
        kept = (await self._names_before())[: self._keep]
        if name in kept:
            raise ReleaseProtected(
                name, f"was one of the last {self._keep} to be live (SAMEASK_KEEP_RELEASES)"
            )

    def _is_served_elsewhere(self, digest: str | None) -> bool:
        replicas = self._store.replicas
        return replicas is not None and digest is not None and replicas.serve(digest)

    async def _names_before(self) -> list[str]:
        return await self._history.names_before(self._detector.live.release.name)

    def _listed(
        self, entry: Entry, last_live_at: str | None, progress: ShadowProgress | None
    ) -> Listed:
        release = entry.release
        own_progress = progress if progress and progress.release == entry.name else None
        return Listed(
            name=entry.name,
            state=self._state(entry, own_progress),
            why=entry.refused,
            digest=release.digest if release else None,
            parent=release.parent if release else None,
            created_at=release.manifest.get("created_at") if release else None,
            dimension=release.dimension if release else None,
            metrics=release.metrics if release else {},
            last_live_at=last_live_at,
            shadow=own_progress,
            is_trained=entry.is_trained,
        )

    def _state(self, entry: Entry, own_progress: ShadowProgress | None) -> State:
        live = self._detector.live.release
        if (entry.name, entry.path) == (live.name, live.path):
            return "live"
        if entry.refused:
            return "refused"
        is_shadow = own_progress is not None and own_progress.phase != "failed"
        return "shadow" if is_shadow else "ready"
