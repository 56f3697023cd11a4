"""The rows of replicas: who waits for whom, and how long a process may trust its own."""

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread
from time import monotonic

import psycopg
import pytest

from app.engine.store import Store
from app.engine.store.replicas import LEASE_SECONDS, Replicas
from tests.clock import Clock

DIMENSION = 4

Make = Callable[..., Replicas]


@pytest.fixture
def shared(cluster_url: str) -> Iterator[Store]:
    """A store with two tables of vectors, in which the default collection has begun."""
    with closing(Store(cluster_url)) as store:
        assert store.vectors
        for name in ("old", "new"):
            store.vectors.open(name, DIMENSION).begin({1: 0})
        yield store


@pytest.fixture
def replica(shared: Store) -> Iterator[Make]:
    """Makes one more."""
    made: list[Replicas] = []

    def make(clock: Callable[[], float] = monotonic) -> Replicas:
        made.append(Replicas(shared.database.driver, clock))
        return made[-1]

    yield make
    for each in made:
        each.leave()


def _seen(one: Replicas, *serves: str, fail: tuple[str, ...] = ()) -> set[str]:
    """The tables that came into doubt."""
    doubted: set[str] = set()
    one.be_seen(serves, fail, doubted.update)
    return doubted


def _move(url: str, table: str, revision: int) -> None:
    """Let a table show this revision of the default collection."""
    with psycopg.connect(url) as connection:
        changed = "UPDATE index_states SET revision = %s WHERE vectors_of = %s"
        assert connection.execute(changed, (revision, table)).rowcount == 1


def test_a_writer_waits_for_each_table_by_which_another_one_answers(
    replica: Make, cluster_url: str
) -> None:
    writer, other = replica(), replica()
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


def test_nobody_waits_for_a_collection_that_is_gone(replica: Make) -> None:
    writer, other = replica(), replica()
    _seen(other, "old")
    assert writer.are_behind(1, 1)
    assert not writer.are_behind(2, 1)


def test_a_row_that_is_not_renewed_counts_no_more_and_is_removed_later(
    replica: Make, cluster_url: str
) -> None:
    writer, dead = replica(), replica()
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


def test_who_was_not_seen_in_time_knows_it_and_doubts_what_it_knew(replica: Make) -> None:
    clock = Clock(1000.0)
    one = replica(clock)
    assert one.lease("old") == 0  # it answers by none yet
    assert _seen(one, "old") == {"old"}
    held = one.lease("old")
    clock.now += LEASE_SECONDS - 1
    assert _seen(one, "old", "new") == {"new"}
    assert one.lease("old") == held
    clock.now += LEASE_SECONDS + 1
    assert (one.lease("old"), one.lease("new")) == (None, None)
    assert _seen(one, "old") == {"old"}
    assert (
        one.lease("old") == 1
    )  # not the number before: what was searched meanwhile does not count


def test_a_table_whose_model_fails_is_no_answer_and_holds_nobody_up(replica: Make) -> None:
    writer, other = replica(), replica()
    _seen(other, "old")
    _seen(other, fail=("old",))
    assert not writer.are_behind(1, 1)
    assert other.lease("old") is None
    assert _seen(other, "old") == {"old"}
    assert other.lease("old") == 1


def test_what_one_calls_the_others_hear(replica: Make) -> None:
    caller, listener = replica(), replica()
    with listener.listening() as hear:
        assert hear(0.0) == []
        later = Thread(target=caller.call, args=["17"])
        later.start()
        assert hear(10.0) == ["17"]
        later.join()
