"""Training runs as the service's clients see them: asked for, looked at, followed, cancelled and resumed.

What is asked stands in the store, and a worker takes it from there, in this process or beside it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

from app.background import to_its_end
from app.engine.data import OUT_OF_DOMAIN
from app.engine.store import State as State  # for app.http, which knows nothing below this room
from app.engine.store import Store
from app.engine.store import TrainingRun as TrainingRun
from app.engine.training_contract import RecipeName as RecipeName
from app.errors import FieldError, InvalidRequest, SameaskError
from app.settings import Settings, TargetPrecision
from app.training_runs.sweep import sweep

FOLLOW_SECONDS = 0.5
TELLING_SECONDS = (
    2.0  # in which a worker tells of a run's end; a run may be resumed where none does
)
SEED = 20


class TrainingRuns:
    """The queue of training runs."""

    def __init__(self, store: Store, settings: Settings, champion: Callable[[], Path]) -> None:
        """`champion()` is the folder of the release that a new one has to beat: the live one."""
        self._store = store
        self._runs = store.training_runs
        self._settings = settings
        self._champion = champion

    async def start(
        self,
        collection: str,
        recipe: RecipeName,
        data_set: str | None,
        target_precision: TargetPrecision,
    ) -> TrainingRun:
        """Queue a run that learns from the collection's labels, and from a data set that this server allows.

        Raises CollectionNotFound, TrainingRunning, NothingToLearn, InvalidRequest, StorageFull.
        """
        request = {
            "champion": str(self._champion().absolute()),
            "recipe": recipe,
            "data_set": self._data_set(data_set),
            "elsewhere": str((self._settings.elsewhere or OUT_OF_DOMAIN).absolute()),
            "target_precision": target_precision,
            "margin": self._settings.gate_margin,
            "seed": SEED,
        }
        return await to_its_end(asyncio.to_thread(self._runs.start, collection, request))

    async def cancel(self, run_id: int) -> TrainingRun:
        """Stop a run, within 10 s if it runs. Raises TrainingRunNotFound, WrongRunState, DataDamaged, StorageFull."""
        return await to_its_end(asyncio.to_thread(self._runs.cancel, run_id))

    async def resume(self, run_id: int) -> TrainingRun:
        """Queue a failed or interrupted run again, to go on from its checkpoints. Its end is told first.

        Raises TrainingRunNotFound, WrongRunState, TrainingRunning, DataDamaged, StorageFull.
        """
        deadline = monotonic() + TELLING_SECONDS
        while monotonic() < deadline and await asyncio.to_thread(self._is_untold, run_id):
            await asyncio.sleep(TELLING_SECONDS / 40)
        return await to_its_end(asyncio.to_thread(self._runs.resume, run_id))

    def _is_untold(self, run_id: int) -> bool:
        return any(run.id == run_id for run in self._runs.unannounced())

    async def sweep(self) -> None:
        """Remove what runs left on the disk that no run needs: to be called when a collection was deleted."""
        await to_its_end(asyncio.to_thread(sweep, self._store, self._settings))

    async def get(self, run_id: int) -> TrainingRun:
        """Raises TrainingRunNotFound, DataDamaged."""
        return await asyncio.to_thread(self._runs.get, run_id)

    async def page(self, before: int | None, limit: int) -> list[TrainingRun]:
        """Runs, the latest first."""
        return await asyncio.to_thread(self._runs.page, before, limit)

    async def follow(
        self, run: TrainingRun, seconds: float, may_go_on: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[TrainingRun]:
        """The run now, and again whenever something about it has changed; until it is over or no more, or for so long.

        It is read from the store, since any process may be the one that works on it. `may_go_on` is asked before each
        look, and ends it, too.
        """
        deadline = monotonic() + seconds
        seen = None
        while True:
            if _visible(run) != seen:
                yield run
                seen = _visible(run)
            if run.is_over or monotonic() > deadline:
                return
            await asyncio.sleep(FOLLOW_SECONDS)
            if not await may_go_on():
                return
            try:
                run = await self.get(run.id)
            except SameaskError:
                return

    def _data_set(self, name: str | None) -> str | None:
        """The folder of a data set. Raises InvalidRequest for one that is not allowed."""
        if name is None:
            return None
        allowed = self._settings.data_sets
        found = allowed.iterdir() if allowed and allowed.is_dir() else ()
        folders = {folder.name: folder for folder in found if folder.is_dir()}
        if name not in folders:
            raise InvalidRequest(
                FieldError("data_set", "is no data set that this server allows (SAMEASK_DATA_SETS)")
            )
        return str(folders[name].absolute())


def _visible(run: TrainingRun) -> TrainingRun:
    """What of a run interests those who follow it."""
    return replace(
        run, leased_by=None, leased_until=None, pid=None, pid_started=None, announced=False
    )
