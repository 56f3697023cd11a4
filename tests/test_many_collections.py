"""What serves, reports or polls costs the same with hundreds of collections as with some: counted in statements."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mode
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.engine.index.in_memory import IndexesInMemory, IndexInMemory
from app.engine.index.tally import Totals
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.engine.store import Store
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import detector_of, write
from tests.statements import statements_of

FEW, MANY = 60, 300  # metrics name fifty collections at most
WRITTEN = 3  # collections that hold something
TRIES = 5


@contextmanager
def _service(settings: Settings, collections: int) -> Iterator[TestClient]:
    """A service that started over so many collections; three of them hold a question."""
    folder = settings.data_dir / str(collections)
    folder.mkdir(parents=True)
    store = Store(folder / "sameask.db")
    for number in range(collections + WRITTEN):
        store.collections.create(f"c{number}", MANY + 10)
    for number in range(WRITTEN):
        store.questions.upsert(f"c{number}", [("a", f"question number {number}")])
    store.close()
    with TestClient(create_app(settings.model_copy(update={"data_dir": folder}))) as client:
        wait_until_ready(client)
        yield client


def _statements(client: TestClient, method: str, path: str, body: Any) -> int:
    """How many statements a request runs behind a commit: the usual number of some tries, as others work beside it."""
    counts = []
    for _ in range(TRIES):
        write(client, "c0", b=f"a text for {path} {random.random()}")
        with statements_of(detector_of(client).store) as statements:
            assert client.request(method, path, json=body).status_code == 200
        counts.append(len(statements))
    return mode(counts)


def test_reports_and_polls_ask_the_store_no_more_for_many(settings: Settings) -> None:
    asked = [
        ("GET", "/readyz", None),
        ("GET", "/metrics", None),
        ("GET", "/collections?limit=2", None),
        ("GET", "/admin/releases/live", None),
        ("POST", "/duplicates", {"questions": ["a question?"], "collection": "c1"}),
        ("POST", "/questions", {"collection": "c2", "questions": [{"id": "z", "text": "z?"}]}),
    ]
    counts = []
    for collections in (FEW, MANY):
        with _service(settings, collections) as client:
            counts.append([_statements(client, *one) for one in asked])
    assert counts[0] == counts[1]


def test_a_poll_without_a_commit_before_it_asks_the_store_nothing(settings: Settings) -> None:
    with _service(settings, FEW) as client:
        client.get("/readyz")
        with statements_of(detector_of(client).store) as statements:
            answer = client.get("/readyz").json()
    assert statements == []
    assert (answer["collections"], answer["questions"]) == (FEW + WRITTEN + 1, WRITTEN)


def test_metrics_have_no_line_for_each_collection(settings: Settings) -> None:
    names = []
    for collections in (FEW, MANY):
        with _service(settings, collections) as client:
            client.get("/metrics")
            lines = client.get("/metrics").text.splitlines()
            names.append({line.split(" ")[0] for line in lines if "collection=" in line})
    assert names[0] == names[1]


def test_a_start_makes_no_index_for_what_is_empty(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_index = IndexInMemory.open

    def note(index: IndexInMemory) -> None:
        opened.append(index.key)
        open_index(index)

    monkeypatch.setattr(IndexInMemory, "open", note)
    with _service(settings, MANY) as client:
        live = detector_of(client).live
        assert len(set(opened)) == len(live.indexes.all()) == WRITTEN
        readiness = client.get("/readyz").json()
        assert readiness["collections_ready"] == MANY + WRITTEN + 1
        answer = client.post("/duplicates", json={"questions": ["a?"], "collection": "c100"})
        assert answer.json()["results"][0] == {
            "question": "a?",
            "verdict": "new",
            "truncated": False,
            "candidates": [],
        }
        write(client, "c100", a="Is it there at once?")
        asked = {"questions": ["Is it there at once!!"], "collection": "c100", "top_k": 1}
        found = client.post("/duplicates", json=asked).json()["results"][0]["candidates"]
        assert [candidate["id"] for candidate in found] == ["a"]


def test_to_open_an_index_asks_for_its_own_collection_alone(
    store: Store, indexes: IndexesInMemory
) -> None:
    for number in range(MANY):
        store.collections.create(f"c{number}", MANY + 1)
    with statements_of(store) as statements:
        indexes[5].open()
    selected = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(selected) == 1
    assert selected[0].endswith('WHERE collections."key" = 5')


@pytest.fixture
def indexes(store: Store, tmp_path: Path) -> IndexesInMemory:
    """The indexes of a release whose vectors have two numbers."""
    return IndexesInMemory(store, 2, tmp_path / "snapshots", "of-these")


def test_upkeep_and_saving_look_at_what_changed_alone(
    indexes: IndexesInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[tuple[str, int]] = []
    for name in ("upkeep", "save"):
        monkeypatch.setattr(
            IndexInMemory, name, lambda index, name=name: looked_at.append((name, index.key))
        )
    for key in range(1, MANY):
        indexes[key].open()
        indexes[key].caught_up()
    indexes.upkeep()
    looked_at.clear()
    indexes[7].apply(1, [], _vectors(0), [])
    indexes.upkeep()
    indexes.upkeep()
    indexes.save_when_due(after=1)
    assert looked_at == [("upkeep", 7), ("save", 7)]


def test_upkeep_that_fails_is_done_again(
    indexes: IndexesInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    broken = {2}

    def upkeep(index: IndexInMemory) -> None:
        if index.key in broken:
            raise MemoryError
        kept.append(index.key)

    monkeypatch.setattr(IndexInMemory, "upkeep", upkeep)
    for key in (1, 2, 3):
        indexes[key].open()
    with pytest.raises(MemoryError):
        indexes.upkeep()
    broken.clear()
    indexes.upkeep()
    assert sorted(kept) == [1, 2, 3]


def test_totals_are_the_sums_of_all_states(indexes: IndexesInMemory) -> None:
    chosen = random.Random(5)
    keys = list(range(1, 9))
    indexes.begin_empty(dict.fromkeys(keys[:3], 4))
    next_id = dict.fromkeys(keys, 5)
    for _ in range(400):
        key = chosen.choice(keys)
        match chosen.randrange(5):
            case 0:
                indexes.forget(key)
            case 1:
                indexes[key].caught_up()
            case 2:
                indexes[key].open()
            case _:
                index, added = indexes[key], chosen.randrange(4)
                ids = list(range(next_id[key], next_id[key] + added))
                next_id[key] += added + 1
                held = index.ids().tolist()
                removed = chosen.sample(held, min(len(held), chosen.randrange(3)))
                index.apply(next_id[key], ids, _vectors(added), removed)
        states = [indexes.state(key) for key in keys]
        ready = sum(state.ready for state in states)
        assert indexes.totals == Totals(ready, sum(state.size for state in states), 1.0)
        unsaved = sum(index.unsaved for index in indexes.all())
        assert indexes._tally.unsaved == unsaved


def _vectors(count: int) -> Any:
    vectors = np.random.default_rng(count).normal(size=(count, 2)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def shadow(
    store: Store, tiny_release: Release, tiny_encoder: Encoder, tmp_path: Path
) -> Iterator[LiveRelease]:
    """A release on its way, beside the store."""
    options = ServingOptions(tmp_path / "snapshots", "0.90", max_waiting_texts=10)
    live = LiveRelease(tiny_release, tiny_encoder, None, store, options, is_shadow=True)
    yield live
    live.close()


def test_a_shadow_that_stays_near_looks_at_what_changed_alone(
    store: Store, shadow: LiveRelease
) -> None:
    keys = [store.collections.create(f"c{number}", MANY)[0].key for number in range(MANY - 2)]
    shadow.follow_all()
    assert shadow.indexes.all() == []
    store.questions.upsert("c3", [("a", "a question?")])
    store.collections.delete("c4")
    store.questions.upsert("c5", [("a", "a question?")])
    with statements_of(store) as statements:
        assert shadow.follow_changed({keys[3], keys[4]}) == 0
    assert len([one for one in statements if "FROM collections" in one]) <= 8
    assert [index.key for index in shadow.indexes.all()] == [keys[3]]
    assert shadow.state(keys[3]).size == 1
    assert not shadow.state(keys[4]).ready
    assert shadow.indexed.ready == MANY - 2  # the default one too, and not the one that is gone


def test_an_emptied_collection_with_a_snapshot_is_opened(
    store: Store, indexes: IndexesInMemory, tmp_path: Path
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    indexes[1].open()
    indexes[1].apply(2, [1, 2], _vectors(2), [])
    indexes.save()
    store.questions.delete("default", "a")
    store.questions.delete("default", "b")
    later = IndexesInMemory(store, 2, tmp_path / "snapshots", "of-these")
    later.begin_empty({1: 4})
    assert not later.state(1).ready
