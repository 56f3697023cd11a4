"""Builds everything, hangs it on `app.state`, and closes it: the only room that knows all the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Mount

from app import __version__
from app.background import background_tasks, repeat
from app.data_directory import locked
from app.detector import Detector
from app.door import Door
from app.engine.query import Bounds
from app.errors import InvalidJson, InvalidRequest, SameaskError, UnsupportedBody
from app.fields import sentence
from app.http import (
    collections,
    duplicates,
    embeddings,
    health,
    labels,
    pair_score,
    promises,
    questions,
    releases,
    training_runs,
)
from app.http.access import AskForKey, guarded
from app.http.body_limit import LimitBody
from app.http.browsers import ANSWER_HEADERS, METHODS, REQUEST_HEADERS, SecurityHeaders, names_of
from app.http.dependencies import Reading
from app.http.docs import mount_docs
from app.http.faults import AnswerFaults
from app.http.metrics import MeasureRequests, Metrics
from app.http.openai_clients import TellOpenAiClients
from app.http.paths import PlainPaths
from app.http.problems import FieldProblem, answer, problem
from app.http.starting import WhileStarting
from app.importing import Imports
from app.keys import Keys
from app.leaving import ClientLeft
from app.promises.activity import Activity
from app.promises.promises import Promises
from app.releases.at_start import open_chosen
from app.releases.catalogue import Catalogue
from app.releases.opening import SNAPSHOTS, opener
from app.releases.releases import Releases
from app.settings import Settings
from app.training_runs.on_end import OnEnd
from app.training_runs.queue import TrainingRuns
from app.training_runs.worker import Worker
from app.web.access import KnowVisitors
from app.web.meter import SAMPLE_SECONDS, Meter
from app.web.pages import ServePages, create_pages
from app.web.sessions import Sessions
from app.webhook.delivery import Webhook
from app.webhook.endpoint import Endpoint

DESCRIPTION = """Has this question been asked before?

Questions live in *collections*. `POST /duplicates` finds stored questions that ask the same as new ones;
`POST /pair-score` scores pairs; what people say of a pair with `POST /labels` overrules the model in both. Every
answer is advice: nothing is closed, merged or deleted by itself."""

MAX_STRANGER_BYTES = 64 * 2**10  # of a body whose sender is not known: the form to sign in

P = ParamSpec("P")
T = TypeVar("T")


def create_app(settings: Settings | None = None, *, in_place: bool = False) -> FastAPI:
    """The service as an ASGI app; everything it needs is opened when its lifespan begins.

    `in_place`: it listens nowhere, and whoever calls it can open the data directory anyway, so it asks for no key.
    """
    settings = settings or Settings()
    metrics = Metrics()
    app = FastAPI(
        title="Sameask",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.in_place = in_place
    app.state.is_open = False
    for resource in (
        duplicates,
        pair_score,
        embeddings,
        questions,
        labels,
        collections,
        promises,
        training_runs,
        releases,
        health,
    ):
        app.include_router(resource.router)
    mount_docs(app)
    for kind in (SameaskError, RequestValidationError, HTTPException, ClientLeft):
        app.add_exception_handler(kind, _answer_error)
    _add_middleware(app, settings, metrics, in_place=in_place)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, *, in_place: bool) -> None:
    """Add the layers that each request passes through, from the inside out."""
    app.add_middleware(LimitBody, max_bytes=settings.max_body_bytes)
    if not in_place:
        app.add_middleware(AskForKey)
    app.add_middleware(WhileStarting, root_path=settings.root_path or "")
    if not in_place:
        app.add_middleware(ServePages, pages=_pages(app.state, settings))
    app.add_middleware(AnswerFaults)
    app.add_middleware(TellOpenAiClients, root_path=settings.root_path or "")
    if settings.cors_origins:  # a browser asks first whether it may ask, without a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=names_of(settings.cors_origins),
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasureRequests, metrics=metrics)
    app.add_middleware(PlainPaths, root_path=settings.root_path or "")


def _pages(state: State, settings: Settings) -> FastAPI:
    """The pages, behind a door of their own."""
    pages = create_pages(state)
    pages.add_middleware(LimitBody, max_bytes=settings.max_body_bytes)
    pages.add_middleware(
        KnowVisitors,
        for_strangers=partial(LimitBody, max_bytes=MAX_STRANGER_BYTES, limit="before signing in"),
    )
    return pages


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open data directory, store and release; while they are open, `app.state.detector` answers, and
    `app.state.webhook` tells of it."""
    settings: Settings = app.state.settings
    routes = guarded(app.routes)
    with locked(settings.data_dir, settings.store_url) as store:
        if not app.state.in_place:
            keys = Keys(store, settings.host, settings.admin_key_file)
            app.state.guarded_routes = routes
            app.state.door = Door(keys, names_of(settings.allowed_hosts))
            app.state.sessions = Sessions(store)
        app.state.webhook = Webhook(store, _receiver(settings))
        catalogue = Catalogue(settings.release, settings.releases_folder, settings.former_releases)
        open_release = opener(settings, store)
        is_server = not app.state.in_place
        if is_server:  # it answers /livez while the models are loaded
            live = await asyncio.to_thread(
                open_chosen, catalogue, store, open_release, is_server=True
            )
        else:
            live = open_chosen(catalogue, store, open_release, is_server=False)
        app.state.detector = detector = Detector(
            store,
            live,
            max_waiting_writes=settings.max_waiting_writes,
            bounds=_bounds(settings),
        )
        app.state.reading = Reading(store, detector)
        app.state.activity = Activity(store, remembers=settings.remember_asked)
        app.state.promises = Promises(store, detector, app.state.activity)
        del live  # whoever holds it would keep its memory after it was replaced
        app.state.releases = Releases(
            detector,
            store,
            catalogue,
            open_release,
            snapshot_dir=settings.data_dir / SNAPSHOTS,
            promises=app.state.promises,
            keep=settings.keep_releases,
            diff_questions=settings.diff_questions,
            tells=bool(settings.webhook_url),
            agrees=is_server,
        )

        def champion() -> Path:
            return detector.live.release.path

        app.state.training_runs = TrainingRuns(store, settings, champion)
        app.state.imports = imports = Imports(detector, settings)
        app.state.began = monotonic()
        app.state.meter = Meter(app.state.metrics.registry, lambda: app.state.activity.verdicts)
        worker = Worker(
            store,
            settings,
            works=settings.training_worker and not app.state.in_place,
            champion=champion,
            near_pairs=_from_a_thread(detector.near_pairs),
            on_end=OnEnd(
                app.state.webhook, app.state.releases, auto_promote=settings.auto_promote
            ).run_ended,
        )
        async with (
            app.state.webhook.running(),
            detector.running(),
            app.state.promises.running(),
            app.state.releases.running(),
            worker.running(),
            background_tasks(
                repeat(app.state.meter.sample, SAMPLE_SECONDS, "the meter of the pages failed")
            ),
        ):
            if not app.state.in_place:
                await app.state.releases.open_newly_shipped()
            app.state.is_open = True
            try:
                yield
            finally:
                app.state.is_open = False
                await imports.close()


def _from_a_thread(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A coroutine function of this event loop, to be called in a thread, which waits for the answer."""
    loop = asyncio.get_running_loop()
    return lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(
        function(*args, **kwargs), loop
    ).result()


def _bounds(settings: Settings) -> Bounds:
    """The bounds on the cost of one request."""
    return Bounds(
        settings.verify_depth, settings.max_answer_bytes, max_tokens=settings.max_request_tokens
    )


def _receiver(settings: Settings) -> Endpoint | None:
    """The endpoint for events, if one is set. Raises WebhookRefused."""
    if not settings.webhook_url:
        return None
    return Endpoint(
        settings.webhook_url,
        settings.webhook_secret_file,
        settings.webhook_allowed_hosts,
        settings.webhook_allow_private,
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    """The one place where an error becomes a response: always a problem document."""
    match error:
        case InvalidRequest():
            fields = [FieldProblem(field=e.field, detail=e.detail) for e in error.errors]
            return problem(
                error.status, error.title, "the request breaks a rule; nothing was done", fields
            )
        case SameaskError():
            return answer(error)
        case RequestValidationError():
            return _answer_validation(request, error)
        case HTTPException(status_code=400, __cause__=ValueError() | RecursionError()):
            return _answer_no_json(request)  # bytes, depth or digits past all reading
        case HTTPException():
            headers = dict(error.headers or {})
            if error.status_code == 405:
                headers["Allow"] = ", ".join(sorted(_methods(request)))
            return problem(error.status_code, error.detail, error.detail, headers=headers)
        case ClientLeft():
            return Response(status_code=499)  # nobody reads it; it is what logs and metrics show
        case _:
            raise error


def _answer_no_json(request: Request) -> Response:
    """A body that the JSON parser can't read: compressed, or no JSON at all."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        return answer(UnsupportedBody("the body must not be compressed (`Content-Encoding`)"))
    return answer(InvalidJson())


def _answer_validation(request: Request, error: RequestValidationError) -> Response:
    """The errors that pydantic or the JSON parser found, without the values found, which may be texts."""
    if any(details["type"] == "json_invalid" for details in error.errors()):
        return _answer_no_json(request)
    fields: list[FieldProblem] = []
    for details in error.errors():
        place = details["loc"][1:] or details["loc"]
        field = ".".join(str(part)[:100] for part in place)
        fields.append(FieldProblem(field=field, detail=sentence(details)))
    return problem(
        InvalidRequest.status,
        InvalidRequest.title,
        "the request breaks a rule; nothing was done",
        fields,
    )


def _methods(request: Request) -> set[str]:
    """Every method that some route has for this path; a router alone names only its first match's."""
    scope = {
        "type": "http",
        "path": request.scope["path"],
        # inside a mount, starlette keeps the app's own path under another name
        "root_path": request.scope.get("app_root_path", request.scope["root_path"]),
        "headers": [],
        "app": request.app,
    }
    methods: set[str] = set()
    for route in request.app.routes:
        for method in ("GET",) if isinstance(route, Mount) else METHODS:
            if route.matches({**scope, "method": method})[0] is Match.FULL:
                methods.add(method)
    if "GET" in methods:
        methods.add("HEAD")
    return methods
