"""This process as one of the replicas over a shared store.

The others see that it is there, and it hears what they call. Its writers wait until each of them shows what was
written.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress

from app.background import in_thread
from app.engine.live_release import LiveRelease
from app.engine.store.replicas import Replicas
from app.errors import DatabaseUnavailable, NotReady

WAIT_SECONDS = 30.0  # that a write may wait for other replicas
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.005, 0.1
HEAR_SECONDS = 0.25  # after which who listens looks whether to go on


class Replica:
    """One of those that answer over the store. Of one event loop."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._row = ThreadPoolExecutor(1, thread_name_prefix="be-seen")
        self._ear = ThreadPoolExecutor(1, thread_name_prefix="listen")
        self._is_over = threading.Event()

    async def be_seen(self, releases: Sequence[LiveRelease]) -> None:
        """Have the others wait for what these releases have to show. One whose model fails answers nobody, and holds
        nobody up."""
        await in_thread(self._row, self._be_seen, releases)

    async def shown_by_all(self, readers: Executor, collection_key: int, revision: float) -> None:
        """Wait until every other replica shows this revision. Raises NotReady after a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        pause = FIRST_LOOK_SECONDS
        has_called = False
        while await in_thread(readers, self._replicas.are_behind, collection_key, revision):
            if not has_called:
                await in_thread(readers, self._replicas.call, str(collection_key))
                has_called = True
            if loop.time() > deadline:
                raise NotReady("it is written, but another replica does not find it yet")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)

    async def listen(self, hear: Callable[[str], None]) -> None:
        """Have `hear` told in the event loop of what others call, until this one is closed. Raises DatabaseUnavailable
        when the connection is lost."""
        loop = asyncio.get_running_loop()
        await in_thread(self._ear, self._listen, lambda what: loop.call_soon_threadsafe(hear, what))

    async def close(self) -> None:
        """Have nobody wait for this process any more."""
        self._is_over.set()
        with suppress(DatabaseUnavailable):  # then the row expires
            await in_thread(self._row, self._replicas.leave)
        await asyncio.to_thread(self._row.shutdown)
        await asyncio.to_thread(self._ear.shutdown)

    def _be_seen(self, releases: Sequence[LiveRelease]) -> None:
        by_table = {release.indexes.vectors_of: release for release in releases}
        failing = {table for table, one in by_table.items() if one.models.failure}

        def doubt(tables: set[str]) -> None:
            for table in tables:
                by_table[table].indexes.doubt()

        self._replicas.be_seen(by_table.keys() - failing, failing, doubt)

    def _listen(self, tell: Callable[[str], object]) -> None:
        with self._replicas.listening() as hear:
            while not self._is_over.is_set():
                for what in hear(HEAR_SECONDS):
                    tell(what)
