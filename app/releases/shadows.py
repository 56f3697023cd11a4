"""The release on its way beside the live one: at most one at a time."""

import asyncio
import logging
from collections.abc import Callable

from app.background import to_its_end
from app.detector import Detector
from app.engine.release import Release
from app.engine.store import Store
from app.errors import NoShadow, ReleaseProtected, ShadowBusy
from app.releases.catalogue import Catalogue
from app.releases.swap import Shadow, ShadowProgress

log = logging.getLogger(__name__)


class Shadows:
    """Shadows come and go here. Of one event loop."""

    def __init__(
        self,
        detector: Detector,
        store: Store,
        catalogue: Catalogue,
        make: Callable[[Release], Shadow],
    ) -> None:
        """`make` makes a shadow, which has not begun."""
        self._detector = detector
        self._store = store
        self._catalogue = catalogue
        self._make = make
        self._shadow: Shadow | None = None

    @property
    def current(self) -> Shadow | None:
        """The shadow that is under way, or that has failed."""
        return self._shadow if self._shadow and not self._shadow.is_over else None

    async def progress(self) -> ShadowProgress | None:
        """How far the shadow is, if there is one, also by the time that the store was asked."""
        if self.current is None:
            return None
        stored = await asyncio.to_thread(self._store.collections.totals)
        shadow = self.current
        return shadow.progress(stored) if shadow else None

    async def start(self, name: str) -> Shadow:
        """The shadow of this name, begun now unless it is under way.

        Raises ReleaseNotFound, ReleaseUnusable; ReleaseProtected for the live one, ShadowBusy if another is under way.
        """
        shadow = self._under_way(name)
        if shadow is None:
            release = await asyncio.to_thread(self._catalogue.open, name)
            shadow = self._under_way(name)  # somebody may have begun it meanwhile
        return shadow or self._begin(release)

    async def follow(self, release: Release, reason: str) -> None:
        """Make a release live here that another replica made live. A shadow that nobody called to go live gives way."""
        shadow = self.current
        if shadow and shadow.phase != "failed" and shadow.release.digest != release.digest:
            log.info("%s gives way to %s, which is live", shadow.release.name, release.name)
            await self.end()
            shadow = None
        if shadow is None or shadow.phase == "failed":
            shadow = self._begin(release)
        shadow.go_live(reason, is_noted=True)

    async def cancel(self) -> None:
        """End the shadow. Raises NoShadow, ShadowBusy."""
        shadow = self.current
        if shadow is None:
            raise NoShadow
        if shadow.phase in ("swapping", "draining"):
            raise ShadowBusy(shadow.release.name, shadow.phase)
        await self.end()

    async def end(self) -> None:
        """End the shadow, if there is one, wherever it is."""
        shadow = self._shadow
        self._shadow = None
        if shadow:
            await to_its_end(shadow.end())

    def _begin(self, release: Release) -> Shadow:
        shadow = self._make(release)
        shadow.begin()
        self._shadow = shadow
        return shadow

    def _under_way(self, name: str) -> Shadow | None:
        """The shadow, if it is this one. Raises ReleaseProtected for the live one, ShadowBusy if it is another."""
        if name == self._detector.live.release.name:
            raise ReleaseProtected(name, "is live")
        shadow = self.current
        if shadow is None or shadow.phase == "failed":
            return None
        if shadow.release.name != name:
            raise ShadowBusy(shadow.release.name, shadow.phase)
        return shadow
