"""`/admin/retrain` and `/admin/training-runs`: labels become a release, under an administrator's eyes."""

from collections.abc import AsyncIterable
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, ConfigDict, Field

from app.errors import (
    CollectionNotFound,
    DataDamaged,
    NothingToLearn,
    StorageFull,
    TrainingRunning,
    TrainingRunNotFound,
    WrongRunState,
)
from app.fields import MAX_NUMBER, CollectionName
from app.http.access import is_still_let_in
from app.http.bodies import Body, counted
from app.http.dependencies import TheSettings, TheTrainingRuns, outer_path
from app.http.paging import ThePage
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.settings import TargetPrecision
from app.training_runs.queue import RecipeName, State
from app.training_runs.queue import TrainingRun as Run

router = APIRouter(route_class=StrictRoute, prefix="/admin", tags=["training"])

ThisRun = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The training run's id.")]


class Retraining(Body):
    """What a run is to learn from, and which part of the release it trains."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"collection": "default", "recipe": "both", "target_precision": "0.90"}]
        },
    )

    collection: CollectionName = "default"
    recipe: Annotated[
        RecipeName,
        Field(
            description="`calibration` fits probabilities and thresholds to the labels, and trains no model;"
            " `classifier` trains the pair classifier, `encoder` the bi-encoder, `both` the two."
        ),
    ] = "both"
    data_set: Annotated[
        str | None,
        Field(max_length=255, description="A data set that this server allows, beside the labels."),
    ] = None
    target_precision: Annotated[
        TargetPrecision,
        Field(description="Precision at which the recall of both releases is compared."),
    ] = "0.90"


class Progress(BaseModel):
    """The progress of a run, as far as it is known."""

    phase: str = Field(description="`preparing`, `training`, `measuring` or `gate`.")
    step: int | None
    steps: int | None
    loss: float | None
    eta_seconds: float | None


class TrainingRun(BaseModel):
    """A training run."""

    id: int
    collection: str
    state: State
    cancelling: bool = Field(description="Whether it was cancelled and is being stopped.")
    recipe: RecipeName
    data_set: str | None
    target_precision: TargetPrecision
    champion: str = Field(description="The release that the new one has to beat.")
    created_at: str
    started_at: str | None
    ended_at: str | None
    progress: Progress | None
    log: str = Field(description="The end of its log.")
    release: str | None = Field(description="The release that it made.")
    gate: dict[str, Any] | None = Field(
        description="How the release compares with the champion: `outcome` is `passed`, `failed` or"
        " `not enough evidence`; `reasons`, the figures behind them, and whose labels would help most."
    )
    error: str | None = Field(description="Why it has failed or was interrupted.")


class TrainingRunPage(BaseModel):
    """Training runs, the latest first."""

    training_runs: list[TrainingRun]
    next_cursor: str | None


async def _this_run(id: ThisRun, training_runs: TheTrainingRuns) -> Run:  # noqa: A002
    return await training_runs.get(id)


TheRun = Annotated[Run, Depends(_this_run)]


@router.post(
    "/retrain",
    status_code=202,
    response_model=TrainingRun,
    dependencies=[counted()],
    responses=documented(
        CollectionNotFound,
        TrainingRunning,
        NothingToLearn,
        StorageFull,
        also={
            202: {
                "description": "Queued",
                "headers": {
                    "Location": {"description": "Where the run is.", "schema": {"type": "string"}}
                },
            }
        },
    ),
)
async def start_training(
    body: Retraining, request: Request, response: Response, training_runs: TheTrainingRuns
) -> object:
    """Train a new release from the live one with a collection's labels, and measure whether it is better.

    Nothing that is served changes by it. Each collection has one run at a time. Runs wait for one another; each is a
    process of its own, of low priority.
    """
    run = await training_runs.start(
        body.collection, body.recipe, body.data_set, body.target_precision
    )
    response.headers["Location"] = f"{outer_path(request)}/admin/training-runs/{run.id}"
    return _shown(run)


@router.get("/training-runs", response_model=TrainingRunPage, responses=documented())
async def list_training_runs(training_runs: TheTrainingRuns, page: ThePage) -> object:
    """List training runs, the latest first, a page at a time."""
    items = await training_runs.page(limit=page.wanted, before=page.after_number or None)
    runs, next_cursor = page.of(items, lambda run: str(run.id))
    return {"training_runs": [_shown(run) for run in runs], "next_cursor": next_cursor}


@router.get(
    "/training-runs/{id}",
    response_model=TrainingRun,
    responses=documented(TrainingRunNotFound, DataDamaged),
)
async def read_training_run(run: TheRun) -> object:
    """Read one training run: its state, how far it is, and what came of it."""
    return _shown(run)


@router.get(
    "/training-runs/{id}/events",
    response_class=EventSourceResponse,
    responses=documented(TrainingRunNotFound, DataDamaged),
)
async def follow_training_run(
    run: TheRun, request: Request, training_runs: TheTrainingRuns, settings: TheSettings
) -> AsyncIterable[TrainingRun]:
    """Follow a training run by server-sent events: the run as it is now, and again whenever something has changed.

    The stream ends with the run, when the key is revoked, or after SAMEASK_MAX_EVENTS_SECONDS: connect again then, as
    browsers do by themselves.
    """
    states = training_runs.follow(
        run, settings.max_events_seconds, lambda: is_still_let_in(request)
    )
    async for state in states:
        yield TrainingRun.model_validate(_shown(state))


@router.post(
    "/training-runs/{id}/cancel",
    status_code=202,
    response_model=TrainingRun,
    responses=documented(TrainingRunNotFound, WrongRunState, DataDamaged, StorageFull),
)
async def cancel_training_run(id: ThisRun, training_runs: TheTrainingRuns) -> object:  # noqa: A002
    """Cancel a training run: at once if it is queued, within 10 s if it runs. What it did so far is discarded.

    A release that is whole by then stays, and goes live by `force` alone. A run that has failed can't be resumed any
    more. Cancelling it twice changes nothing.
    """
    return _shown(await training_runs.cancel(id))


@router.post(
    "/training-runs/{id}/resume",
    status_code=202,
    response_model=TrainingRun,
    responses=documented(
        TrainingRunNotFound,
        TrainingRunning,
        WrongRunState,
        DataDamaged,
        StorageFull,
    ),
)
async def resume_training_run(id: ThisRun, training_runs: TheTrainingRuns) -> object:  # noqa: A002
    """Queue a run again that has failed or was interrupted.

    It goes on from its last checkpoint, with the labels that it began with.
    """
    return _shown(await training_runs.resume(id))


def _shown(run: Run) -> dict[str, Any]:
    """A run as clients see it: names instead of folders."""
    data_set = run.request["data_set"]
    return {
        **vars(run),
        "recipe": run.request["recipe"],
        "target_precision": run.request["target_precision"],
        "data_set": data_set and PurePath(data_set).name,
        "champion": PurePath(run.request["champion"]).name,
    }
