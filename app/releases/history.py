"""The releases that were live, and when: the activations in the store."""

import asyncio
from contextlib import suppress

from app.engine.release import Release
from app.engine.store import Activation, Store
from app.engine.store.replicas import RELEASE
from app.errors import ServiceError


class History:
    """Reads and writes activations in threads, for the event loop."""

    def __init__(self, store: Store, setting: str, *, tells: bool) -> None:
        """`setting` is what SAMEASK_RELEASE names, noted beside each; `tells`: a webhook is told of each."""
        self._activations = store.activations
        self._replicas = store.replicas
        self._setting = setting
        self._tells = tells

    async def latest(self, release: Release) -> Activation | None:
        """When this very release was made live last, if it ever was."""
        for activation in await self._latest_first():
            if activation.digest == release.digest:
                return activation
        return None

    async def last_live(self) -> dict[str, str]:
        """When each release was made live last, by name."""
        times: dict[str, str] = {}
        for activation in await self._latest_first():
            times.setdefault(activation.release, activation.activated_at)
        return times

    async def names_before(self, live: str) -> list[str]:
        """The names of those that were live before the one that is, the latest first."""
        names = list(await self.last_live())
        return [name for name in names if name != live]

    async def note(self, release: Release, reason: str, before: Release) -> None:
        """Note that a release is made live in place of another. Raises StorageFull."""
        replaced = before.name if self._tells else None
        await asyncio.to_thread(
            self._activations.add, release.name, release.digest, reason, self._setting, replaced
        )
        if self._replicas:
            with suppress(ServiceError):  # they look every second anyway
                await asyncio.to_thread(self._replicas.call, RELEASE)

    async def _latest_first(self) -> list[Activation]:
        return await asyncio.to_thread(self._activations.latest_first)
