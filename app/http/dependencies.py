"""The dependencies of endpoints, as types: an endpoint's signature reads as a sentence."""

from collections.abc import Callable, Mapping
from typing import Annotated, ParamSpec, TypeVar, cast

from fastapi import Depends, Query, Request, Response

from app.detector import Detector
from app.engine.store import Store
from app.errors import FieldError, InvalidRequest, SpeaksForItself
from app.fields import CollectionName
from app.keys import Caller
from app.promises.activity import Activity
from app.promises.promises import Promises
from app.releases.releases import Releases
from app.scopes import KeyScope
from app.settings import Settings
from app.training_runs.queue import TrainingRuns

P = ParamSpec("P")
T = TypeVar("T")


class Reading:
    """The room in front of the store: `await reading(store.labels.page, "default", 0, 10)` reads in the detector's
    threads for reading, so that neither the event loop nor those who ask wait for it."""

    def __init__(self, store: Store, detector: Detector) -> None:
        self.store = store
        self._detector = detector

    async def __call__(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `read`, or its error."""
        return await self._detector.read(read, *args, **kwargs)


# They wait for nothing, yet are coroutines: FastAPI calls any other function in a thread, and waits for that.


async def _detector(request: Request) -> Detector:
    return cast(Detector, request.app.state.detector)


async def _reading(request: Request) -> Reading:
    return cast(Reading, request.app.state.reading)


async def _promises(request: Request) -> Promises:
    return cast(Promises, request.app.state.promises)


async def _activity(request: Request) -> Activity:
    return cast(Activity, request.app.state.activity)


async def _releases(request: Request) -> Releases:
    return cast(Releases, request.app.state.releases)


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


async def _training_runs(request: Request) -> TrainingRuns:
    return cast(TrainingRuns, request.app.state.training_runs)


TheDetector = Annotated[Detector, Depends(_detector)]
ThePromises = Annotated[Promises, Depends(_promises)]
TheActivity = Annotated[Activity, Depends(_activity)]
TheReading = Annotated[Reading, Depends(_reading)]
TheReleases = Annotated[Releases, Depends(_releases)]
TheSettings = Annotated[Settings, Depends(_settings)]
TheTrainingRuns = Annotated[TrainingRuns, Depends(_training_runs)]
InCollection = Annotated[CollectionName, Query(description="The collection; unknown ones are 404.")]


class Speaker:
    """In whose name a request says something: a key's own, and others' where the key may speak for them."""

    def __init__(self, caller: Caller | None) -> None:
        self.speaks_for_others = caller is None or caller.speaks_for_others
        self._own = caller.name if caller else ""

    def name(self, field: str, given: str | None) -> str:
        """The name; `given` is what the field says. Raises InvalidRequest, SpeaksForItself."""
        name = given or self._own
        if not name:
            raise InvalidRequest(FieldError(field, "is missing, and the key has no name"))
        if name != self._own and not self.speaks_for_others:
            raise SpeaksForItself(self._own, name)
        return name


async def _speaker(request: Request) -> Speaker:
    return Speaker(getattr(request.state, "caller", None))


TheSpeaker = Annotated[Speaker, Depends(_speaker)]


def may_see_names(request: Request) -> bool:
    """Whether the answer may name those who label: not to a key that is for asking alone."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller is None or KeyScope.READ in caller.scopes


def outer_path(request: Request) -> str:
    """The part of the path under which a proxy makes the service known; empty where there is none."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def report(response: Response, seconds: Mapping[str, float]) -> None:
    """Say in a Server-Timing header how long each phase took, in milliseconds."""
    response.headers["Server-Timing"] = ", ".join(
        f"{phase};dur={taken * 1000:.2f}" for phase, taken in seconds.items()
    )
