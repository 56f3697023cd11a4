"""`/admin/retrain` and `/admin/training-runs` over HTTP; a stand-in takes the place of the child that trains."""

import functools
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from app import main
from app.data_directory import DATABASE
from app.engine.data import OUT_OF_DOMAIN
from app.engine.store import Store, TrainingRun
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from app.training_runs import queue as training_runs
from app.training_runs import worker as training_worker
from app.training_runs.queue import TrainingRuns
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, served, wait_until
from tests.training_runs.test_worker import STAND_IN, allow, child_of, reached

HOLDER = "the test"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a service that lets training runs wait, and allows two data sets."""
    for name in ("quora", "support"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    (tmp_path / "sets" / "a file").touch()
    (tmp_path / "secret").mkdir()
    return settings.model_copy(update={"training_worker": False, "data_sets": tmp_path / "sets"})


@pytest.fixture
def store(settings: Settings, client: TestClient) -> Iterator[Store]:
    """The store of the service, beside it."""
    label(client, "default")
    with closing(Store(settings.store_url or settings.data_dir / DATABASE, prepare=False)) as store:
        yield store


def label(client: TestClient, collection: str) -> None:
    labels = [{"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}]
    assert (
        client.post("/labels", json={"collection": collection, "labels": labels}).status_code == 200
    )


def retrain(client: TestClient, **body: object) -> dict[str, Any]:
    """Start a run, and return it."""
    response = client.post("/admin/retrain", json=body)
    assert response.status_code == 202, response.text
    run: dict[str, Any] = response.json()
    return run


def assert_problem(response: Any, status: int, title: str, *words: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), (
        response.text
    )
    assert response.json()["title"] == title
    for word in words:
        assert word in response.text


# Starting


def test_retrain_queues_a_run_and_says_where_it_is(
    client: TestClient, store: Store, settings: Settings
) -> None:
    response = client.post("/admin/retrain", json={"recipe": "classifier", "data_set": "quora"})
    assert response.status_code == 202
    assert response.headers["Location"] == "/admin/training-runs/1"
    run = response.json()
    assert {**run, "created_at": ""} == {
        "id": 1,
        "collection": "default",
        "state": "queued",
        "cancelling": False,
        "recipe": "classifier",
        "data_set": "quora",
        "target_precision": "0.90",
        "champion": "tiny",
        "created_at": "",
        "started_at": None,
        "ended_at": None,
        "progress": None,
        "log": "",
        "release": None,
        "gate": None,
        "error": None,
    }
    assert client.get(response.headers["Location"]).json() == run
    assert store.training_runs.get(1).request == {
        "champion": str(settings.release.absolute()),
        "recipe": "classifier",
        "data_set": str(settings.data_sets and settings.data_sets / "quora"),
        "elsewhere": str(OUT_OF_DOMAIN),
        "target_precision": "0.90",
        "margin": 0.005,
        "seed": 20,
    }


@pytest.mark.usefixtures("store")
def test_a_second_run_in_a_collection_is_refused_and_names_the_first(client: TestClient) -> None:
    client.put("/collections/faq")
    label(client, "faq")
    first = retrain(client)
    assert_problem(
        client.post("/admin/retrain", json={}),
        409,
        "Training is running",
        f"training run {first['id']} ",
    )
    assert retrain(client, collection="faq")["state"] == "queued"


def test_without_labels_there_is_nothing_to_learn(client: TestClient) -> None:
    assert_problem(client.post("/admin/retrain", json={}), 409, "Nothing to learn", "POST /labels")
    assert_problem(
        client.post("/admin/retrain", json={"collection": "nowhere"}), 404, "Collection not found"
    )
    assert client.get("/admin/training-runs").json() == {"training_runs": [], "next_cursor": None}


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recipe", "alchemy"),
        ("recipe", None),
        ("target_precision", "0.91"),
        ("target_precision", 0.9),
        ("data_set", "nowhere"),
        ("data_set", "../secret"),
        ("data_set", "a file"),
        ("data_set", "quora/"),
        ("data_set", ""),
        ("data_set", "."),
        ("data_set", "x" * 256),
        ("collection", "NO"),
        ("force", True),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_field(
    client: TestClient, field: str, value: object
) -> None:
    response = client.post("/admin/retrain", json={field: value})
    assert_problem(response, 422, "Invalid request")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert client.get("/admin/training-runs").json()["training_runs"] == []


# Reading


def test_runs_are_listed_page_by_page_from_the_latest(client: TestClient, store: Store) -> None:
    for _ in range(3):
        store.training_runs.cancel(retrain(client)["id"])
    first = client.get("/admin/training-runs", params={"limit": 2}).json()
    assert [run["id"] for run in first["training_runs"]] == [3, 2]
    last = client.get(
        "/admin/training-runs", params={"limit": 2, "cursor": first["next_cursor"]}
    ).json()
    assert ([run["id"] for run in last["training_runs"]], last["next_cursor"]) == ([1], None)
    assert_problem(
        client.get("/admin/training-runs", params={"cursor": "x"}), 422, "Invalid request", "cursor"
    )


def test_a_run_says_what_came_of_it(client: TestClient, store: Store) -> None:
    run_id = retrain(client)["id"]
    store.training_runs.claim(HOLDER, 30)
    progress = {"phase": "gate", "step": 2, "steps": 9, "loss": 0.5, "eta_seconds": 1.5}
    store.training_runs.hold(run_id, HOLDER, 30, progress=progress, log="step 2\n")
    run = client.get(f"/admin/training-runs/{run_id}").json()
    assert (run["state"], run["progress"], run["log"]) == ("running", progress, "step 2\n")
    gate = {
        "outcome": "not enough evidence",
        "reasons": ["40 more"],
        "to_label": [{"id1": "a", "id2": "b"}],
    }
    store.training_runs.end(run_id, HOLDER, "succeeded", release="default-1", gate=gate)
    run = client.get(f"/admin/training-runs/{run_id}").json()
    assert (run["state"], run["release"], run["gate"], run["error"]) == (
        "succeeded",
        "default-1",
        gate,
        None,
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/resume")]
)
def test_a_run_that_is_not_there_is_404(client: TestClient, method: str, path: str) -> None:
    assert_problem(
        client.request(method, f"/admin/training-runs/7{path}"), 404, "Training run not found", "7"
    )
    assert_problem(
        client.request(method, f"/admin/training-runs/x{path}"), 422, "Invalid request", "id"
    )


# Cancelling and resuming


def test_a_run_is_cancelled_and_what_is_over_is_not(client: TestClient, store: Store) -> None:
    run_id = retrain(client)["id"]
    for _ in range(2):
        response = client.post(f"/admin/training-runs/{run_id}/cancel")
        assert (response.status_code, response.json()["state"]) == (202, "cancelled")
    run_id = retrain(client)["id"]
    store.training_runs.claim(HOLDER, 30)
    running = client.post(f"/admin/training-runs/{run_id}/cancel").json()
    assert (running["state"], running["cancelling"]) == ("running", True)
    store.training_runs.end(
        run_id, HOLDER, "succeeded", release="default-2", gate={"outcome": "failed"}
    )
    response = client.post(f"/admin/training-runs/{run_id}/cancel")
    assert_problem(
        response, 409, "Wrong state of the training run", "is succeeded: it can't be cancelled"
    )


def test_a_failed_run_is_resumed_once(client: TestClient, store: Store) -> None:
    run_id = retrain(client)["id"]
    store.training_runs.claim(HOLDER, 30)
    store.training_runs.end(run_id, HOLDER, "failed", error="it broke")
    resumed = client.post(f"/admin/training-runs/{run_id}/resume")
    assert (resumed.status_code, resumed.json()["state"], resumed.json()["error"]) == (
        202,
        "queued",
        None,
    )
    again = client.post(f"/admin/training-runs/{run_id}/resume")
    assert_problem(again, 409, "Wrong state of the training run", "is queued: it can't be resumed")


def test_the_end_of_a_run_is_told_before_it_goes_on(client: TestClient, store: Store) -> None:
    run_id = retrain(client)["id"]
    store.training_runs.claim(HOLDER, 30)
    store.training_runs.end(run_id, HOLDER, "interrupted", error="it died")
    told: list[int] = []

    def tell_late() -> None:
        time.sleep(0.3)
        told.extend(run.id for run in store.training_runs.unannounced())
        store.training_runs.announce(run_id)

    teller = threading.Thread(target=tell_late)
    teller.start()
    assert client.post(f"/admin/training-runs/{run_id}/resume").status_code == 202
    teller.join()
    assert told == [run_id]


# Events


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The data of each event of a stream."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


@pytest.fixture
def at_work(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a service that works on runs, whose children stop in each phase; one label is there."""
    plan = ("phase:training", "wait:trained", "phase:gate", "wait:measured", "result")
    monkeypatch.setattr(
        main, "Worker", functools.partial(training_worker.Worker, command=(*STAND_IN, *plan))
    )
    monkeypatch.setattr(training_worker, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(training_runs, "FOLLOW_SECONDS", 0.02)
    with served(create_app(settings.model_copy(update={"training_worker": True}))) as url:
        labels = [{"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}]
        assert httpx.post(f"{url}/labels", json={"labels": labels}).status_code == 200
        yield url
        _end_all(url)  # what a failed test has left


def _end_all(url: str) -> None:
    def under_way() -> list[int]:
        runs = httpx.get(f"{url}/admin/training-runs").json()["training_runs"]
        return [run["id"] for run in runs if run["ended_at"] is None]

    for run_id in under_way():
        httpx.post(f"{url}/admin/training-runs/{run_id}/cancel")
    wait_until(lambda: not under_way())


def test_a_run_is_followed_to_its_end(at_work: str, settings: Settings) -> None:
    run_id = httpx.post(f"{at_work}/admin/retrain", json={}).json()["id"]
    seen: list[tuple[str, str | None]] = []
    with httpx.stream(
        "GET", f"{at_work}/admin/training-runs/{run_id}/events", timeout=60
    ) as response:
        assert (response.status_code, response.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        for run in events(response.iter_lines()):
            seen.append((run["state"], (run["progress"] or {}).get("phase")))
            if seen[-1] == ("running", "training"):
                allow(settings, run_id, "trained")
            if seen[-1] == ("running", "gate"):
                allow(settings, run_id, "measured")
    changes = list(dict.fromkeys(seen))
    assert changes[-3:] == [("running", "training"), ("running", "gate"), ("succeeded", "gate")]
    assert run == httpx.get(f"{at_work}/admin/training-runs/{run_id}").json()
    assert run["gate"]["outcome"] == "passed"


def test_a_stream_is_kept_alive_and_ends_when_its_client_leaves(
    at_work: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    follow = TrainingRuns.follow

    async def watched(
        self: TrainingRuns, run: TrainingRun, *arguments: Any
    ) -> AsyncIterator[TrainingRun]:
        try:
            async for found in follow(self, run, *arguments):
                yield found
        finally:
            left.append(True)

    monkeypatch.setattr(TrainingRuns, "follow", watched)
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    run_id = httpx.post(f"{at_work}/admin/retrain", json={}).json()["id"]
    with closing(Store(settings.store_url or settings.data_dir / DATABASE, prepare=False)) as store:
        child = child_of(reached(store, run_id, "training"))
        with httpx.stream(
            "GET", f"{at_work}/admin/training-runs/{run_id}/events", timeout=60
        ) as response:
            lines = response.iter_lines()  # held: httpx leaves when nobody reads any more
            assert any(line == ": ping" for line in lines)
            assert left == []
        wait_until(lambda: left == [True])
        assert httpx.post(f"{at_work}/admin/training-runs/{run_id}/cancel").json()["cancelling"]
        wait_until(lambda: store.training_runs.get(run_id).state == "cancelled")
        assert child.resident_bytes() == 0


def test_a_stream_of_a_run_that_waits_ends_after_its_time(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_events_seconds": 0.01}))) as client:
        wait_until_ready(client)
        label(client, "default")
        run = retrain(client)
        response = client.get(f"/admin/training-runs/{run['id']}/events")
        assert list(events(response.iter_lines())) == [run]


def test_a_run_that_is_over_is_one_event(client: TestClient, store: Store) -> None:
    run_id = retrain(client)["id"]
    store.training_runs.cancel(run_id)
    (found,) = events(client.get(f"/admin/training-runs/{run_id}/events").iter_lines())
    assert (found["id"], found["state"]) == (run_id, "cancelled")


def test_a_stream_ends_when_its_key_is_revoked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_runs, "FOLLOW_SECONDS", 0.01)
    begun, follow = threading.Event(), TrainingRuns.follow

    async def watched(
        self: TrainingRuns, run: TrainingRun, *arguments: Any
    ) -> AsyncIterator[TrainingRun]:
        async for state in follow(self, run, *arguments):
            yield state
            begun.set()

    monkeypatch.setattr(TrainingRuns, "follow", watched)
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(1) as pool:
        wait_until_ready(client)
        label(client, "default")
        run = retrain(client)
        with closing(
            Store(settings.store_url or settings.data_dir / DATABASE, prepare=False)
        ) as store:
            kept, key = make_key(store, [KeyScope.ADMIN])
            client.headers["Authorization"] = f"Bearer {key}"
            stream = pool.submit(client.get, f"/admin/training-runs/{run['id']}/events")
            assert begun.wait(60)
            assert not stream.done()
            store.keys.revoke(kept.id)
            assert list(events(stream.result(60).iter_lines())) == [run]
