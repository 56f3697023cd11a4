"""What training runs were given of questions goes with these: from their folders, and from what gates ask to label."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.store import NewLabel, Store
from app.engine.training_contract import LABELS, UNLABELLED
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import detector_of
from tests.training_runs.test_worker import ended, folder_of, quick, read_lines, start, working

__all__ = ["quick"]  # a fixture

SECRET = "a secret about Mr 12345?"
NEAR = [(("a", SECRET), ("b", "What is near it?")), (("b", "What is near it?"), ("c", "Or this?"))]
HOLDER = "a worker"


@pytest.fixture
def settings(tmp_path: Path, settings: Settings) -> Settings:
    """As everywhere, and no run is worked on by the server."""
    return settings.model_copy(update={"training_worker": False, "data_dir": tmp_path / "data"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A store with three questions and a label."""
    settings.data_dir.mkdir()
    with closing(Store(settings.store_url or settings.data_dir / "sameask.db")) as store:
        _fill(store, "default")
        yield store


def _fill(store: Store, collection: str) -> None:
    texts = [("a", SECRET), ("b", "What is near it?"), ("c", "Or this?")]
    store.questions.upsert(collection, texts)
    store.labels.write(collection, [NewLabel(True, "anna", questions=("One?", "Two?"))])


def _near(_: str, __: int) -> Sequence[tuple[tuple[str, str], tuple[str, str]]]:
    return NEAR


def _succeed(store: Store, collection: str = "default") -> int:
    """A run that has succeeded, and whose gate asks for labels of the near pairs."""
    run = store.training_runs.start(collection, {"recipe": "both"})
    assert store.training_runs.claim(HOLDER, 30)
    pairs = [
        {
            "id1": one[0],
            "id2": other[0],
            "question1": one[1],
            "question2": other[1],
            "probability": 0.5,
        }
        for one, other in NEAR
    ]
    gate = {"outcome": "passed", "reasons": [], "more_labels": None, "to_label": pairs}
    assert store.training_runs.end(run.id, HOLDER, "succeeded", release="x", gate=gate)
    return run.id


def _asked_for(store: Store, run_id: int) -> list[tuple[str, str]]:
    gate: Any = store.training_runs.get(run_id).gate
    return [(pair["id1"], pair["id2"]) for pair in gate["to_label"]]


def test_pairs_without_a_label_are_gone_when_the_run_has_ended_and_come_again_with_it(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    folder = folder_of(settings, run_id)
    with working(store, settings, "exit:3", near_pairs=_near):
        assert ended(store, run_id).state == "failed"
    assert (folder / LABELS).exists()  # the labels' own texts, as long as their collection
    assert not (folder / UNLABELLED).exists()
    store.questions.delete("default", "a")
    assert not _files_with(settings.data_dir / "training", SECRET)
    store.training_runs.resume(run_id)
    with working(store, settings, "wait:trained", near_pairs=lambda *_: NEAR[1:]):
        (folder / "trained").touch()
        ended(store, run_id)
        assert read_lines(folder / LABELS)[0]["question1"] == "One?"


def test_a_deleted_question_is_in_no_gate(store: Store, settings: Settings) -> None:
    run_id = _succeed(store)
    assert _asked_for(store, run_id) == [("a", "b"), ("b", "c")]
    store.questions.delete("default", "a")
    assert _asked_for(store, run_id) == [("b", "c")]
    store.close()
    assert not _files_with(settings.data_dir, SECRET)


def test_a_replaced_text_is_in_no_gate(store: Store) -> None:
    run_id = _succeed(store)
    store.questions.upsert("default", [("c", "Or that?"), ("b", "What is near it?"), ("d", "New?")])
    assert _asked_for(store, run_id) == [("a", "b")]


def test_another_collections_questions_stay_asked_for(store: Store) -> None:
    store.collections.create("other", 10)
    _fill(store, "other")
    run_id, other = _succeed(store), _succeed(store, "other")
    store.questions.delete("other", "b")
    assert (_asked_for(store, run_id), _asked_for(store, other)) == ([("a", "b"), ("b", "c")], [])


def test_what_was_deleted_while_the_run_went_on_is_not_asked_for(store: Store) -> None:
    run_id = _succeed(store)
    gate = store.training_runs.get(run_id).gate
    store.questions.delete("default", "a")
    store.questions.upsert("default", [("c", "Changed?")])
    again = store.training_runs.start("default", {"recipe": "both"})
    assert store.training_runs.claim(HOLDER, 30)
    assert store.training_runs.end(again.id, HOLDER, "succeeded", release="x", gate=gate or {})
    store.questions.forget_stale_pairs(store.collections.get("default").key)
    assert _asked_for(store, again.id) == []


def test_a_worker_forgets_what_was_deleted_while_its_child_ran(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[int] = []
    monkeypatch.setattr(store.questions, "forget_stale_pairs", forgotten.append)
    run_id = start(store)
    with working(store, settings, "result"):
        ended(store, run_id)
    assert forgotten == [store.collections.get("default").key]


def test_a_deleted_collection_leaves_nothing_in_the_folders_of_its_runs(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        store = detector_of(client).store
        store.collections.create("faq", 10)
        runs = {}
        for collection in ("faq", "default"):
            _fill(store, collection)
            runs[collection] = _failed_run(store, settings, collection)
        assert client.delete("/collections/faq").status_code == 204
        assert not folder_of(settings, runs["faq"]).exists()
        assert not _checkpoints(settings, "faq", runs["faq"]).exists()
        assert (folder_of(settings, runs["default"]) / LABELS).exists()
        assert _checkpoints(settings, "default", runs["default"]).exists()


def test_a_start_removes_what_a_crash_has_left_of_runs_that_are_no_more(settings: Settings) -> None:
    left = folder_of(settings, 77)
    left.mkdir(parents=True)
    (left / LABELS).write_text(SECRET)
    with TestClient(create_app(settings)):
        assert not left.exists()


def _failed_run(store: Store, settings: Settings, collection: str) -> int:
    run = store.training_runs.start(collection, {"recipe": "both"})
    assert store.training_runs.claim(HOLDER, 30)
    assert store.training_runs.end(run.id, HOLDER, "failed", error="it failed")
    for folder in (folder_of(settings, run.id), _checkpoints(settings, collection, run.id)):
        folder.mkdir(parents=True)
        (folder / LABELS).write_text(json.dumps({"question1": SECRET}), "utf-8")
    return run.id


def _checkpoints(settings: Settings, collection: str, run_id: int) -> Path:
    return settings.data_dir / "releases" / f".{collection}-{run_id}.training"


def _files_with(folder: Path, secret: str) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if secret.encode() in file.read_bytes()]
