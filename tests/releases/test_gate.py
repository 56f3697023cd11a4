"""The gate of a training run: what lets a release that was made of labels go live."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.data_directory import DATABASE
from app.engine.store import NewLabel, Store
from app.main import create_app
from app.settings import Settings
from tests.conftest import WIDE_DIMENSION, publish_release
from tests.serving import PROBLEM, wait_until
from tests.tiny_model import build_tiny_model

WORKER = "a worker"
COLLECTION = "faq"


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """A service that runs no training, with a release in its folder that a training run made of labels."""
    model = build_tiny_model(tmp_path / "model", dimension=WIDE_DIMENSION, seed=1)
    name = f"{COLLECTION}-1"
    publish_release(
        settings.data_dir / "releases" / name, model, WIDE_DIMENSION, tuned_on="labels, faq"
    )
    settings = settings.model_copy(update={"training_worker": False})
    with TestClient(create_app(settings)) as client:
        client.put(f"/collections/{COLLECTION}", json={})
        yield client


@pytest.fixture
def store(client: TestClient, settings: Settings) -> Iterator[Store]:
    assert client.get("/readyz").is_success  # it has made the database
    with closing(Store(settings.store_url or settings.data_dir / DATABASE, prepare=False)) as store:
        yield store


def run_ended(store: Store, outcome: str | None, champion: str = "tiny") -> str:
    """The name of the release that a run made, which has ended with this outcome of its gate, or before the gate."""
    store.labels.write(COLLECTION, [NewLabel(True, "anna", questions=("One?", "Two?"))])
    run = store.training_runs.start(COLLECTION, {"champion": f"/releases/{champion}"})
    store.training_runs.claim(WORKER, 30)
    release = f"{COLLECTION}-{run.id}"
    made: dict[str, Any] = {}
    if outcome:
        made = {"release": release, "gate": {"outcome": outcome, "reasons": []}}
    store.training_runs.end(run.id, WORKER, "succeeded" if outcome else "cancelled", **made)
    return release


def activated(client: TestClient, release: str, force: str | None = None) -> Any:
    body = {"release": release} | ({"force": force} if force else {})
    return client.put("/admin/releases/live", json=body)


def refused(response: Any) -> str:
    assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
    assert response.json()["title"] == "Gate not passed"
    return str(response.json()["detail"])


def test_one_that_passed_against_the_live_one_goes_live(client: TestClient, store: Store) -> None:
    release = run_ended(store, "passed")
    assert activated(client, release).status_code == 202
    wait_until(lambda: client.get("/admin/releases/live").json()["release"] == release)


@pytest.mark.parametrize("outcome", ["failed", "not enough evidence"])
def test_one_that_did_not_pass_is_refused_and_forced(
    client: TestClient, store: Store, outcome: str
) -> None:
    release = run_ended(store, outcome)
    assert outcome in refused(activated(client, release))
    assert activated(client, release, force="a test").status_code == 202


def test_one_that_passed_against_another_is_refused(client: TestClient, store: Store) -> None:
    release = run_ended(store, "passed", champion="before")
    assert "'before'" in refused(activated(client, release))


def test_one_whose_run_was_cancelled_in_its_gate_is_refused(
    client: TestClient, store: Store
) -> None:
    assert "no gate is known" in refused(activated(client, run_ended(store, None)))


def test_one_of_a_collection_that_was_deleted_is_refused(client: TestClient, store: Store) -> None:
    release = run_ended(store, "failed")
    assert client.delete(f"/collections/{COLLECTION}").status_code == 204
    assert "no gate is known" in refused(activated(client, release))
