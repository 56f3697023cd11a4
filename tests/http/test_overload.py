"""A full queue says no at the door, whoever left costs nothing, and all others get their right answers."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.tokens import Tokens
from app.main import create_app
from app.settings import Settings
from tests.backend import WITHIN
from tests.conftest import publish_release, wait_until_ready
from tests.serving import (
    PATIENCE_SECONDS,
    PROBLEM,
    Model,
    app_of,
    ask,
    detector_of,
    revision,
    served,
    wait_until,
    watched_model,
    write,
)
from tests.tiny_model import build_tiny_classifier

HELD = "Is this one held?"
STORED = {"a": "Can I cancel my order?", "b": "What is the capital of France?"}


class Crowd:
    """A service whose model is held, and clients that wait for it."""

    def __init__(self, client: TestClient, model: Model, pool: ThreadPoolExecutor) -> None:
        self.client = client
        self.model = model
        self._pool = pool

    @property
    def waiting(self) -> int:
        """Texts admitted and not yet answered."""
        return detector_of(self.client).live.models.batcher.waiting

    def post(self, path: str, body: object) -> "Future[Any]":
        """The answer to come."""
        return self._pool.submit(self.client.post, path, json=body)

    def find(self, *questions: str) -> "Future[Any]":
        """The answer to come, once the questions wait for the model."""
        before = self.waiting
        answer = self.post("/duplicates", {"questions": questions})
        wait_until(lambda: self.waiting == before + len(questions) or answer.done())
        return answer


@contextmanager
def _crowd(settings: Settings) -> Iterator[Crowd]:
    """Two questions are stored, and the model stands still at `HELD`."""
    with (
        TestClient(create_app(settings)) as client,
        ThreadPoolExecutor(16) as pool,
        watched_model() as model,
    ):
        wait_until_ready(client)
        write(client, **STORED)
        model.seen.clear()
        model.hold(HELD)
        yield Crowd(client, model, pool)


@pytest.fixture
def crowd(settings: Settings) -> Iterator[Crowd]:
    """A service with room for 4 texts and 2 writes, one of the texts in the model, which is held."""
    limits = {"max_waiting_texts": 4, "max_questions": 4, "max_pairs": 2, "max_waiting_writes": 2}
    with _crowd(settings.model_copy(update=limits)) as crowd:
        crowd.find(HELD)
        assert crowd.model.reached.wait(PATIENCE_SECONDS)
        yield crowd


def _assert_refused(response: Any, detail: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (429, PROBLEM)
    assert response.json()["title"] == "Too many requests"
    assert response.json()["detail"].startswith(detail)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


def _gauge(client: TestClient, name: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return next(
        sample.value for family in families for sample in family.samples if sample.name == name
    )


def test_texts_past_the_limit_are_refused_with_a_time_to_retry(crowd: Crowd) -> None:
    crowd.find("One?", "Two?", "Three?")
    pair = {"pairs": [{"question1": "Four?", "question2": "Five?"}]}
    full = "4 of at most 4 texts are waiting"
    _assert_refused(crowd.post("/duplicates", {"questions": ["Four?"]}).result(), full)
    _assert_refused(crowd.post("/pair-score", pair).result(), full)


def test_pairs_past_the_limit_are_counted_and_refused_as_pairs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = build_tiny_classifier(tiny_model, tmp_path / "classifier", 1)
    release = publish_release(tmp_path / "release", tiny_model, 32, classifier=classifier)
    limits: dict[str, Any] = {
        "max_waiting_pairs": 2,
        "max_pairs": 2,
        "max_questions": 2,
        "verify_depth": 1,
    }
    settings = Settings(data_dir=tmp_path / "data", release=release.path, device="cpu", **limits)
    score_tokens = PairClassifier.score_tokens
    opened = threading.Event()

    def wait_and_score(classifier: PairClassifier, batch: Sequence[Tokens]) -> Any:
        assert opened.wait(PATIENCE_SECONDS)
        return score_tokens(classifier, batch)

    pairs = [{"question1": f"Number {n}?", "question2": f"Is it {n}?"} for n in range(2)]
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(1) as pool:
        wait_until_ready(client)
        monkeypatch.setattr(PairClassifier, "score_tokens", wait_and_score)
        try:
            first = pool.submit(client.post, "/pair-score", json={"pairs": pairs})
            wait_until(lambda: _gauge(client, "sameask_pairs_waiting") == 2 or first.done())
            assert _gauge(client, "sameask_pair_classifier_busy_seconds") > 0
            full = "2 of at most 2 pairs are waiting"
            _assert_refused(client.post("/pair-score", json={"pairs": pairs[:1]}), full)
        finally:
            opened.set()
        assert first.result().status_code == 200
        assert _gauge(client, "sameask_pairs_waiting") == 0


def test_a_request_that_fits_in_part_is_refused_whole(crowd: Crowd) -> None:
    crowd.find("One?", "Two?")
    _assert_refused(
        crowd.post("/duplicates", {"questions": ["Three?", "Four?"]}).result(), "3 of at most 4"
    )
    last = crowd.find("Three?")
    crowd.model.release()
    assert last.result().json()["results"][0]["question"] == "Three?"


def test_a_refused_text_never_reaches_the_model(crowd: Crowd) -> None:
    waiting = crowd.find("One?", "Two?", "Three?")
    assert crowd.post("/duplicates", {"questions": ["Four?"]}).result().status_code == 429
    crowd.model.release()
    assert waiting.result().status_code == 200
    assert sorted(crowd.model.seen) == sorted([HELD, "One?", "Two?", "Three?"])


def test_livez_and_metrics_answer_while_the_queue_is_full(crowd: Crowd) -> None:
    crowd.find("One?", "Two?", "Three?")
    assert crowd.client.get("/livez").json() == {"status": "alive"}
    assert crowd.client.get("/readyz").status_code == 200
    assert _gauge(crowd.client, "sameask_texts_waiting") == 4
    assert _gauge(crowd.client, "sameask_model_busy_seconds") > 0


def test_after_the_rush_everybody_has_the_right_answer(crowd: Crowd, tiny_encoder: Encoder) -> None:
    asked = ["Can I cancel an order?", "Is Paris the capital?", "Zyx?"]
    answers = [crowd.find(text) for text in asked]
    assert crowd.post("/duplicates", {"questions": ["Four?"]}).result().status_code == 429
    crowd.model.release()
    stored = tiny_encoder.encode(list(STORED.values()))
    for text, vector, answer in zip(asked, tiny_encoder.encode(asked), answers, strict=True):
        result = answer.result().json()["results"][0]
        similarities = {
            candidate["id"]: candidate["similarity"] for candidate in result["candidates"]
        }
        assert result["question"] == text
        assert similarities == pytest.approx(
            dict(zip(STORED, (stored @ vector).tolist(), strict=True)), abs=WITHIN
        )


def test_there_is_room_again_after_the_rush(crowd: Crowd) -> None:
    waiting = crowd.find("One?", "Two?", "Three?")
    crowd.model.release()
    assert waiting.result().status_code == 200
    assert [r["question"] for r in ask(crowd.client, "1?", "2?", "3?", "4?")["results"]] == [
        "1?",
        "2?",
        "3?",
        "4?",
    ]
    assert _gauge(crowd.client, "sameask_texts_waiting") == 0


def test_what_a_client_who_left_asked_is_dropped_before_the_model(crowd: Crowd) -> None:
    body = json.dumps({"questions": ["Left one?", "Left two?"]}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    left, sent = asyncio.Event(), []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/duplicates",
        "headers": headers,
        "query_string": b"",
    }
    portal = crowd.client.portal
    assert portal is not None
    request = portal.start_task_soon(app_of(crowd.client), scope, receive, send)
    wait_until(lambda: crowd.waiting == 3)
    portal.call(left.set)
    request.result(PATIENCE_SECONDS)
    assert crowd.waiting == 1
    stayed = crowd.find("Stayed?")
    crowd.model.release()
    assert stayed.result().json()["results"][0]["question"] == "Stayed?"
    assert crowd.model.seen == [HELD, "Stayed?"]
    assert sent[0]["status"] == 499


def test_a_connection_that_closes_takes_its_texts_along(settings: Settings) -> None:
    app = create_app(settings)
    with served(app) as url, watched_model() as model:
        model.hold(HELD)
        with _asking(url, HELD) as held:
            assert model.reached.wait(PATIENCE_SECONDS)
            batcher = app.state.detector.live.models.batcher
            with _asking(url, "Left one?", "Left two?"):
                wait_until(lambda: batcher.waiting == 3)
            wait_until(lambda: batcher.waiting == 1)
            with _asking(url, "Stayed?") as stayed:
                wait_until(lambda: batcher.waiting == 2)
                model.release()
                assert [c.recv(2**16)[:15] for c in (held, stayed)] == 2 * [b"HTTP/1.1 200 OK"]
        assert model.seen[-2:] == [HELD, "Stayed?"]
        assert not {"Left one?", "Left two?"} & set(model.seen)


@pytest.mark.data_directory
def test_writes_past_the_limit_are_refused_and_not_done(crowd: Crowd) -> None:
    def written(id_: str) -> "Future[Any]":
        return crowd.post("/questions", {"questions": [{"id": id_, "text": f"What is {id_}?"}]})

    admitted = [written("first"), written("second")]
    wait_until(lambda: revision(crowd.client) == 4)
    _assert_refused(written("third").result(), "2 writes are under way, the most that may be")
    _assert_refused(crowd.client.put("/collections/other"), "2 writes are under way")
    _assert_refused(crowd.client.delete("/questions/a"), "2 writes are under way")
    crowd.model.release()
    assert [answer.result().json()["added"] for answer in admitted] == [1, 1]
    assert [q["id"] for q in crowd.client.get("/questions").json()["questions"]] == [
        "a",
        "b",
        "first",
        "second",
    ]
    assert (revision(crowd.client), crowd.client.get("/collections/other").status_code) == (4, 404)
    assert written("third").result().json()["revision"] == 5


@pytest.mark.data_directory
def test_writes_do_not_take_the_room_of_questions(crowd: Crowd) -> None:
    writing = crowd.post(
        "/questions", {"questions": [{"id": str(n), "text": f"Number {n}?"} for n in range(10)]}
    )
    wait_until(lambda: revision(crowd.client) == 12)
    asked = crowd.find("One?", "Two?", "Three?")
    assert crowd.waiting == 4
    crowd.model.release()
    assert (asked.result().status_code, writing.result().json()["added"]) == (200, 10)


def _asking(url: str, *questions: str) -> socket.socket:
    """A connection on which these questions were asked."""
    address = urlsplit(url)
    body = json.dumps({"questions": questions})
    head = [
        "POST /duplicates HTTP/1.1",
        "Host: [::1]",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    connection = socket.create_connection(
        (address.hostname, address.port), timeout=PATIENCE_SECONDS
    )
    connection.sendall("\r\n".join([*head, "", body]).encode())
    return connection
