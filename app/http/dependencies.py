"""What endpoints ask for, as types: an endpoint's signature reads as a sentence."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Query, Request, Response

from app.detector import Detector, Phases
from app.http.fields import CollectionName
from app.releases.releases import Releases
from app.settings import Settings
from app.training_runs.queue import TrainingRuns

T = TypeVar("T")


class ClientLeft(Exception):
    """The client closed the connection; its work was cancelled."""


# They wait for nothing, yet are coroutines: FastAPI calls any other function in a thread, and waits for that.


async def _detector(request: Request) -> Detector:
    return cast(Detector, request.app.state.detector)


async def _releases(request: Request) -> Releases:
    return cast(Releases, request.app.state.releases)


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


async def _training_runs(request: Request) -> TrainingRuns:
    return cast(TrainingRuns, request.app.state.training_runs)


TheDetector = Annotated[Detector, Depends(_detector)]
TheReleases = Annotated[Releases, Depends(_releases)]
TheSettings = Annotated[Settings, Depends(_settings)]
TheTrainingRuns = Annotated[TrainingRuns, Depends(_training_runs)]
InCollection = Annotated[CollectionName, Query(description="The collection; unknown ones are 404.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Limit = Annotated[
    int | None,
    Query(ge=1, description="Items on the page; if not said, 100, or as many as there may be."),
]


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, unless the client leaves first: then it is cancelled, and what waits for the model is dropped."""
    working = asyncio.current_task()
    assert working
    left = over = False

    def leave(_: object) -> None:
        nonlocal left
        if not over:  # the two may end in one turn of the loop
            left = True
            working.cancel()

    leaving = asyncio.create_task(_disconnected(request))
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and not working.uncancel():  # nobody else cancelled it too
            raise ClientLeft from None
        raise
    finally:
        over = True
        leaving.cancel()


def report(response: Response, phases: Phases) -> None:
    """Say in a Server-Timing header how long each phase took, in milliseconds."""
    response.headers["Server-Timing"] = ", ".join(
        f"{phase};dur={seconds * 1000:.2f}" for phase, seconds in phases.seconds.items()
    )


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
