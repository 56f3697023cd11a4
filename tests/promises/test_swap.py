"""A new release keeps promises, or names those that it can't keep before it goes live."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.bases import WEIGHTS
from app.engine.files import sha256
from app.engine.release import (
    TARGET_PRECISIONS,
    Release,
    calibration_document,
    thresholds_document,
)
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.promises.corpus import evidence, fill, label_until_kept, promises_of, thresholds
from tests.serving import detector_of, wait_until
from tests.tiny_model import build_tiny_model
from training.publish import document, publish

WISH = {"target_precision": 0.8}


def softer_release(out: Path, base: Path) -> Release:
    """A release on the same model, by which every probability lies nearer to one half."""
    thresholds = {name: Threshold(0.99, 0.9, 0.1, 100) for name in TARGET_PRECISIONS}
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
    assert kept.prepared(key) == []
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
