"""`/admin/releases`: the list, the shadow, the swap and its way back, and what each refuses."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.serving import PROBLEM, Model, ask, wait_until, write

TEXTS = {
    "a": "How do I reset my password?",
    "b": "How can I reset my password today?",
    "c": "Where is it?",
}
WIDE = {"release": "wide"}


@pytest.fixture
def client(settings: Settings, wide_release: Release) -> Iterator[TestClient]:
    """The running service, with a release that was trained."""
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        yield client


def live(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/admin/releases/live").json())


def shadow(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/admin/releases/shadow").json())


def activate(client: TestClient, name: str) -> None:
    """Swap, and return when what was replaced is closed."""
    response = client.put("/admin/releases/live", json={"release": name})
    assert response.status_code == 202, response.text
    wait_until(lambda: (live(client)["release"], live(client)["swap"]) == (name, None))


def refused(response: Any, status: int, title: str) -> str:
    """The detail of a problem document."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM), (
        response.text
    )
    assert response.json()["title"] == title
    return str(response.json()["detail"])


def sample(client: TestClient, name: str) -> dict[str, float]:
    """The values of a metric by release."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        s.labels["release"]: s.value
        for family in families
        for s in family.samples
        if s.name == name
    }


def test_a_release_is_listed_opened_compared_made_live_and_taken_back(client: TestClient) -> None:
    write(client, **TEXTS)
    first, second = client.get("/admin/releases").json()["releases"]
    assert (first["name"], first["state"], first["last_live_at"] is None) == ("tiny", "live", False)
    assert (second["name"], second["state"], second["dimension"], second["metrics"]) == (
        "wide",
        "ready",
        48,
        {},
    )
    opened = client.put("/admin/releases/shadow", json=WIDE)
    assert (opened.status_code, opened.json()["release"], opened.json()["goes_live"]) == (
        202,
        "wide",
        False,
    )
    wait_until(lambda: shadow(client)["phase"] == "ready")
    assert (shadow(client)["questions"], shadow(client)["questions_indexed"]) == (3, 3)
    diff = client.get("/admin/releases/wide/diff", params={"limit": 1}).json()
    assert (diff["live"], diff["shadow"], diff["questions"], diff["pairs"]) == (
        "tiny",
        "wide",
        3,
        3,
    )
    assert sum(change["pairs"] for change in diff["changes"]) == diff["changed"]
    assert len(diff["examples"]) == min(1, diff["changed"])
    before = ask(client, "How do I reset it?")
    activate(client, "wide")
    assert (live(client)["release"], live(client)["reason"]) == ("wide", "")
    after = ask(client, "How do I reset it?")
    assert (before["release"], after["release"]) == ("tiny", "wide")
    assert before["results"][0]["candidates"] != after["results"][0]["candidates"]
    back = client.post("/admin/releases/live/rollback", json={})
    assert back.status_code == 202
    wait_until(lambda: (live(client)["release"], live(client)["swap"]) == ("tiny", None))
    assert live(client)["reason"] == "rolled back"
    assert ask(client, "How do I reset it?") == before


def test_a_shadow_is_cancelled(client: TestClient) -> None:
    refused(client.get("/admin/releases/shadow"), 404, "No shadow")
    refused(client.delete("/admin/releases/shadow"), 404, "No shadow")
    client.put("/admin/releases/shadow", json=WIDE)
    assert client.delete("/admin/releases/shadow").status_code == 204
    refused(client.get("/admin/releases/shadow"), 404, "No shadow")


def test_another_shadow_waits_and_nothing_becomes_unready(
    client: TestClient, model: Model, settings: Settings, wide_release: Release
) -> None:
    publish_release(settings.data_dir / "releases" / "other", Path(wide_release.base.name), 48)
    write(client, x="xyzzy?")
    model.hold("xyzzy")
    client.put("/admin/releases/live", json=WIDE)
    wait_until(model.reached.is_set)
    assert live(client)["swap"]["phase"] == "indexing"
    for method, path in (("PUT", "/admin/releases/shadow"), ("PUT", "/admin/releases/live")):
        detail = refused(
            client.request(method, path, json={"release": "other"}),
            409,
            "Another release is under way",
        )
        assert "'wide' is indexing" in detail
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["release"]) == (200, "tiny")
    assert sample(client, "sameask_release_live") == {"tiny": 1}
    assert sample(client, "sameask_shadow_indexed_share") == {"wide": 0}
    model.release()
    wait_until(lambda: (live(client)["release"], live(client)["swap"]) == ("wide", None))
    assert client.get("/readyz").json()["release"] == "wide"
    assert sample(client, "sameask_release_live") == {"wide": 1}
    assert sample(client, "sameask_shadow_indexed_share") == {}


@pytest.mark.parametrize("path", ["/admin/releases/shadow", "/admin/releases/live"])
def test_what_is_no_sound_release_is_refused_and_the_live_one_serves(
    client: TestClient, settings: Settings, path: str
) -> None:
    assert "'nothing'" in refused(
        client.put(path, json={"release": "nothing"}), 404, "Release not found"
    )
    assert "'../tiny'" in refused(
        client.put(path, json={"release": "../tiny"}), 404, "Release not found"
    )
    with (settings.data_dir / "releases" / "wide" / "calibration.json").open("a") as file:
        file.write(" ")
    assert "calibration.json" in refused(client.put(path, json=WIDE), 409, "Release refused")
    listed = client.get("/admin/releases").json()["releases"]
    assert (listed[1]["state"], "calibration.json" in listed[1]["why"]) == ("refused", True)
    assert ask(client, "Who?")["release"] == "tiny"


def test_a_release_whose_base_has_changed_fails_and_says_so(
    client: TestClient, settings: Settings, wide_release: Release
) -> None:
    folder = settings.data_dir / "releases" / "moved"
    shutil.copytree(wide_release.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["base_model"]["files"]["model.safetensors"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": "moved"}))
    client.put("/admin/releases/live", json={"release": "moved"})
    wait_until(lambda: shadow(client)["phase"] == "failed")
    assert "expected 000" in shadow(client)["failure"]
    assert live(client)["release"] == "tiny"
    activate(client, "wide")  # another attempt is free to begin


def test_what_is_refused(client: TestClient) -> None:
    refused(client.post("/admin/releases/live/rollback", json={}), 409, "Nothing to roll back to")
    refused(client.get("/admin/releases/wide/diff"), 409, "Shadow not ready")
    refused(
        client.put("/admin/releases/shadow", json={"release": "tiny"}), 409, "Release is protected"
    )
    refused(client.delete("/admin/releases/tiny"), 409, "Release is protected")
    refused(client.delete("/admin/releases/nothing"), 404, "Release not found")
    refused(client.put("/admin/releases/live", json={"release": ""}), 422, "Invalid request")
    refused(
        client.put("/admin/releases/live", json={**WIDE, "force": True}), 422, "Invalid request"
    )
    refused(client.delete("/admin/releases/live"), 405, "Method Not Allowed")
    assert client.put("/admin/releases/live", json={"release": "tiny"}).json()["swap"] is None
    client.put("/admin/releases/shadow", json=WIDE)
    wait_until(lambda: shadow(client)["phase"] == "ready")
    refused(
        client.get("/admin/releases/wide/diff", params={"collection": "none"}),
        404,
        "Collection not found",
    )
    refused(client.delete("/admin/releases/wide"), 409, "Release is protected")
    client.delete("/admin/releases/shadow")
    assert client.delete("/admin/releases/wide").status_code == 204
    assert [one["name"] for one in client.get("/admin/releases").json()["releases"]] == ["tiny"]


def test_labels_hold_after_a_swap_and_a_new_import(client: TestClient) -> None:
    write(client, **TEXTS)
    said = [
        {"ids": ["a", "b"], "is_duplicate": False, "by": "anna"},
        {"ids": ["a", "c"], "is_duplicate": True, "by": "anna"},
    ]
    client.post("/labels", json={"labels": said})
    activate(client, "wide")
    for id_ in TEXTS:
        client.delete(f"/questions/{id_}")
    write(client, **{f"{id_}2": text for id_, text in TEXTS.items()})
    (found,) = ask(client, TEXTS["a"])["results"]
    assert {c["id"]: c["verdict"] for c in found["candidates"]} == {
        "a2": "duplicate",
        "c2": "duplicate",
    }
    (found,) = ask(client, TEXTS["b"], exclude_ids=["b2"])["results"]
    assert {c["id"]: c["verdict"] for c in found["candidates"]}["a2"] == "different"
