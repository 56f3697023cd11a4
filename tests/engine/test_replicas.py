"""The rows of replicas: who waits for whom, and how long a process may trust its own."""

from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import psycopg
import pytest

from app.engine.store import Store
from app.engine.store.replicas import LEASE_SECONDS, Replicas

DIMENSION = 4


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shared(cluster_url: str) -> Iterator[Store]:
    """A store with two tables of vectors, in which the default collection has begun."""
    with closing(Store(cluster_url)) as store:
        assert store.vectors
        for name in ("old", "new"):
            store.vectors.open(name, DIMENSION).begin({1: 0})
        yield store


def _replica(store: Store, clock: Clock | None = None) -> Replicas:
    driver = store.database.driver
    return Replicas(driver, clock) if clock else Replicas(driver)


def _seen(replica: Replicas, *serves: str, fail: tuple[str, ...] = ()) -> set[str]:
    """The tables that came into doubt."""
    doubted: set[str] = set()
    replica.be_seen(serves, fail, doubted.update)
    return doubted


def _move(url: str, table: str, revision: int) -> None:
    """Let a table show this revision of the default collection."""
    with psycopg.connect(url) as connection:
        changed = "UPDATE index_states SET revision = %s WHERE vectors_of = %s"
        assert connection.execute(changed, (revision, table)).rowcount == 1


def test_a_writer_waits_for_each_table_by_which_another_one_answers(
    shared: Store, cluster_url: str
) -> None:
    writer, other = _replica(shared), _replica(shared)
    _seen(writer, "old")
    assert not writer.are_behind(1, 5)  # there is nobody else
    _seen(other, "new", "old")
    assert writer.are_behind(1, 5)
    _move(cluster_url, "new", 5)
    assert writer.are_behind(1, 5)
    _move(cluster_url, "old", 5)
    assert not writer.are_behind(1, 5)
    assert writer.are_behind(1, 6)
    _seen(other, "old")
    other.leave()
    assert not writer.are_behind(1, 6)


def test_nobody_waits_for_a_collection_that_is_gone(shared: Store) -> None:
    writer, other = _replica(shared), _replica(shared)
    _seen(other, "old")
    assert writer.are_behind(1, 1)
    assert not writer.are_behind(2, 1)


def test_a_row_that_is_not_renewed_counts_no_more_and_is_removed_later(
    shared: Store, cluster_url: str
) -> None:
    writer, dead = _replica(shared), _replica(shared)
    _seen(dead, "old")
    assert writer.are_behind(1, 1)
    assert (writer.has_others(), writer.serve("old")) == (True, True)
    with psycopg.connect(cluster_url) as connection:
        connection.execute("UPDATE replicas SET seen_at = seen_at - interval '11 seconds'")
    assert not writer.are_behind(1, 1)
    assert (writer.has_others(), writer.serve("old")) == (False, False)
    with psycopg.connect(cluster_url) as connection:
        connection.execute("UPDATE replicas SET seen_at = seen_at - interval '1 minute'")
    _seen(writer, "old")
    with psycopg.connect(cluster_url) as connection:
        assert connection.execute("SELECT count(*) FROM replicas").fetchone() == (1,)


def test_who_was_not_seen_in_time_knows_it_and_doubts_what_it_knew(shared: Store) -> None:
    clock = Clock()
    replica = _replica(shared, clock)
    assert replica.lease("old") == 0  # it answers by none yet
    assert _seen(replica, "old") == {"old"}
    held = replica.lease("old")
    clock.now += LEASE_SECONDS - 1
    assert _seen(replica, "old", "new") == {"new"}
    assert replica.lease("old") == held
    clock.now += LEASE_SECONDS + 1
    assert (replica.lease("old"), replica.lease("new")) == (None, None)
    assert _seen(replica, "old") == {"old"}
    assert (
        replica.lease("old") == 1
    )  # not the number before: what was searched meanwhile does not count


def test_a_table_whose_model_fails_is_no_answer_and_holds_nobody_up(shared: Store) -> None:
    writer, other = _replica(shared), _replica(shared)
    _seen(other, "old")
    _seen(other, fail=("old",))
    assert not writer.are_behind(1, 1)
    assert other.lease("old") is None
    assert _seen(other, "old") == {"old"}
    assert other.lease("old") == 1


def test_what_one_calls_the_others_hear(shared: Store) -> None:
    caller, listener = _replica(shared), _replica(shared)
    with listener.listening() as hear:
        assert hear(0.0) == []
        later = Thread(target=caller.call, args=["17"])
        later.start()
        assert hear(10.0) == ["17"]
        later.join()
