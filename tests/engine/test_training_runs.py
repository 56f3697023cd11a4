"""Training runs in the store, by value: who may start one, who holds it, and what damage can't do."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.engine.store import NewLabel, State, Store, TrainingRun
from app.engine.store import training_runs as room
from app.engine.store.database import TIME
from app.errors import (
    CollectionNotFound,
    DataDamaged,
    NothingToLearn,
    TrainingRunning,
    TrainingRunNotFound,
    WrongRunState,
)
from tests.engine.test_store import behind_its_back

REQUEST = {"recipe": "both", "champion": "/releases/live", "data_set": None}
LEASE = 30.0


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as store:
        label(store, "default")
        yield store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock that leases are made and read by."""
    moved = [0.0]

    class Moved(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            assert tz is UTC
            return datetime.now(UTC) + timedelta(seconds=moved[0])

    def move(seconds: float) -> None:
        moved[0] += seconds

    monkeypatch.setattr(room, "datetime", Moved)
    monkeypatch.setattr(room, "now", lambda: Moved.now(UTC).strftime(TIME))
    return move


def label(store: Store, collection: str) -> None:
    store.labels.write(collection, [NewLabel(True, "anna", questions=("One?", "Two?"))])


def start(store: Store, collection: str = "default") -> TrainingRun:
    return store.training_runs.start(collection, REQUEST)


def claimed(store: Store, holder: str = "anna's") -> TrainingRun:
    run = store.training_runs.claim(holder, LEASE)
    assert run is not None
    return run


# Asking


def test_a_run_is_queued_with_what_was_asked(store: Store) -> None:
    run = start(store)
    assert (run.id, run.collection, run.state, run.request, run.log) == (
        1,
        "default",
        "queued",
        REQUEST,
        "",
    )
    assert (run.started_at, run.pid, run.progress, run.gate, run.is_over) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert store.training_runs.get(run.id) == run


def test_a_collection_has_one_run_at_a_time_and_others_theirs(store: Store) -> None:
    store.collections.create("faq", 10)
    label(store, "faq")
    first = start(store)
    with pytest.raises(
        TrainingRunning, match=f"training run {first.id} of collection 'default'"
    ) as refusal:
        start(store)
    assert refusal.value.run_id == first.id
    assert start(store, "faq").state == "queued"
    claimed(store)
    with pytest.raises(TrainingRunning):
        start(store)
    store.training_runs.end(first.id, "anna's", "failed")
    assert start(store).id == 3


def test_without_an_active_label_there_is_nothing_to_learn(store: Store) -> None:
    store.collections.create("empty", 10)
    with pytest.raises(NothingToLearn, match="no labels to learn from"):
        start(store, "empty")
    store.labels.undo("default", 1, "anna")
    with pytest.raises(NothingToLearn):
        start(store)
    with pytest.raises(CollectionNotFound):
        start(store, "nowhere")
    assert store.training_runs.page(None, 10) == []


def test_of_many_who_start_at_once_one_does(store: Store) -> None:
    def attempt(_: int) -> int:
        try:
            return start(store).id
        except TrainingRunning as refusal:
            return -refusal.run_id

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [-1] * 7 + [1]


def test_runs_are_listed_from_the_latest(store: Store) -> None:
    for _ in range(3):
        store.training_runs.cancel(start(store).id)
    assert [run.id for run in store.training_runs.page(None, 2)] == [3, 2]
    assert [run.id for run in store.training_runs.page(2, 2)] == [1]


def test_an_id_is_never_used_again_though_its_collection_is_gone(store: Store) -> None:
    store.collections.create("faq", 10)
    label(store, "faq")
    first = start(store, "faq")
    store.collections.delete("faq")
    with pytest.raises(TrainingRunNotFound):
        store.training_runs.get(first.id)
    assert start(store).id == first.id + 1


# Leases


def test_a_queued_run_is_claimed_by_one_of_many(store: Store) -> None:
    run = start(store)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: store.training_runs.claim(f"worker {i}", LEASE), range(8)))
    (holder,) = [other for other in found if other]
    assert (holder.id, holder.state, holder.started_at is None) == (run.id, "running", False)


def test_the_oldest_is_claimed_first(store: Store) -> None:
    store.collections.create("faq", 10)
    label(store, "faq")
    start(store, "faq")
    start(store)
    assert [claimed(store, "a").id, claimed(store, "b").id] == [1, 2]
    assert store.training_runs.claim("c", LEASE) is None


def test_a_lease_that_is_held_is_nobody_elses(store: Store, clock: Callable[[float], None]) -> None:
    start(store)
    run = claimed(store)
    for _ in range(10):
        clock(LEASE / 2)
        assert store.training_runs.claim("another", LEASE) is None
        assert store.training_runs.hold(run.id, "anna's", LEASE)


def test_a_lease_that_has_lapsed_is_anybodys_and_no_more_its_holders(
    store: Store, clock: Callable[[float], None]
) -> None:
    start(store)
    run = claimed(store)
    clock(LEASE + 2)
    assert claimed(store, "another").id == run.id
    assert store.training_runs.hold(run.id, "anna's", LEASE, progress={"phase": "late"}) is None
    assert store.training_runs.end(run.id, "anna's", "failed") is None
    found = store.training_runs.get(run.id)
    assert (found.leased_by, found.state, found.progress) == ("another", "running", None)


def test_a_lease_from_before_the_clock_was_set_back_has_lapsed(
    store: Store, clock: Callable[[float], None]
) -> None:
    start(store)
    claimed(store)
    clock(-3600)
    assert claimed(store, "another").leased_by == "another"


def test_a_lease_that_is_held_stays_its_holders_though_the_clock_is_set_back(
    store: Store, clock: Callable[[float], None]
) -> None:
    start(store)
    run = claimed(store)
    clock(-3600)
    assert store.training_runs.hold(run.id, "anna's", LEASE)
    assert store.training_runs.claim("another", LEASE) is None
    assert store.training_runs.hold(run.id, "anna's", LEASE)


def test_a_holder_that_comes_again_finds_its_own_at_once(store: Store) -> None:
    start(store)
    run = claimed(store)
    store.training_runs.hold(run.id, "anna's", LEASE, pid=7, pid_started=8)
    again = claimed(store)
    assert (again.id, again.pid, again.pid_started, again.started_at) == (
        run.id,
        7,
        8,
        run.started_at,
    )


def test_holding_changes_what_is_said_and_nothing_else(store: Store) -> None:
    start(store)
    run = claimed(store)
    progress = {"phase": "training", "step": 3, "steps": 9, "loss": 0.5, "eta_seconds": None}
    held = store.training_runs.hold(run.id, "anna's", LEASE, progress=progress, log="step 3")
    assert held == store.training_runs.get(run.id)
    assert (held.progress, held.log, held.state, held.request) == (
        progress,
        "step 3",
        "running",
        REQUEST,
    )


# Ends


def test_a_run_ends_with_its_release_and_gate(store: Store) -> None:
    start(store)
    run = claimed(store)
    gate = {"outcome": "passed", "reasons": []}
    store.training_runs.end(run.id, "anna's", "succeeded", release="default-1", gate=gate)
    ended = store.training_runs.get(run.id)
    assert (ended.state, ended.release, ended.gate, ended.leased_by) == (
        "succeeded",
        "default-1",
        gate,
        None,
    )
    assert ended.is_over
    assert store.training_runs.claim("anna's", LEASE) is None


def test_a_queued_run_is_cancelled_at_once_and_a_running_one_told(store: Store) -> None:
    first = store.training_runs.cancel(start(store).id)
    assert (first.state, first.ended_at is None) == ("cancelled", False)
    assert store.training_runs.cancel(first.id) == first
    second = start(store)
    claimed(store)
    assert store.training_runs.cancel(second.id).cancelling
    assert store.training_runs.get(second.id).state == "running"
    store.training_runs.end(second.id, "anna's", "succeeded")
    with pytest.raises(WrongRunState, match="is succeeded: it can't be cancelled"):
        store.training_runs.cancel(second.id)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_what_failed_or_was_interrupted_is_resumed(store: Store, state: State) -> None:
    start(store)
    run = claimed(store)
    store.training_runs.hold(run.id, "anna's", LEASE, pid=7, pid_started=8)
    store.training_runs.end(run.id, "anna's", state, error="it broke")
    again = store.training_runs.resume(run.id)
    assert (again.state, again.error, again.pid, again.ended_at) == ("queued", None, None, None)
    with pytest.raises(WrongRunState, match="is queued: it can't be resumed"):
        store.training_runs.resume(run.id)
    assert claimed(store).id == run.id


def test_no_run_is_resumed_beside_another(store: Store) -> None:
    start(store)
    first = claimed(store)
    store.training_runs.end(first.id, "anna's", "failed")
    second = start(store)
    with pytest.raises(TrainingRunning, match=f"training run {second.id} "):
        store.training_runs.resume(first.id)


@pytest.mark.parametrize("state", ["succeeded", "cancelled"])
def test_what_is_done_is_not_resumed(store: Store, state: State) -> None:
    start(store)
    store.training_runs.end(claimed(store).id, "anna's", state)
    with pytest.raises(WrongRunState, match=f"is {state}"):
        store.training_runs.resume(1)


def test_every_end_is_announced_once_and_again_after_it_was_resumed(store: Store) -> None:
    run = start(store)
    assert store.training_runs.unannounced() == []
    store.training_runs.end(claimed(store).id, "anna's", "failed")
    assert [ended.id for ended in store.training_runs.unannounced()] == [run.id]
    store.training_runs.announce(run.id)
    assert store.training_runs.unannounced() == []
    store.training_runs.resume(run.id)
    store.training_runs.cancel(run.id)
    assert [ended.state for ended in store.training_runs.unannounced()] == ["cancelled"]


def test_one_of_several_tells_of_an_end_and_another_if_that_one_died(store: Store) -> None:
    runs = store.training_runs
    run = start(store)
    assert runs.claim_end("anna's", 30) is None
    runs.end(claimed(store).id, "anna's", "failed")
    told = runs.claim_end("anna's", 30)
    assert told is not None
    assert (told.id, told.state) == (run.id, "failed")
    assert runs.claim_end("bob's", 30) is None
    again = runs.claim_end("anna's", -5)  # it came back; the lease that it makes has lapsed
    assert again is not None
    after = runs.claim_end("bob's", 30)
    assert after is not None
    assert after.id == run.id
    runs.announce(run.id)
    assert runs.claim_end("bob's", 30) is None


def test_a_run_that_is_resumed_while_its_end_is_told_is_claimed_by_anybody(store: Store) -> None:
    runs = store.training_runs
    run = start(store)
    runs.end(claimed(store).id, "anna's", "failed")
    assert runs.claim_end("anna's", 600)
    runs.resume(run.id)
    resumed = runs.claim("bob's", 30)
    assert resumed is not None
    assert (resumed.id, resumed.leased_by) == (run.id, "bob's")
    runs.announce(run.id)
    assert runs.hold(run.id, "bob's", 30)


def test_files_are_needed_while_a_run_may_go_on(store: Store, path: Path) -> None:
    for state in ("succeeded", "cancelled", "failed", "interrupted"):
        store.training_runs.end(claimed(store).id if start(store) else 0, "anna's", state)
    start(store)
    assert store.training_runs.needing_files() == {3, 4, 5}
    behind_its_back(path, "UPDATE training_runs SET error = 'x' WHERE id = 1")
    assert store.training_runs.needing_files() == {1, 3, 4, 5}


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_what_failed_is_cancelled_so_that_nothing_of_it_is_kept(store: Store, state: State) -> None:
    start(store)
    failed = store.training_runs.end(claimed(store).id, "anna's", state, error="it broke")
    assert failed is not None
    cancelled = store.training_runs.cancel(failed.id)
    assert (cancelled.state, cancelled.error, cancelled.ended_at) == (
        "cancelled",
        "it broke",
        failed.ended_at,
    )
    assert store.training_runs.needing_files() == set()


# Damage


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", "queued"),
        ("request", "{}"),
        ("pid", 1),
        ("leased_by", "me"),
        ("collection", "faq"),
        ("checksum", 1),
    ],
)
def test_a_damaged_row_is_reported_and_passed_over(
    store: Store, path: Path, column: str, value: object
) -> None:
    start(store)
    claimed(store)
    behind_its_back(path, f"UPDATE training_runs SET {column} = ? WHERE id = 1", value)
    with pytest.raises(DataDamaged, match="training run 1"):
        store.training_runs.get(1)
    with pytest.raises(DataDamaged):
        store.training_runs.cancel(1)
    assert store.training_runs.page(None, 10) == []
    assert store.training_runs.hold(1, "anna's", LEASE) is None
    assert store.training_runs.claim("anna's", LEASE) is None
    assert store.training_runs.unannounced() == []
    assert store.database.damaged == 1
    assert start(store).id == 2  # it is in nobody's way


def test_what_stands_in_the_database_is_what_was_said(store: Store, path: Path) -> None:
    start(store)
    with closing(sqlite3.connect(path)) as connection:
        ((request, state),) = connection.execute(
            "SELECT request, state FROM training_runs"
        ).fetchall()
    assert (json.loads(request), state) == (REQUEST, "queued")
