"""Replicas over one store agree on the live release: each serves what was made live last, by whichever of them.

One that can't open it goes on with what it has, says so, and tries again.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from app.background import repeat
from app.detector import Detector
from app.engine.release import Release
from app.engine.store import Activation, Store
from app.errors import ReleaseUnusable, RequestError
from app.releases.catalogue import Catalogue
from app.releases.shadows import Shadows

LOOK_SECONDS = 1.0  # between two looks at what was made live last
TRY_AGAIN_SECONDS = 10.0

log = logging.getLogger(__name__)


class Agreeing:
    """Has this replica follow the others. Of one event loop."""

    def __init__(
        self, store: Store, detector: Detector, catalogue: Catalogue, shadows: Shadows
    ) -> None:
        self._store = store
        self._following = detector.following
        self._catalogue = catalogue
        self._shadows = shadows
        self._called = asyncio.Event()
        self._tried: int | None = None  # the activation that could not be followed
        self._again_at = 0.0
        self._following.on_release = self._called.set

    def work(self) -> list[Coroutine[Any, Any, object]]:
        """What goes on beside requests."""
        failure = "replicas can't agree on the live release"
        return [repeat(self.agree, LOOK_SECONDS, failure, sleep=self._pause)]

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until another replica calls."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._called.wait(), seconds)
        self._called.clear()

    async def agree(self) -> None:
        """Set out to serve what was made live last, if that is another release, and nothing else is to go live here."""
        latest = await asyncio.to_thread(self._store.activations.latest)
        if latest is None or latest.digest == self._following.live.release.digest:
            self._following.refused = None
            return
        shadow = self._shadows.current
        if shadow and shadow.failure and shadow.release.digest == latest.digest:
            self._refuse(latest, shadow.failure)
        elif shadow and shadow.goes_live:
            return
        if self._tried == latest.id and time.monotonic() < self._again_at:
            return
        self._tried = latest.id
        self._again_at = time.monotonic() + TRY_AGAIN_SECONDS
        try:
            release = await asyncio.to_thread(self._open, latest)
        except RequestError as error:
            self._refuse(latest, str(error))
        else:
            await self._shadows.follow(release, latest.reason)

    def _open(self, latest: Activation) -> Release:
        release = self._catalogue.open(latest.release)
        if release.digest != latest.digest:
            raise ReleaseUnusable(latest.release, "it has another digest here")
        return release

    def _refuse(self, latest: Activation, why: str) -> None:
        refused = f"{latest.release} was made live, and is not served here: {why}"
        if self._following.refused != refused:
            log.warning("%s", refused)
            self._following.refused = refused
