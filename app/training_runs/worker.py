"""The worker: takes training runs from the queue, starts the child process of each, and tells when a run has ended.

A run has a folder, `training/<id>` in the data directory. It is removed when nothing can need it any more.
"""

import asyncio
import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from app.background import background_tasks, in_thread, repeat
from app.engine.store import Store, TrainingRun
from app.engine.training_contract import Request
from app.settings import Settings
from app.training_runs.child_process import Child
from app.training_runs.lessons import NearPairs, given_labels, unlabelled_pairs
from app.training_runs.run_folder import RunFolder
from app.training_runs.sweep import RUNS, checkpoints, sweep
from app.training_runs.training_device import training_device
from app.training_runs.watch import LEASE_SECONDS, Watch

REQUEST = TypeAdapter(Request)
COMMAND = (sys.executable, "-m", "training", "retrain")
# As holder of leases: one server has a data directory, so what it held before it died is its own.
SERVER = "server"
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0
TELLING_LEASE_SECONDS = 600.0  # what is told may make a release live: it embeds whole collections

log = logging.getLogger(__name__)


def name_of_process() -> str:
    """A name that no other process has, on any machine: numbers of processes come again, in containers above all."""
    return f"{os.getpid()} at {socket.gethostname()} {secrets.token_hex(4)}"


class Worker:
    """Works on the queue, one run after the other, and tells when one has ended."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        holder: str | None = None,
        works: bool = True,
        champion: Callable[[], Path] | None = None,
        near_pairs: NearPairs | None = None,
        on_end: Callable[[TrainingRun], Awaitable[None]] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """`holder` names this worker among all that share the queue; None: the server of the data directory, or one of
        several over a shared database. One that does not work only tells.

        `champion()` is the folder of the release that is live when a run begins. A worker that serves none takes the
        one that was live when the run was asked for.

        `near_pairs(collection, limit)` gives pairs of stored questions, each (id, text), that a label might help; it is
        called in a thread. `on_end` is awaited once for each run that ended, by one of all processes; after a crash
        perhaps once more. A run may have ended while no process was there to tell.
        """
        self._store = store
        self._settings = settings
        self._holder = holder or (name_of_process() if settings.store_url else SERVER)
        self._works = works
        self._champion = champion
        self._near_pairs = near_pairs
        self._on_end = on_end
        self._command = command
        self._folder = settings.data_dir.absolute() / RUNS
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="training")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the context ends. A child that runs then goes on, and is found again by the next worker."""
        steps: list[Callable[[], Awaitable[bool]]] = []
        if self._works:
            steps.append(self._work)
        if self._on_end:
            steps.append(self._tell)
        failure = "the training worker tries again"
        repeated = [
            repeat(step, LOOK_SECONDS, failure, failure_pause_seconds=RETRY_SECONDS)
            for step in steps
        ]
        try:
            await in_thread(self._threads, self._sweep)  # what a crash has left
            async with background_tasks(*repeated):
                yield
        finally:
            await asyncio.to_thread(self._threads.shutdown)  # one may wait for this event loop

    async def _work(self) -> bool:
        """Take the next run to its end; False if there is none."""
        run = await in_thread(
            self._threads, self._store.training_runs.claim, self._holder, LEASE_SECONDS
        )
        if run is None:
            return False
        await in_thread(self._threads, self._sweep)
        watch = await in_thread(self._threads, self._begin, run)
        while watch and not await in_thread(self._threads, watch.look):
            await asyncio.sleep(LOOK_SECONDS)
        await in_thread(self._threads, self._sweep)
        return True

    async def _tell(self) -> bool:
        """Tell of the next run that has ended; nothing that comes of it changes the run. False if there is none."""
        assert self._on_end is not None
        runs = self._store.training_runs
        run = await in_thread(self._threads, runs.claim_end, self._holder, TELLING_LEASE_SECONDS)
        if run is None:
            return False
        try:
            await self._on_end(run)
        except Exception as error:
            log.error(
                "telling of the end of training run %d failed: %s", run.id, type(error).__name__
            )
        await in_thread(self._threads, runs.announce, run.id)
        return True

    def _begin(self, run: TrainingRun) -> Watch | None:
        """Find the child of a run that was claimed, or start it; None where the run has ended by that."""
        folder = RunFolder(self._folder / str(run.id))
        if run.pid is not None and run.pid_started is not None:
            return self._find_again(run, Child(run.pid, run.pid_started), folder)
        if run.cancelling:
            self._end(run, "cancelled")
            return None
        try:
            return self._start(run, folder)
        except OSError as error:
            log.error("training run %d can't be started: %s", run.id, error.strerror)
            self._end(run, "failed", error=f"its child process can't be started: {error.strerror}")
            return None

    def _find_again(self, run: TrainingRun, child: Child, folder: RunFolder) -> Watch | None:
        watch = self._watch(run, child, folder)
        if child.is_running():
            log.info("training run %d is found again", run.id)
            return watch
        watch.end_child()  # its descendants
        otherwise: Literal["cancelled", "interrupted"] = (
            "cancelled" if run.cancelling else "interrupted"
        )
        watch.settle(otherwise, "the service ended, and its child process too")
        return None

    def _start(self, run: TrainingRun, folder: RunFolder) -> Watch | None:
        """Raises OSError."""
        request = self._prepare(run, folder)
        command = [*self._command, "--work", str(folder.path)]
        with Child.held(command, folder.log_file) as child:
            held = self._store.training_runs.hold(
                run.id,
                self._holder,
                LEASE_SECONDS,
                pid=child.pid,
                pid_started=child.started,
                request=request,
            )
        log.info("training run %d has begun", run.id)
        watch = self._watch(run, child, folder)
        if held is None:
            watch.abandon()
            return None
        return watch

    def _watch(self, run: TrainingRun, child: Child, folder: RunFolder) -> Watch:
        return Watch(self._store, run, child, folder, self._settings, self._holder)

    def _end(self, run: TrainingRun, state: Literal["cancelled", "failed"], **changes: Any) -> None:
        self._store.training_runs.end(run.id, self._holder, state, **changes)

    def _prepare(self, run: TrainingRun, folder: RunFolder) -> Mapping[str, Any]:
        """Write the request to the child, and return it: the earlier one, if it goes on from checkpoints. Raises
        OSError."""
        folder.begin()
        earlier = folder.request()
        # Read first: those that are given from now on count for promises.
        labels = [] if earlier else list(given_labels(self._store, run.collection))
        folder.propose(unlabelled_pairs(self._store, run, self._near_pairs))
        if earlier:
            return {**run.request, "champion": str(earlier.champion)}
        asked = dict(run.request)
        if self._champion:
            asked["champion"] = str(self._champion().absolute())
        release = self._settings.releases_folder.absolute() / f"{run.collection}-{run.id}"
        # those of a worker elsewhere, which kept what it was asked: they belong to that
        shutil.rmtree(checkpoints(release), ignore_errors=True)
        request = REQUEST.validate_python(
            {
                **asked,
                "release": release,
                "device": training_device(self._settings.training_device),
            }
        )
        folder.ask(request, labels)
        return asked

    def _sweep(self) -> None:
        sweep(self._store, self._settings)
