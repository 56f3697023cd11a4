"""A new release keeps promises, or names those that it can't keep before it goes live."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.bases import WEIGHTS
from app.engine.files import sha256
from app.engine.live_release import LiveRelease
from app.engine.release import (
    TARGET_PRECISIONS,
    Release,
    calibration_document,
    thresholds_document,
)
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds
from app.main import create_app
from app.promises.pool import Pool
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.promises.corpus import (
    evidence,
    fill,
    label_until_kept,
    promises_of,
    questions,
    queue,
    skip,
    thresholds,
)
from tests.serving import ask, detector_of, wait_until, write
from tests.tiny_model import build_tiny_model
from training.publish import document, publish

WISH = {"target_precision": 0.8}


def softer_release(out: Path, base: Path) -> Release:
    """A release on the same model, by which every probability lies nearer to one half."""
    starts = dict(zip(TARGET_PRECISIONS, (0.96, 0.97, 0.98, 0.99), strict=True))
    thresholds = {name: Threshold(start, 0.9, 0.1, 100) for name, start in starts.items()}
    scale = Scale(Calibration([70.0], -63.0), Thresholds(thresholds, 0.3))
    manifest = {
        "parent": None,
        "base_model": {"name": str(base), "files": {WEIGHTS: sha256(base / WEIGHTS)}},
        "dimension": 32,
        "data": {},
        "training": None,
        "seed": None,
    }
    files: dict[str, str | bytes | Path] = {
        "calibration.json": document(calibration_document(scale, None)),
        "thresholds.json": document(thresholds_document(scale, None, -1.0)),
        "metrics.json": document({}),
        "README.md": "# softer\n",
    }
    return publish(out, manifest, files)


@pytest.fixture
def client(settings: Settings, tiny_model: Path, tmp_path: Path) -> Iterator[TestClient]:
    """The running service, with two further releases: one much like the live one, one of another mind."""
    folder = settings.data_dir / "releases"
    folder.mkdir(parents=True)
    softer_release(folder / "softer", tiny_model)
    model = build_tiny_model(tmp_path / "model", seed=5)
    publish_release(folder / "other", model, 32)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        yield client


def shadow(client: TestClient, name: str) -> dict[str, Any]:
    """The shadow of this release, ready."""
    assert client.put("/admin/releases/shadow", json={"release": name}).status_code == 202

    def is_ready() -> bool:
        progress = client.get("/admin/releases/shadow").json()
        assert progress["failure"] is None, progress
        return bool(progress["phase"] == "ready")

    wait_until(is_ready)
    return dict(client.get("/admin/releases/shadow").json())


def phase_of(client: TestClient) -> str:
    """The phase of the shadow."""
    return str(client.get("/admin/releases/shadow").json()["phase"])


@contextmanager
def promising(client: TestClient, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The shadow of this release, which derives thresholds for as long as the context lasts."""
    go_on = Event()
    live = detector_of(client).live
    advance = Pool.advance

    async def slowly(pool: Pool) -> bool:
        while pool._release is not live and not go_on.is_set():
            await asyncio.sleep(0.01)
        return await advance(pool)

    monkeypatch.setattr(Pool, "advance", slowly)
    client.put("/admin/releases/shadow", json={"release": name})
    wait_until(lambda: phase_of(client) == "promising")
    wait_until(lambda: bool(promises_of(client).kept._prepared))
    yield
    go_on.set()
    wait_until(lambda: phase_of(client) in ("ready", "failed"))


def activate(client: TestClient, name: str) -> None:
    """Make it live."""
    assert client.put("/admin/releases/live", json={"release": name}).status_code == 202
    wait_until(
        lambda: (
            client.get("/admin/releases/live").json()["release"] == name
            and client.get("/admin/releases/live").json()["swap"] is None
        )
    )


def test_a_release_keeps_a_promise_from_its_first_answer_on_and_back(client: TestClient) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    label_until_kept(client)
    before = thresholds(client)
    counts = evidence(client)["labels"]
    assert shadow(client, "softer")["broken_promises"] == []
    change = client.get("/admin/releases/softer/diff").json()["promise"]
    assert (change["live"], change["is_broken"]) == (before, False)
    assert change["shadow"]["source"] == "collection"
    assert change["shadow_promise"]["target_precision"] == 0.8
    activate(client, "softer")
    assert thresholds(client) == change["shadow"] != before
    report = evidence(client)
    assert (report["release"], report["labels"]) == ("softer", counts)
    assert report["promise"]["duplicate"] == change["shadow"]["duplicate"]
    client.post("/admin/releases/live/rollback", json={})
    wait_until(lambda: evidence(client)["release"] == "tiny")
    assert thresholds(client) == before


def test_labels_given_while_a_release_waits_count_when_it_goes_live(client: TestClient) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    shadow(client, "softer")
    before = client.get("/admin/releases/softer/diff").json()["promise"]["shadow"]
    assert before["source"] == "release"
    label_until_kept(client)
    wait_until(
        lambda: (
            client.get("/admin/releases/softer/diff").json()["promise"]["shadow"]["source"]
            == "collection"
        )
    )
    waiting = client.get("/admin/releases/softer/diff").json()["promise"]["shadow"]
    activate(client, "softer")
    assert thresholds(client) == waiting


def test_what_is_kept_of_a_release_goes_with_it(client: TestClient) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    kept = promises_of(client).kept
    shadow(client, "softer")
    key = detector_of(client).store.collections.get("default").key
    assert kept.prepared(key)
    assert client.delete("/admin/releases/shadow").status_code == 204
    assert kept.prepared(key) is None
    activate(client, "softer")
    live = detector_of(client).live
    assert {one.release for one in kept.all()} <= {live}


def test_a_promise_that_it_can_not_keep_is_named_before_the_swap(client: TestClient) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    label_until_kept(client)
    assert shadow(client, "other")["broken_promises"] == ["default"]
    change = client.get("/admin/releases/other/diff").json()["promise"]
    assert change["is_broken"]
    assert change["live_promise"]["duplicate"] is not None
    assert change["shadow_promise"]["duplicate"] is None


def test_without_a_wish_nothing_is_promised(client: TestClient) -> None:
    fill(client, 12)
    assert shadow(client, "softer")["broken_promises"] == []
    assert client.get("/admin/releases/softer/diff").json()["promise"] is None


def test_answers_given_while_thresholds_are_derived_count_when_it_goes_live(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    with promising(client, "softer", monkeypatch):
        label_until_kept(client)
        skip(client, queue(client, "bob")["pairs"][0])
        wait_until(lambda: evidence(client)["labels"]["skipped"] == 1)
        before = evidence(client)["labels"]
    activate(client, "softer")
    after = evidence(client)
    assert (after["release"], after["labels"]) == ("softer", before)


def test_a_pair_that_was_skipped_while_a_release_waits_stays_skipped(client: TestClient) -> None:
    fill(client, 8)
    client.put("/collections/default", json=WISH)
    shadow(client, "softer")
    skipped = queue(client, "bob", 1)["pairs"][0]
    skip(client, skipped)
    activate(client, "softer")
    wait_until(lambda: evidence(client)["labels"]["skipped"] == 1)
    store = detector_of(client).store
    store.claims.clock = lambda: time.time() + 120  # claims are over
    while offered := queue(client, "anna", 20)["pairs"]:
        assert skipped["id"] not in [pair["id"] for pair in offered]
        for pair in offered:
            skip(client, pair)


def test_a_wish_that_came_while_a_release_waited_holds_from_its_first_answer_on(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(client, 12)
    shadow(client, "softer")
    client.put("/collections/default", json={"target_precision": 0.99})
    monkeypatch.setattr(promises_of(client).upkeep, "keep_up", idle)
    activate(client, "softer")
    assert thresholds(client)["duplicate"] == 0.99


async def idle() -> None:
    """Derive nothing behind a swap."""


def test_a_collection_that_comes_or_goes_beside_a_shadow_leaves_it_alone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put("/collections/old", json=WISH)
    follow_all = LiveRelease.follow_all

    def with_another(release: LiveRelease) -> None:
        follow_all(release)
        assert client.put("/collections/new", json=WISH).status_code in (200, 201)

    monkeypatch.setattr(LiveRelease, "follow_all", with_another)
    with promising(client, "softer", monkeypatch):
        assert client.delete("/collections/old").status_code == 204
    assert phase_of(client) == "ready"
    activate(client, "softer")
    assert thresholds(client, "new")["duplicate"] is not None


def test_what_was_asked_is_erased_from_what_a_release_on_its_way_keeps(
    settings: Settings, tiny_model: Path
) -> None:
    softer_release(settings.data_dir / "releases" / "softer", tiny_model)
    remembering = settings.model_copy(update={"remember_asked": True})
    with TestClient(create_app(remembering)) as client:
        wait_until_ready(client)
        write(client, **questions(8))
        client.put("/collections/default", json=WISH)
        asked = "can i cancel my parcel secretly?"
        ask(client, asked)
        store = detector_of(client).store
        key = store.collections.get("default").key
        wait_until(lambda: asked in store.asked.latest(key, 10))
        shadow(client, "softer")
        kept = promises_of(client).kept.prepared(key)
        assert kept is not None
        assert asked in [pair.texts[0] for pair in kept.pool.pairs]
        assert client.delete("/collections/default/asked").status_code == 204
        assert asked not in [pair.texts[0] for pair in kept.pool.pairs]
