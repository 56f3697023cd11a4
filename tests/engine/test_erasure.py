"""Deleted text is in no file of the data directory, while the store is open and however it got there."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.store import Store
from tests.serving import wait_until

PATIENCE_SECONDS = 30.0


@pytest.fixture
def erasing(tmp_path: Path) -> Iterator[Store]:
    """A store in a folder of its own."""
    (tmp_path / "data").mkdir()
    with closing(Store(tmp_path / "data" / "sameask.db")) as store:
        yield store


def files_with(folder: Path, secret: str) -> list[str]:
    """The files in a folder that hold a text."""
    return [file.name for file in folder.iterdir() if secret.encode() in file.read_bytes()]


def is_erased(folder: Path, *secrets: str) -> bool:
    """Whether no file holds any of the texts, at the latest after a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not any(files_with(folder, secret) for secret in secrets):
            return True
        time.sleep(0.05)
    return False


def test_a_deleted_question_is_in_no_file(erasing: Store, tmp_path: Path) -> None:
    erasing.questions.upsert("default", [("a", "my secret is 12345"), ("b", "what stays")])
    assert files_with(tmp_path / "data", "12345") == ["sameask.db-wal"]
    erasing.questions.delete("default", "a")
    assert is_erased(tmp_path / "data", "12345")
    assert files_with(tmp_path / "data", "what stays") == ["sameask.db"]


def test_a_deleted_collection_is_in_no_file(erasing: Store, tmp_path: Path) -> None:
    erasing.collections.create("faq", 10)
    texts = [(f"q{n}", f"secret number {n} " + 200 * "x") for n in range(300)]
    erasing.questions.upsert("faq", texts)
    erasing.collections.delete("faq")
    assert is_erased(tmp_path / "data", "secret number")


def test_a_replaced_version_is_in_no_file_once_no_index_needs_it(
    erasing: Store, tmp_path: Path
) -> None:
    erasing.questions.upsert("default", [("a", "my secret is 12345")])
    erasing.questions.upsert("default", [("a", "no secret")])
    erasing.revisions.purge(erasing.collections.get("default").key, upto=2)
    assert is_erased(tmp_path / "data", "12345")


def test_pages_that_were_split_and_joined_keep_nothing(erasing: Store, tmp_path: Path) -> None:
    """Rows move between pages as others come and go; texts of all lengths, some over several pages."""
    chance = random.Random(0)
    present: dict[str, str] = {}
    deleted: list[str] = []
    for n in range(400):
        secret = f"<secret {n}>"
        id_ = f"q{chance.randrange(1000)}"
        if id_ in present:
            continue
        erasing.questions.upsert(
            "default", [(id_, secret + "x" * chance.choice([0, 50, 900, 9000]))]
        )
        present[id_] = secret
        if len(present) > 150:
            gone = chance.choice(sorted(present))
            erasing.questions.delete("default", gone)
            deleted.append(present.pop(gone))
    assert len(deleted) > 100
    assert is_erased(tmp_path / "data", *deleted)


def test_what_a_reader_keeps_is_erased_when_it_has_read(erasing: Store, tmp_path: Path) -> None:
    erasing.questions.upsert("default", [("a", "my secret is 12345")])
    with erasing.view():
        assert erasing.collections.get("default").revision == 1
        erasing.questions.delete("default", "a")
        time.sleep(0.5)
        assert files_with(tmp_path / "data", "12345") == ["sameask.db-wal"]
    assert is_erased(tmp_path / "data", "12345")


def test_the_start_erases_what_a_killed_process_left_in_the_log(tmp_path: Path) -> None:
    path, copy = tmp_path / "data" / "sameask.db", tmp_path / "copy"
    path.parent.mkdir()
    copy.mkdir()
    with closing(Store(path)) as store, store.view():
        store.collections.get("default")
        store.questions.upsert("default", [("a", "my secret is 12345")])
        store.questions.delete("default", "a")
        for file in path.parent.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
    assert files_with(copy, "12345") == ["sameask.db-wal"]
    with closing(Store(copy / "sameask.db")):
        assert files_with(copy, "12345") == []


def test_a_failure_is_told_of_once_and_tried_again_less_and_less_often(
    erasing: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried_at = list[float]()
    connect = sqlite3.connect

    def full(place: Any, **how: Any) -> sqlite3.Connection:
        if "uri" not in how:
            connection: sqlite3.Connection = connect(place, **how)
            return connection
        tried_at.append(time.monotonic())
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("app.engine.store.sqlite.WAIT_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        erasing.questions.upsert("default", [("a", "my secret is 12345")])
        erasing.questions.delete("default", "a")
        wait_until(lambda: len(tried_at) == 5)
    assert "can't be emptied yet: database or disk is full" in caplog.text
    assert len(caplog.records) == 1
    pauses = np.diff(tried_at)
    assert (pauses > [0.1, 0.2, 0.4, 0.8]).all()
    assert is_erased(tmp_path / "data", "12345")


def test_many_deletions_share_few_checkpoints(
    erasing: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion waits for none."""
    emptied = 0

    def count(_: Path) -> bool:
        nonlocal emptied
        emptied += 1
        return True

    monkeypatch.setattr("app.engine.store.sqlite.empty_log", count)
    monkeypatch.setattr("app.engine.store.sqlite.WAIT_SECONDS", 60)
    erasing.questions.upsert("default", [(f"q{n}", f"question {n}") for n in range(50)])
    for n in range(50):
        erasing.questions.delete("default", f"q{n}")
    erasing.close()
    assert 1 <= emptied <= 2
