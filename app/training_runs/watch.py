"""The watch on a training run's child process: it is looked at until it ends, or has to be ended."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from signal import Signals
from time import monotonic
from typing import Any, Literal

from app.engine.store import State, Store, TrainingRun
from app.engine.training_contract import as_json
from app.settings import Settings
from app.training_runs.child_process import UNKNOWN, Child
from app.training_runs.run_folder import RunFolder

LEASE_SECONDS = 30.0
GRACE_SECONDS = 4.0  # to end a child takes twice that at most: less than the 10 s that are promised
LOG_LINES = 20  # in a run's error

log = logging.getLogger(__name__)


class Watch:
    """One child of one run, which this worker holds by a lease."""

    def __init__(
        self,
        store: Store,
        run: TrainingRun,
        child: Child,
        folder: RunFolder,
        settings: Settings,
        holder: str,
    ) -> None:
        self._store = store
        self._runs = store.training_runs
        self._run = run
        self._child = child
        self._folder = folder
        self._max_bytes = settings.training_max_bytes
        self._silence_seconds = settings.training_silence_seconds
        self._holder = holder
        self._signs: Sequence[tuple[int, int]] = ()
        self._heard_at = monotonic()

    def look(self) -> bool:
        """Note the child's progress, and end the child where it must be ended. Whether the run is over."""
        code = self._child.exit_code()
        if code is not None:
            self.end_child()  # its descendants
            self.settle("failed", _ending(code), may_succeed=code in (0, UNKNOWN))
            return True
        if excess := self._excess():
            self.end_child()
            self.settle("failed", excess, may_succeed=False)
            return True
        held = self._runs.hold(
            self._run.id,
            self._holder,
            LEASE_SECONDS,
            progress=self._progress(),
            log=self._folder.end_of_log(),
        )
        if held is None:
            self.abandon()
            return True
        if held.cancelling:
            self.end_child()
            self.settle("cancelled", None, may_succeed=False)
        return held.cancelling

    def end_child(self) -> None:
        """End the child and all its descendants, as far as there are any."""
        self._child.end(GRACE_SECONDS)

    def abandon(self) -> None:
        """End the child of a run that another worker holds now, or that was deleted."""
        log.warning("training run %d is no longer this worker's: its child is ended", self._run.id)
        self.end_child()

    def settle(
        self,
        otherwise: Literal["failed", "interrupted", "cancelled"],
        why: str | None,
        *,
        may_succeed: bool = True,
    ) -> None:
        """Note the end of the run: succeeded, if it may have and there is a result, and else `otherwise`."""
        last_log = self._folder.end_of_log()
        last_seen: dict[str, Any] = {"progress": self._progress(), "log": last_log}
        result = self._folder.result() if may_succeed else None
        if result:
            state: State = "succeeded"
            outcome = {"release": result.release, "gate": json.loads(as_json(result.gate))}
        else:
            state = otherwise
            outcome = {"error": _error(why, last_log)}
        ended = self._runs.end(self._run.id, self._holder, state, **outcome, **last_seen)
        if ended:  # it was this worker's until now
            self._store.questions.forget_stale_pairs(self._run.collection_key)
            self._folder.end()
        log.info("training run %d has ended: %s", self._run.id, state)

    def _excess(self) -> str | None:
        """The reason to end the child, if there is one: too much memory, or silence."""
        resident = self._child.resident_bytes()
        if resident > self._max_bytes:
            return (
                f"it used {resident / 1e9:.1f} GB of memory, more than {self._max_bytes / 1e9:.1f} GB"
                " (SAMEASK_TRAINING_MAX_BYTES)"
            )
        signs = self._folder.signs_of_life()
        if signs != self._signs:
            self._signs = signs
            self._heard_at = monotonic()
        if monotonic() - self._heard_at > self._silence_seconds:
            return f"nothing was heard of it for {self._silence_seconds:,g} s (SAMEASK_TRAINING_SILENCE_SECONDS)"
        return None

    def _progress(self) -> dict[str, Any] | None:
        progress = self._folder.progress()
        return asdict(progress) if progress else self._run.progress


def _error(why: str | None, last_log: str) -> str | None:
    """The error of a run, with the last lines of its log."""
    lines = "\n".join(last_log.splitlines()[-LOG_LINES:])
    return f"{why}; the end of its log:\n{lines}" if why and lines else why


def _ending(code: int) -> str:
    """In words, how a child with this exit code ended."""
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
