"""A server that ends while requests are in flight: each gets an answer, and none a failure for what was committed."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
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
