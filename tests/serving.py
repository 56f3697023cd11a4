"""What tests of the running service share: its detector, a model that can be held or broken, a real socket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.detector import Detector
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.http.connections import limited
from app.settings import Settings

PATIENCE_SECONDS = 60

PROBLEM = "application/problem+json"

SAME_WORDS = {"code": "same_words", "sentence": "the same words", "spans1": [], "spans2": []}


def app_of(client: TestClient) -> FastAPI:
    """The app behind a client."""
    return cast(FastAPI, client.app)


def detector_of(client: TestClient) -> Detector:
    """The detector of the running app behind a client."""
    return cast(Detector, app_of(client).state.detector)


def write(client: TestClient, collection: str = "default", /, **texts: str) -> dict[str, Any]:
    """Upsert questions by id, and return the answer."""
    questions = [{"id": id_, "text": text} for id_, text in texts.items()]
    response = client.post("/questions", json={"collection": collection, "questions": questions})
    assert response.status_code == 200, response.text
    return cast(dict[str, Any], response.json())


def ask(client: TestClient, *questions: str, **fields: object) -> dict[str, Any]:
    """The answer of POST /duplicates."""
    response = client.post("/duplicates", json={"questions": questions, **fields})
    assert response.status_code == 200, response.text
    return cast(dict[str, Any], response.json())


def revision(client: TestClient, collection: str = "default") -> int:
    """The revision of a collection."""
    return int(client.get(f"/collections/{collection}").json()["revision"])


def wait_until(condition: Callable[[], bool], patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Return when the condition holds; fail when it does not for so long."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


class Model:
    """Stands before every encoder's forward pass: notes its texts, and waits or fails when told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failing = False
        self.marker: str | None = None
        self.reached = threading.Event()
        self.opened = threading.Event()

    def hold(self, marker: str) -> None:
        """Stop at a batch with a text that holds the marker, until `release`."""
        self.marker = marker

    def release(self) -> None:
        """Let everything pass from now on."""
        self.opened.set()

    def pass_by(self, batch: Sequence[Tokens]) -> None:
        """What happens before the real model sees a batch."""
        self.seen.extend(tokens.text for tokens in batch)
        if self.marker and any(self.marker in tokens.text for tokens in batch):
            self.reached.set()
            assert self.opened.wait(PATIENCE_SECONDS)
        if self.failing:
            raise RuntimeError("the model is broken")


@contextmanager
def watched_model() -> Iterator[Model]:
    """Every encoder's real forward pass, behind a `Model`; left in order, whatever happens inside."""
    model = Model()
    forward = Encoder.encode_tokens

    def encode_tokens(encoder: Encoder, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        model.pass_by(batch)
        return forward(encoder, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "encode_tokens", encode_tokens)
        try:
            yield model
        finally:
            model.release()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app behind a real server on a free port of this machine, ready; yields its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            http=limited(getattr(app.state, "settings", Settings())),
            ws="none",
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        host, port = listening.getsockname()
        wait_until(
            lambda: (
                httpx.get(f"http://{host}:{port}/readyz", timeout=PATIENCE_SECONDS).status_code
                != 503
            )
        )  # 404: an app of another kind
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
