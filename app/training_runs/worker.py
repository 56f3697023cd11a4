"""The worker: takes training runs from the queue, and watches the child process of each to its end.

A run has a folder, `training/<id>` in the data directory: what is asked of the child (`request.json`, `labels.jsonl`,
`unlabelled.jsonl`), what it says (`progress.json`, `result.json`, `log.txt`), and its checkpoints, from which a run
that is resumed goes on. The folder is removed when nothing can need it any more.
"""

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from signal import Signals
from time import monotonic
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from app.engine.store import Store, TrainingRun
from app.errors import SameaskError
from app.settings import Settings
from app.training_runs.child_process import UNKNOWN, Child

T = TypeVar("T")
NearPairs = Callable[[str, int], Sequence[tuple[tuple[str, str], tuple[str, str]]]]

COMMAND = (sys.executable, "-m", "training", "retrain")
SERVER = "server"  # as holder of leases: one server has a data directory, so what it held before it died is its own
LEASE_SECONDS = 30.0
LOOK_SECONDS = 0.5
RETRY_SECONDS = 5.0
GRACE_SECONDS = (
    4.0  # twice that at most, to end a child: less than the 10 s in which a cancelled run stops
)
LOG_BYTES = 8_000
LOG_LINES = 20  # of them, in a run's error
MAX_FILE_BYTES = 8 * 2**20  # of what a child says
MAX_NEAR_PAIRS = 2_000
LABELS_PAGE = 1_000
FREE_GPU_BYTES = 8 * 2**30

log = logging.getLogger(__name__)


class Progress(BaseModel):
    """How far a child says it is."""

    phase: str = Field(max_length=100)
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    eta_seconds: float | None = None


class Result(BaseModel):
    """What a child says came of it."""

    release: str = Field(max_length=200)
    gate: dict[str, Any]


class Worker:
    """Works on the queue, one run after the other, and tells when one has ended."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        holder: str = SERVER,
        works: bool = True,
        near_pairs: NearPairs | None = None,
        on_end: Callable[[TrainingRun], Awaitable[None]] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """`holder` names this worker among all that share the queue; one that does not work only tells.

        `near_pairs(collection, limit)` gives pairs of stored questions, each (id, text), that a label might help; it is
        called in a thread. `on_end` is awaited once for each run that ended, also one that ended while no process
        was there to tell; after a crash perhaps once more.
        """
        self._store = store
        self._settings = settings
        self._holder = holder
        self._works = works
        self._near_pairs = near_pairs
        self._on_end = on_end
        self._command = command
        self._folder = settings.data_dir.absolute() / "training"
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="training")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the context ends. A child that runs then goes on, and is found again by the next worker."""
        steps = [
            *([self._work] if self._works else []),
            *([self._announce] if self._on_end else []),
        ]
        tasks = [asyncio.create_task(_forever(step)) for step in steps]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._threads.shutdown()

    async def _work(self) -> bool:
        """Take the next run to its end; false if there is none."""
        run = await self._in_thread(self._store.training_runs.claim, self._holder, LEASE_SECONDS)
        if run is None:
            return False
        await self._in_thread(self._sweep)
        watch = await self._in_thread(self._begin, run)
        while watch and not await self._in_thread(watch.look):
            await asyncio.sleep(LOOK_SECONDS)
        await self._in_thread(self._sweep)
        return True

    async def _announce(self) -> bool:
        """Tell of every run that has ended; nothing that comes of it changes the run. Always false: that was all."""
        for run in await self._in_thread(self._store.training_runs.unannounced):
            try:
                assert self._on_end is not None
                await self._on_end(run)
            except Exception as error:
                log.error(
                    "telling of the end of training run %d failed: %s", run.id, type(error).__name__
                )
            await self._in_thread(self._store.training_runs.announce, run.id)
        return False

    def _begin(self, run: TrainingRun) -> "_Watch | None":
        """Find the child of a run that was claimed, or start it; None where the run has ended by that."""
        folder = self._folder / str(run.id)
        if run.pid is not None and run.pid_started is not None:
            return self._found(run, Child(run.pid, run.pid_started), folder)
        if run.cancelling:
            self._end(run, "cancelled")
            return None
        try:
            return self._started(run, folder)
        except OSError as error:
            log.error("training run %d can't be started: %s", run.id, error.strerror)
            self._end(run, "failed", error=f"its child process can't be started: {error.strerror}")
            return None

    def _found(self, run: TrainingRun, child: Child, folder: Path) -> "_Watch | None":
        watch = _Watch(self._store, run, child, folder, self._settings, self._holder)
        if child.is_running():
            log.info("training run %d is found again", run.id)
            return watch
        child.end(GRACE_SECONDS)  # what it left behind
        watch.settle(
            "cancelled" if run.cancelling else "interrupted",
            "the service ended, and its child process too",
        )
        return None

    def _started(self, run: TrainingRun, folder: Path) -> "_Watch | None":
        """Raises OSError."""
        self._prepare(run, folder)
        with Child.held([*self._command, "--work", str(folder)], folder / "log.txt") as child:
            recorded = {"pid": child.pid, "pid_started": child.started}
            held = self._store.training_runs.hold(run.id, self._holder, LEASE_SECONDS, **recorded)
        log.info("training run %d has begun", run.id)
        watch = _Watch(self._store, run, child, folder, self._settings, self._holder)
        if held is None:
            watch.abandon()
            return None
        return watch

    def _end(self, run: TrainingRun, state: Literal["cancelled", "failed"], **changes: Any) -> None:
        self._store.training_runs.end(run.id, self._holder, state, **changes)

    def _prepare(self, run: TrainingRun, folder: Path) -> None:
        """Write what is asked of the child, unless a child was asked before: its checkpoints belong to that."""
        folder.mkdir(parents=True, exist_ok=True)
        for said in ("progress.json", "result.json"):
            (folder / said).unlink(missing_ok=True)
        if (folder / "request.json").exists():
            return
        _write_lines(folder / "labels.jsonl", self._labels(run.collection))
        _write_lines(folder / "unlabelled.jsonl", self._unlabelled(run))
        release = self._settings.data_dir.absolute() / "releases" / f"{run.collection}-{run.id}"
        asked = {
            **run.request,
            "release": str(release),
            "device": training_device(self._settings.training_device),
        }
        _write_lines(folder / "request.json.part", [asked])
        (folder / "request.json.part").rename(folder / "request.json")

    def _labels(self, collection: str) -> Iterable[dict[str, Any]]:
        """All labels ever given, in their order."""
        after = 0
        while page := self._store.labels.page(collection, after, LABELS_PAGE, history=True):
            for label in page:
                questions = {"question1": label.questions[0], "question2": label.questions[1]}
                said = {"is_duplicate": label.is_duplicate, "contradicted": label.contradicted}
                yield {**questions, **said, "active": label.ended is None}
            after = page[-1].id

    def _unlabelled(self, run: TrainingRun) -> list[dict[str, str]]:
        """Near pairs of which nobody has said anything; none if they can't be had: the run does without."""
        if self._near_pairs is None:
            return []
        try:
            near = self._near_pairs(run.collection, MAX_NEAR_PAIRS)
            labelled = self._store.labels.of(
                run.collection_key, [(one[1], other[1]) for one, other in near]
            )
        except Exception as error:
            log.error(
                "training run %d goes without pairs to label: %s", run.id, type(error).__name__
            )
            return []
        open_pairs = [(one, other) for one, other in near if (one[1], other[1]) not in labelled]
        return [
            {"id1": one[0], "id2": other[0], "question1": one[1], "question2": other[1]}
            for one, other in open_pairs
        ]

    def _sweep(self) -> None:
        """Remove the folders that no run needs: those of runs that succeeded, were cancelled, or are no more."""
        if self._folder.is_dir():
            needed = {str(id_) for id_ in self._store.training_runs.needing_files()}
            for folder in self._folder.iterdir():
                if folder.name not in needed:
                    shutil.rmtree(folder, ignore_errors=True)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(function, *arguments)
        )


class _Watch:
    """One child of one run: looked at again and again until it ends, or has to."""

    def __init__(
        self,
        store: Store,
        run: TrainingRun,
        child: Child,
        folder: Path,
        settings: Settings,
        holder: str,
    ) -> None:
        self._runs = store.training_runs
        self._run = run
        self._child = child
        self._folder = folder
        self._max_bytes = settings.training_max_bytes
        self._silence_seconds = settings.training_silence_seconds
        self._holder = holder
        self._signs: Mapping[str, tuple[int, int]] = {}
        self._heard = monotonic()

    def look(self) -> bool:
        """Note how far the child is, and end it where it must be; whether the run is over."""
        code = self._child.exit_code()
        if code is not None:
            self._child.end(GRACE_SECONDS)  # what it left behind
            self.settle("failed", _how(code), succeeded=code in (0, UNKNOWN))
            return True
        if excess := self._excess():
            self._child.end(GRACE_SECONDS)
            self.settle("failed", excess, succeeded=False)
            return True
        held = self._runs.hold(
            self._run.id, self._holder, LEASE_SECONDS, progress=self._progress(), log=self._log()
        )
        if held is None:
            self.abandon()
            return True
        if held.cancelling:
            self._child.end(GRACE_SECONDS)
            self.settle("cancelled", None, succeeded=False)
        return held.cancelling

    def abandon(self) -> None:
        """End the child of a run that is no longer ours, or no longer is."""
        log.warning("training run %d is no longer this worker's: its child is ended", self._run.id)
        self._child.end(GRACE_SECONDS)

    def settle(
        self,
        otherwise: Literal["failed", "interrupted", "cancelled"],
        why: str | None,
        *,
        succeeded: bool = True,
    ) -> None:
        """Let the run have ended: succeeded, if it may have and there is a result, and else as said."""
        said = self._log()
        seen = {"progress": self._progress(), "log": said}
        result = _read(self._folder / "result.json", Result) if succeeded else None
        if result:
            self._runs.end(
                self._run.id,
                self._holder,
                "succeeded",
                release=result.release,
                gate=result.gate,
                **seen,
            )
        else:
            lines = "\n".join(said.splitlines()[-LOG_LINES:]) if why else ""
            error = f"{why}; the end of its log:\n{lines}" if lines else why
            self._runs.end(self._run.id, self._holder, otherwise, error=error, **seen)
        log.info(
            "training run %d has %s", self._run.id, "succeeded" if result else f"ended: {otherwise}"
        )

    def _excess(self) -> str | None:
        """What the child does that no child may: too much memory, or nothing at all."""
        resident = self._child.resident_bytes()
        if resident > self._max_bytes:
            return (
                f"it used {resident / 1e9:.1f} GB of memory, more than {self._max_bytes / 1e9:.1f} GB"
                " (SAMEASK_TRAINING_MAX_BYTES)"
            )
        signs = {name: _sign(self._folder / name) for name in ("progress.json", "log.txt")}
        if signs != self._signs:
            self._signs, self._heard = signs, monotonic()
        if monotonic() - self._heard > self._silence_seconds:
            return f"nothing was heard of it for {self._silence_seconds:,g} s (SAMEASK_TRAINING_SILENCE_SECONDS)"
        return None

    def _progress(self) -> dict[str, Any] | None:
        found = _read(self._folder / "progress.json", Progress)
        return found.model_dump() if found else self._run.progress

    def _log(self) -> str:
        """The end of the log, from the beginning of a line."""
        try:
            with (self._folder / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - LOG_BYTES, 0))
                text = file.read(LOG_BYTES).decode("utf-8", "replace").replace("\x00", "")
        except OSError:
            return ""
        return text.partition("\n")[2] if size > LOG_BYTES and "\n" in text else text


async def _forever(step: Callable[[], Awaitable[bool]]) -> None:
    """Take step after step, at once if there was something to do. One that fails is tried again."""
    while True:
        try:
            if not await step():
                await asyncio.sleep(LOOK_SECONDS)
        except SameaskError as error:
            log.error("the training worker tries again: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:  # its words may quote a question
            log.error("the training worker tries again after a fault: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)


def training_device(wanted: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """Where a run trains; `auto` is CUDA if so much of the GPU's memory is free that serving can't want for it."""
    if wanted != "auto":
        return wanted
    return "cuda" if _free_gpu_bytes() >= FREE_GPU_BYTES else "cpu"


def _free_gpu_bytes() -> int:
    """As the driver's own command says it: asking through CUDA would itself take some of it. 0 without a GPU."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    query = [
        "nvidia-smi",
        f"--id={gpu}",
        "--query-gpu=memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(
            query, capture_output=True, text=True, timeout=10, check=True
        ).stdout
        return int(answer.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def _how(code: int) -> str:
    """In words, how a child ended."""
    if code == UNKNOWN:
        return "it ended, and left no result"
    if code < 0:
        hint = " (the system does that when memory runs out)" if code == -Signals.SIGKILL else ""
        return f"it was ended by {_signal_name(-code)}{hint}"
    return f"it ended with exit code {code}" + ("" if code else ", and left no result")


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def _sign(file: Path) -> tuple[int, int]:
    """What changes when a file is written: its time and its size."""
    with suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_size
    return 0, 0


Said = TypeVar("Said", bound=BaseModel)


def _read(file: Path, kind: type[Said]) -> Said | None:
    """What a child says in a file; None if there is none, or it is not as it should be. NaN is null here."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES)
        return kind.model_validate(json.loads(content, parse_constant=lambda _: None))
    except (OSError, ValueError, RecursionError, ValidationError):
        return None


def _write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, on the disk when this returns."""
    with file.open("w", encoding="utf-8") as opened:
        opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        opened.flush()
        os.fsync(opened.fileno())
