"""What a release that nobody uses holds up: a week's replaced versions, and then nothing."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from app.engine.index.in_memory import IndexesInMemory
from app.engine.index.in_use import MARK, UNUSED_SECONDS
from app.engine.store import Store
from app.engine.store.question_rows import questions
from tests.engine.test_damaged_rows import followed

OLD, NEW = "a" * 64, "b" * 64


def indexes_of(store: Store, folder: Path, release: str) -> IndexesInMemory:
    return IndexesInMemory(store, 4, folder / "snapshots", release)


def write(store: Store, words: str) -> None:
    store.questions.upsert("default", [(f"q{number}", f"{words} {number}") for number in range(5)])


def rows(store: Store) -> int:
    """Of all versions."""
    with store.database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(questions)
        return int(connection.execute(count).scalar_one())


def saved(store: Store, indexes: IndexesInMemory) -> IndexesInMemory:
    followed(store, indexes, 1)
    indexes.save()
    return indexes


def used(folder: Path, release: str, seconds_ago: float) -> None:
    """Let this be when a release was last used."""
    at = time.time() - seconds_ago
    os.utime(folder / "snapshots" / release[:16] / MARK, (at, at))


@pytest.fixture
def swapped(store: Store, tmp_path: Path) -> IndexesInMemory:
    """The indexes of the release that took another's place, after a write that this one did not see."""
    write(store, "first")
    old = saved(store, indexes_of(store, tmp_path, OLD))
    new = indexes_of(store, tmp_path, NEW)
    new[1].reserve()
    saved(store, new)
    old.clear()
    write(store, "second")
    return saved(store, new)


def test_a_release_that_was_replaced_begins_for_a_week_with_what_it_saved(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    used(tmp_path, OLD, UNUSED_SECONDS - 60)
    write(store, "third")
    saved(store, swapped)
    assert rows(store) == 15
    again = indexes_of(store, tmp_path, OLD)
    again[1].open()
    assert again[1].ids().tolist() == [1, 2, 3, 4, 5]
    assert followed(store, again, 1).ids().tolist() == [11, 12, 13, 14, 15]


def test_after_a_week_replaced_versions_go_and_its_snapshot_with_them(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    used(tmp_path, OLD, UNUSED_SECONDS + 60)
    assert rows(store) == 10
    write(store, "third")
    saved(store, swapped)
    assert rows(store) == 5
    again = indexes_of(store, tmp_path, OLD)
    again[1].open()
    assert again[1].revision == 0
    assert followed(store, again, 1).ids().tolist() == [11, 12, 13, 14, 15]


def test_a_release_that_was_in_use_until_its_process_was_killed_is_waited_for(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    old = indexes_of(store, tmp_path, OLD)
    used(tmp_path, OLD, UNUSED_SECONDS + 60)  # as nothing was saved since
    old.upkeep()
    del old  # without an end
    write(store, "third")
    saved(store, swapped)
    assert rows(store) == 15


def test_they_go_at_the_next_start_though_nothing_changes(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    swapped.clear()
    used(tmp_path, OLD, UNUSED_SECONDS + 60)
    started = indexes_of(store, tmp_path, NEW)
    started.remove_leftovers()
    assert rows(store) == 5
    started[1].open()
    assert started[1].ids().tolist() == [6, 7, 8, 9, 10]


def test_a_release_in_use_is_waited_for_however_long_nothing_changed(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    shadow = indexes_of(store, tmp_path, OLD)
    shadow[1].open()
    used(tmp_path, OLD, UNUSED_SECONDS + 60)
    write(store, "third")
    saved(store, swapped)
    assert rows(store) == 15
    assert followed(store, shadow, 1).ids().tolist() == [11, 12, 13, 14, 15]


def test_what_a_shadow_reserved_that_never_came_holds_for_a_week(
    store: Store, tmp_path: Path
) -> None:
    new = indexes_of(store, tmp_path, NEW)
    shadow = indexes_of(store, tmp_path, OLD)
    shadow[1].reserve()
    shadow.clear()
    for words in ("first", "second"):
        write(store, words)
        saved(store, new)
    assert rows(store) == 10
    used(tmp_path, OLD, UNUSED_SECONDS + 60)
    write(store, "third")
    saved(store, new)
    assert rows(store) == 5


@pytest.mark.parametrize("noted", [False, True])
def test_the_week_begins_where_nothing_is_noted_or_the_clock_was_set_back(
    store: Store, tmp_path: Path, swapped: IndexesInMemory, noted: bool
) -> None:
    mark = tmp_path / "snapshots" / OLD[:16] / MARK
    mark.rmdir()
    if noted:
        mark.mkdir()
        used(tmp_path, OLD, -3600)
    write(store, "third")
    saved(store, swapped)
    assert rows(store) == 15
    assert abs(time.time() - mark.stat().st_mtime) < 60


def test_a_snapshot_that_is_not_behind_stays(
    store: Store, tmp_path: Path, swapped: IndexesInMemory
) -> None:
    other = saved(store, indexes_of(store, tmp_path, "c" * 64))
    other.clear()
    used(tmp_path, "c" * 64, UNUSED_SECONDS + 60)
    swapped.remove_leftovers()
    again = indexes_of(store, tmp_path, "c" * 64)
    again[1].open()
    assert np.array_equal(again[1].ids(), swapped[1].ids())
