"""Before the service is open: alive from the first second, ready for nobody, and nothing half done."""

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

import app.main
from app.cli import serve as serve_command
from app.data_directory import locked
from app.errors import ReleaseRefused
from app.http.starting import STARTING
from app.main import create_app
from app.releases import at_start
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PATIENCE_SECONDS, PROBLEM

UNREADY = {
    "ready": False,
    "failure": STARTING,
    "refused": None,
    "release": None,
    "languages": [],
    "collections": 0,
    "collections_ready": 0,
    "questions": 0,
    "questions_indexed": 0,
    "recall": 1.0,
}


@pytest.fixture
def signals() -> Iterator[None]:
    """Leaves the handlers of signals as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("root_path", [None, "/sameask"])
def test_a_service_that_is_not_open_is_alive_and_not_ready(
    settings: Settings, root_path: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    closed = TestClient(create_app(settings.model_copy(update={"root_path": root_path})))
    assert closed.get("/livez").json() == {"status": "alive"}
    assert closed.get(f"{root_path or ''}/livez/").status_code == 200
    assert (closed.get("/readyz").status_code, closed.get("/readyz").json()) == (503, UNREADY)
    for method, path in (("POST", "/duplicates"), ("GET", "/questions"), ("GET", "/docs")):
        refused = closed.request(method, path)
        assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM)
        assert (refused.json()["detail"], refused.headers["retry-after"]) == (STARTING, "1")
    assert caplog.records == []


def test_a_service_that_has_closed_is_not_ready(settings: Settings) -> None:
    client = TestClient(create_app(settings))
    with client:
        wait_until_ready(client)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").json() == UNREADY


def _server(application: Any) -> tuple[uvicorn.Server, socket.socket, str]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, lifespan="off", access_log=False, log_config=None)
    host, port = listening.getsockname()
    return uvicorn.Server(config), listening, f"http://{host}:{port}"


async def _until(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (response := await client.get(path)).status_code != status:
            await asyncio.sleep(0.01)
        return response


@pytest.mark.usefixtures("signals")
def test_serve_answers_livez_while_the_models_are_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, open_chosen = threading.Event(), at_start.open_chosen

    def wait_and_open(*arguments: Any, **options: Any) -> Any:
        assert may_load.wait(PATIENCE_SECONDS)
        return open_chosen(*arguments, **options)

    monkeypatch.setattr(app.main, "open_chosen", wait_and_open)

    async def start_and_ask() -> None:
        application = create_app(settings)
        server, listening, url = _server(application)
        serving = asyncio.create_task(serve_command._serve(application, server, listening))
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).json() == {"status": "alive"}
            assert (await client.get("/readyz")).json() == UNREADY
            may_load.set()
            assert (await _until(client, "/readyz", 200)).json()["release"] == "tiny"
        server.should_exit = True
        await serving

    asyncio.run(start_and_ask())


@pytest.mark.usefixtures("signals")
def test_a_service_that_can_not_open_stops_answering_and_says_why(
    settings: Settings, tmp_path: Any
) -> None:
    application = create_app(settings.model_copy(update={"release": tmp_path / "nowhere"}))

    async def start() -> None:
        server, listening, _ = _server(application)
        await serve_command._serve(application, server, listening)

    with pytest.raises(ReleaseRefused, match="nowhere"):
        asyncio.run(start())


def test_a_server_started_by_hand_says_in_one_line_why_it_can_not_open(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """As `uvicorn --factory app.main:create_app --workers 2` does: the second can't have the data directory."""

    async def start() -> None:
        config = uvicorn.Config(create_app(settings), log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(SystemExit):
            await server.serve(sockets=[listening])

    with locked(settings.data_dir, settings.store_url), caplog.at_level("ERROR", "uvicorn.error"):
        asyncio.run(start())
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said[0] == (
        f"sameask: the data directory {settings.data_dir} is in use by another process; if it is a server, use --url"
    )
    assert "Traceback" not in "\n".join(said)
