"""`/admin/retrain` and `/admin/training-runs`: labels become a release."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sameask_client.following import Stream
from sameask_client.operation import Listing, Operation, get, post

Recipe = Literal["calibration", "classifier", "encoder", "both"]
TargetPrecision = Literal["0.90", "0.95", "0.98", "0.99"]

RUNS = "/admin/training-runs"
OVER = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """The progress of a run, as far as it is known."""

    phase: str
    step: int | None
    steps: int | None
    loss: float | None
    eta_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A training run. `champion`: the release to beat. `gate`: how the new one compares, once that is known.

    `state`: `queued`, `running`, `succeeded`, `failed`, `cancelled` or `interrupted`; the last four are over.
    """

    id: int
    collection: str
    state: str
    cancelling: bool
    recipe: Recipe
    data_set: str | None
    target_precision: TargetPrecision
    champion: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: TrainingProgress | None
    log: str
    release: str | None
    gate: Mapping[str, Any] | None
    error: str | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.state in OVER


def start_training(
    *,
    collection: str = "default",
    recipe: Recipe = "both",
    data_set: str | None = None,
    target_precision: TargetPrecision = "0.90",
) -> Operation[TrainingRun]:
    """Queue a training run with a collection's labels. It is never sent twice."""
    fields = {
        "collection": collection,
        "recipe": recipe,
        "data_set": data_set,
        "target_precision": target_precision,
    }
    return post(TrainingRun, "/admin/retrain", fields, is_repeatable=False)


def list_training_runs(*, page_size: int | None = None) -> Listing[TrainingRun]:
    """Training runs, the latest first, a page at a time."""
    return Listing(RUNS, "training_runs", TrainingRun, {"limit": page_size})


def read_training_run(id: int) -> Operation[TrainingRun]:  # noqa: A002
    """Read one training run."""
    return get(TrainingRun, f"{RUNS}/{id:d}")


def follow_training_run(id: int) -> Stream[TrainingRun]:  # noqa: A002
    """A training run as it is now, and again whenever something has changed, until it is over."""
    return Stream(f"{RUNS}/{id:d}/events", TrainingRun, _is_over)


def cancel_training_run(id: int) -> Operation[TrainingRun]:  # noqa: A002
    """Cancel a training run; one that runs stops within 10 s."""
    return post(TrainingRun, f"{RUNS}/{id:d}/cancel", None, is_repeatable=False)


def resume_training_run(id: int) -> Operation[TrainingRun]:  # noqa: A002
    """Queue a failed or interrupted run again; it goes on from its last checkpoint."""
    return post(TrainingRun, f"{RUNS}/{id:d}/resume", None, is_repeatable=False)


def _is_over(training_run: TrainingRun) -> bool:
    return training_run.is_over
