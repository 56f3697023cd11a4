"""A file system without room: what can't be stored is refused whole, and everything else goes on.

Each test has a small file system of its own (tmpfs), and a file that fills it. How much is left free decides what
fails first: the write-ahead log, its shared memory, a checkpoint into the database, a snapshot, or the closing.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.engine.index import faiss_index as index_module
from app.engine.index import in_memory as in_memory_module
from app.engine.index.in_memory import faiss_index_of
from app.engine.models.encoder import PROBE_TEXTS, Encoder
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.store import Store, sqlite
from app.engine.text_form import readable
from app.errors import DataDirectoryUnusable, Unembeddable
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.faults.conftest import KB, Disk
from tests.serving import PROBLEM, Model, ask, detector_of, wait_until, watched_model, write

FREE = [0, 4 * KB, 16 * KB, 64 * KB, 256 * KB]
WRITES_AT_MOST = 500
MARKER = "xyzzy"


@pytest.fixture
def on_disk(disk: Disk, tiny_release: Release) -> Settings:
    """Settings of a service whose data directory is on the small file system."""
    return Settings(data_dir=disk.path / "data", release=tiny_release.path, device="cpu")


@contextmanager
def running(settings: Settings) -> Iterator[TestClient]:
    """The service, ready; what it fails to foresee is a 500 here, not an exception."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


def texts_of(number: int, count: int, characters: int = 300) -> dict[str, str]:
    """Questions that differ in their first words."""
    texts = [f"{i * 7919 % 1000} of {number}: {'abc ' * characters}" for i in range(count)]
    return {f"q{number}-{i}": text[:characters] for i, text in enumerate(texts)}


def upsert(client: TestClient, texts: dict[str, str]) -> Any:
    """Try to write questions."""
    body = {"questions": [{"id": id_, "text": text} for id_, text in texts.items()]}
    return client.post("/questions", json=body)


def stored(client: TestClient) -> dict[str, str]:
    """All questions of the default collection, which counts them right."""
    listed: dict[str, str] = {}
    cursor: str | None = None
    while cursor or not listed:
        page = client.get(
            "/questions", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})
        ).json()
        listed |= {question["id"]: question["text"] for question in page["questions"]}
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert client.get("/collections/default").json()["questions"] == len(listed)
    return listed


def assert_full(response: Any) -> None:
    """The answer is the problem document of a full disk."""
    assert (response.status_code, response.headers["content-type"]) == (507, PROBLEM), response.text
    assert (response.json()["status"], response.json()["title"]) == (507, "Storage full")


def assert_answers(client: TestClient, texts: dict[str, str]) -> None:
    """Reads and finds know exactly these questions, the index as well as the store."""
    assert stored(client) == texts
    assert client.get("/readyz").json()["questions_indexed"] == len(texts)
    id_, text = next(reversed(texts.items()))
    assert client.get(f"/questions/{id_}").json()["text"] == text
    exact, near = ask(client, f"  {text}", f"{text[:-1]}?", top_k=3)["results"]
    assert (exact["verdict"], [c["id"] for c in exact["candidates"]]) == ("duplicate", [id_])
    assert len(near["candidates"]) == min(3, len(texts))
    assert all(texts[c["id"]] == c["text"] for c in near["candidates"])


def write_until_full(client: TestClient, texts: dict[str, str]) -> dict[str, str]:
    """Write until there is no room, noting in `texts` what was acknowledged; returns what was refused."""
    for number in range(100, 100 + WRITES_AT_MOST):
        more = texts_of(number, 10, 3000) | {"q0-0": f"changed by {number}"}
        response = upsert(client, more)
        if response.status_code != 200:
            assert_full(response)
            return more
        texts |= more
    raise AssertionError("there was always room")


@pytest.mark.parametrize(
    "checkpoint_pages", [1000, 8]
)  # 8: what fails may be a checkpoint, after almost any write
@pytest.mark.parametrize("free_bytes", FREE)
def test_a_write_without_room_is_refused_whole_and_the_rest_goes_on(
    disk: Disk,
    on_disk: Settings,
    monkeypatch: pytest.MonkeyPatch,
    free_bytes: int,
    checkpoint_pages: int,
) -> None:
    monkeypatch.setitem(sqlite.PRAGMAS, "wal_autocheckpoint", checkpoint_pages)
    texts = texts_of(0, 20)
    with running(on_disk) as client:
        write(client, **texts)
        disk.fill(free_bytes)
        assert_full(upsert(client, texts_of(1, 400, 9000)))  # more than fits into SQLite's cache
        assert_answers(client, texts)
        refused = write_until_full(client, texts)
        assert_answers(client, texts)
        for number in range(10):  # small ones may still fit, or fit again after a checkpoint
            small = {f"small-{number}": f"small question {number}"}
            response = upsert(client, small)
            if response.status_code == 200:
                texts |= small
            else:
                assert_full(response)
        deleted = client.delete("/questions/q0-1")
        if deleted.status_code == 200:
            del texts["q0-1"]
        else:
            assert_full(deleted)
        made = client.put("/collections/other")
        if made.status_code != 201:
            assert_full(made)
        assert client.get("/collections/other").status_code == (
            200 if made.status_code == 201 else 404
        )
        assert_answers(client, texts)
        disk.make_room()
        write(client, **refused)
        texts |= refused
        assert_answers(client, texts)
    with running(on_disk) as client:
        assert_answers(client, texts)


@pytest.mark.parametrize("free_bytes", FREE)
def test_closing_and_opening_without_room_loses_nothing(
    disk: Disk, on_disk: Settings, free_bytes: int
) -> None:
    texts = texts_of(0, 200)
    with running(on_disk) as client:
        write(client, **texts)
        disk.fill()
    disk.fill(free_bytes)  # closing may have made room, or not
    try:
        with running(on_disk) as client:
            assert_answers(client, texts)
            write_until_full(client, texts)
            assert_answers(client, texts)
    except DataDirectoryUnusable as error:
        refused = str(error)
    else:
        refused = "disk is full"
    assert "disk is full" in refused
    disk.make_room()
    with running(on_disk) as client:
        assert_answers(client, texts)
        write(client, **texts_of(1, 10))


@pytest.mark.parametrize("free_bytes", FREE)
def test_a_database_that_can_not_be_made_for_want_of_room_can_be_made_later(
    disk: Disk, free_bytes: int
) -> None:
    disk.fill(free_bytes)
    refused = ""
    try:
        Store(disk.path / "sameask.db").close()
    except DataDirectoryUnusable as error:
        refused = str(error)
    assert "disk is full" in refused or free_bytes > 64 * KB
    disk.make_room()
    store = Store(disk.path / "sameask.db")
    assert store.questions.upsert("default", [("a", "one")]).added == 1
    store.close()


@pytest.mark.parametrize("exact_limit", [5000, 20])
def test_a_snapshot_without_room_costs_no_write_and_is_made_up_for_later(
    disk: Disk,
    on_disk: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    exact_limit: int,
) -> None:
    monkeypatch.setattr(index_module, "EXACT_LIMIT", exact_limit)  # 20: the index is a graph
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER", 40)
    monkeypatch.setitem(sqlite.PRAGMAS, "wal_autocheckpoint", 8)
    texts = texts_of(0, 30, 9000)  # leaves a long write-ahead log, which later writes use again
    with running(on_disk) as client:
        caplog.clear()  # no key was made, and it says so
        live = detector_of(client).live
        write(client, **texts)
        faiss_index_of(live.index(1)).rebuild()
        disk.fill()
        for number in range(1, 5):
            more = texts_of(number, 5, 30)
            write(client, **more)
            texts |= more
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "the indexes can't be saved, a restart would embed 40 questions again" in caplog.text
        assert_answers(client, texts)
        assert pieces(on_disk) == []
        disk.make_room()
        more = texts_of(9, 50, 30)
        write(client, **more)
        texts |= more
        assert pieces(on_disk) == ["0-100"]
        assert (
            Path(
                on_disk.data_dir, "snapshots", live.release.digest[:16], "1/0-100/graph.faiss"
            ).exists()
        ) == (exact_limit == 20)
        monkeypatch.setattr(
            live, "close", live.models.batcher.close
        )  # what is saved is saved by now
    with watched_model() as model, running(on_disk) as client:
        assert embedded(model) == []
        assert_answers(client, texts)


def test_a_snapshot_without_room_at_the_end_costs_embedding_at_the_start(
    disk: Disk, on_disk: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    texts = texts_of(0, 50)
    with running(on_disk) as client:
        write(client, **texts)
        disk.fill()
    assert "can't be saved, a restart would embed 50 questions again" in caplog.text
    disk.make_room()
    with watched_model() as model, running(on_disk) as client:
        assert embedded(model) == sorted(map(readable, texts.values()))
        assert_answers(client, texts)
    with watched_model() as model, running(on_disk) as client:
        assert embedded(model) == []


def test_a_text_that_can_not_be_noted_as_unembeddable_is_not_called_unwritten(
    disk: Disk, on_disk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gets full between the write and the note of why the text has no vector."""
    encode_tokens = Encoder.encode_tokens

    def fill_and_fail(encoder: Encoder, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        if any(MARKER in tokens.text for tokens in batch):
            disk.fill()
            raise Unembeddable("a text that the test made unembeddable")
        return encode_tokens(encoder, batch)

    monkeypatch.setattr(Encoder, "encode_tokens", fill_and_fail)
    texts = texts_of(0, 20)
    with running(on_disk) as client:
        write(client, **texts)
        response = upsert(client, {"a": f"What is {MARKER}?"})
        if "a" in stored(client):
            assert response.status_code != 507, response.text
        else:
            assert_full(response)
        disk.make_room()
        monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)
        write(client, b="another question")
        wait_until(lambda: client.get("/readyz").json()["questions_indexed"] == len(texts) + 1)
        if "a" in stored(client):
            assert client.get("/questions/a").json()["quarantined"] == (
                "Unembeddable: a text that the test made unembeddable"
            )


def pieces(settings: Settings) -> list[str]:
    """The names of the pieces of the default collection's snapshot."""
    return sorted(path.name for path in settings.data_dir.glob("snapshots/*/1/*"))


def embedded(model: Model) -> list[str]:
    """What the model was asked to embed, but for its own probe."""
    return sorted(text for text in model.seen if text not in PROBE_TEXTS)
