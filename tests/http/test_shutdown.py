"""A server that ends while requests are in flight: each gets an answer, and none a failure for what was committed."""

import asyncio
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.detector import Detector
from app.engine.release import Release
from app.http import labels
from app.main import create_app
from app.releases import releases
from app.releases.history import History
from app.releases.shadows import Shadows
from app.releases.swap import Shadow
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.promises.corpus import questions
from tests.serving import PATIENCE_SECONDS, PROBLEM, wait_until, watched_model

HELD = "Is this one held?"


@contextmanager
def _ending(app: FastAPI) -> Iterator[tuple[uvicorn.Server, str]]:
    """A server that does not wait long for those it answers, once it is told to end."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    host, port = listening.getsockname()
    url = f"http://{host}:{port}"
    try:
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=60).status_code == 200)
        yield server, url
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.data_directory
def test_who_asks_gets_a_problem_and_who_wrote_the_revision(settings: Settings) -> None:
    app = create_app(settings)
    writing = {"questions": [{"id": "a", "text": HELD}]}
    asking = {"questions": ["Another?"]}
    with watched_model() as model, _ending(app) as (server, url), ThreadPoolExecutor(2) as pool:
        model.hold(HELD)
        try:
            write = pool.submit(httpx.post, f"{url}/questions", json=writing, timeout=60)
            assert model.reached.wait(PATIENCE_SECONDS)
            ask = pool.submit(httpx.post, f"{url}/duplicates", json=asking, timeout=60)
            wait_until(lambda: app.state.detector.live.models.batcher.waiting == 1)
            server.should_exit = True
            asked, written = ask.result(), write.result()
        finally:
            model.release()
    assert (asked.status_code, asked.headers["content-type"]) == (503, PROBLEM)
    assert "shutting down" in asked.json()["detail"]
    assert (written.status_code, written.json()["revision"]) == (200, 1)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        answer = client.post("/duplicates", json={"questions": [f"{HELD} Again?"]}).json()
        assert answer["results"][0]["candidates"][0]["id"] == "a"


@asynccontextmanager
async def _asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client in the event loop of the app, which is ready: its requests can be cancelled as a server's are."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://127.0.0.1", transport=transport) as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        yield client


def _hold(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> tuple[threading.Event, threading.Event]:
    """Have a function wait before it begins. Set when it does so, and to be set so that it goes on."""
    reached, goes_on = threading.Event(), threading.Event()
    function = getattr(place, name)

    def held(*args: Any) -> Any:
        reached.set()
        assert goes_on.wait(PATIENCE_SECONDS)
        return function(*args)

    async def held_in_loop(*args: Any) -> Any:
        reached.set()
        assert await asyncio.to_thread(goes_on.wait, PATIENCE_SECONDS)
        return await function(*args)

    is_of_loop = asyncio.iscoroutinefunction(function)
    monkeypatch.setattr(place, name, held_in_loop if is_of_loop else held)
    return reached, goes_on


async def _cancelled(
    request: Awaitable[httpx.Response], reached: threading.Event
) -> "asyncio.Task[httpx.Response]":
    """The request, under way, and cancelled by the server's end after it had got there."""
    task = asyncio.ensure_future(request)
    assert await asyncio.to_thread(reached.wait, PATIENCE_SECONDS)
    task.cancel()
    await asyncio.sleep(0.05)
    return task


LABEL = {"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}
WIDE = {"release": "wide"}
AFTER_A_WRITE = [
    (
        "POST /questions",
        {"questions": [{"id": "a", "text": "One?"}]},
        (Detector, "reading_of"),
        200,
    ),
    ("DELETE /labels/1?by=anna", None, (labels, "_documents"), 200),
    ("PUT /admin/releases/live", WIDE, (History, "latest"), 202),
    ("PUT /admin/releases/shadow", WIDE, (Shadows, "progress"), 202),
    ("DELETE /admin/releases/shadow", None, (Shadow, "end"), 204),
    ("DELETE /admin/releases/wide", None, (releases, "remove_indexes"), 204),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "body", "held", "status"), AFTER_A_WRITE, ids=[asked for asked, *_ in AFTER_A_WRITE]
)
async def test_what_was_done_is_acknowledged_although_the_server_ends_before_the_answer_is_made(
    settings: Settings,
    wide_release: Release,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    body: object,
    held: tuple[Any, str],
    status: int,
) -> None:
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    method, _, path = asked.partition(" ")
    async with _asking(create_app(settings)) as client:
        await client.post("/labels", json={"labels": [LABEL]})
        if asked == "DELETE /admin/releases/shadow":
            await client.put("/admin/releases/shadow", json=WIDE)
        reached, goes_on = _hold(monkeypatch, *held)
        task = await _cancelled(client.request(method, path, json=body), reached)
        goes_on.set()
        answer = await task
    assert answer.status_code == status, answer.text


@pytest.mark.anyio
async def test_a_skip_is_acknowledged_although_the_server_ends_before_it_counts(
    settings: Settings,
) -> None:
    app = create_app(settings)
    async with _asking(app) as client:
        stored = [{"id": id_, "text": text} for id_, text in questions(12).items()]
        await client.post("/questions", json={"questions": stored})
        address = "/collections/default/review-queue"
        while not (pairs := (await client.get(f"{address}?by=anna")).json().get("pairs")):
            await asyncio.sleep(0.01)
        key = (await asyncio.to_thread(app.state.detector.store.collections.get, "default")).key
        kept = app.state.promises.kept.get(key)
        written = threading.Event()
        write: Callable[..., Awaitable[Any]] = app.state.detector.write

        async def told(*args: Any) -> Any:
            outcome = await write(*args)
            written.set()
            return outcome

        app.state.detector.write = told
        async with kept.lock:
            body = {"by": "anna", "id": pairs[0]["id"]}
            task = await _cancelled(client.post(f"{address}/skip", json=body), written)
        answer = await task
    assert (answer.status_code, answer.json()["id"]) == (200, pairs[0]["id"])
