"""Two replicas over one PostgreSQL: what one writes both find, one works at a time, what one leaves the other does."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from app.engine.index import shared
from app.engine.index.opening import remove_indexes
from app.engine.index.shared import SharedIndexes
from app.engine.index.snapshot import vectors_of
from app.engine.store import Store, vector_tables, vectors
from app.engine.store.replicas import LEASE_SECONDS
from app.engine.store.vectors import name_of
from app.errors import DatabaseUnavailable, NotReady
from tests.engine.index.test_collection_index import (
    DIGEST,
    DIMENSION,
    NONE,
    PREFER_GRAPHS,
    unit_vectors,
)
from tests.serving import PATIENCE_SECONDS, wait_until

Open = Callable[..., SharedIndexes]

pytestmark = pytest.mark.parametrize("store", ["postgresql"], indirect=True)


@pytest.fixture
def replica(store: Store) -> Open:
    """Opens the indexes of a release as another replica does."""

    def opened(digest: str = DIGEST, same_vectors: str | None = None) -> SharedIndexes:
        assert store.vectors
        same = vectors_of(same_vectors, "float32") if same_vectors else None
        return SharedIndexes(store, store.vectors, DIMENSION, vectors_of(digest, "float32"), same)

    return opened


def write(store: Store, indexes: SharedIndexes, count: int) -> None:
    """Questions of the default collection, and their vectors."""
    before = store.collections.get("default").revision
    texts = [(f"q{number}", f"text {number}") for number in range(before, before + count)]
    store.questions.upsert("default", texts)
    index = indexes[1]
    with index.catching_up:
        index.open()
        ids = range(before + 1, before + count + 1)
        index.apply(before + count, ids, unit_vectors(before + count)[before:], [])


def execute(store: Store, statement: str) -> int:
    with store.database.driver.engine.begin() as connection:
        return connection.exec_driver_sql(statement).rowcount


def test_other_replica_finds_what_one_has_written_without_catching_up(
    store: Store, replica: Open
) -> None:
    one = replica()
    other = replica()
    with pytest.raises(NotReady):
        other.ready(1)
    write(store, one, 30)
    for count in (30, 31, 32):
        query = unit_vectors(count)[-1:]
        revision, (hits,) = other.ready(1).search(query, 1)
        assert (revision, hits[0].revision) == (count, count)
        assert hits[0].similarity == pytest.approx(1, abs=1e-3)
        write(store, one, 1)
    one[1].apply(34, [], NONE, [33])
    assert other[1].vectors([33]) == {}
    assert other[1].search(query, 40)[0] == 34


def test_release_with_the_same_vectors_begins_with_those_of_the_other(
    store: Store, replica: Open
) -> None:
    write(store, replica(), 30)
    same = replica("b" * 64, DIGEST)
    same.look()
    revision, (hits,) = same.ready(1).search(unit_vectors(30)[-1:], 1)
    assert (revision, len(same[1].ids()), hits[0].revision) == (30, 30, 30)
    write(store, same, 1)
    assert replica("b" * 64, DIGEST)[1].ids().tolist() == list(range(1, 32))  # copied once
    for other, of in (("c" * 64, None), ("d" * 64, "e" * 64)):
        with pytest.raises(NotReady):
            replica(other, of).ready(1)


def test_copy_that_takes_long_holds_up_no_other_table(
    store: Store, replica: Open, cluster_url: str
) -> None:
    one = replica()
    write(store, one, 30)
    copied: list[SharedIndexes] = []
    copying = threading.Thread(target=lambda: copied.append(replica("b" * 64, DIGEST)))
    with psycopg.connect(cluster_url) as connection:
        connection.execute(f"LOCK TABLE {vectors.name_of(one.vectors_of)}")
        copying.start()
        wait_until(lambda: waiting(connection) == 1)
        replica("c" * 64)  # as of a replica that starts meanwhile
        assert copied == []
    copying.join()
    assert copied[0][1].ids().tolist() == list(range(1, 31))


def waiting(connection: psycopg.Connection) -> int:
    """How many locks are waited for."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    (row,) = connection.execute(query).fetchall()
    return int(row[0])


def test_change_that_begins_elsewhere_is_not_applied(store: Store, replica: Open) -> None:
    """A replica that lost what let it work alone can't write over the work of another one."""
    one = replica()
    other = replica()
    write(store, one, 2)
    one[1].look()
    other[1].look()
    other[1].apply(4, [3, 4], unit_vectors(2), [1])
    one[1].apply(3, [3], unit_vectors(1), [])  # the other one was there already
    assert (one[1].revision, one[1].ids().tolist()) == (4, [2, 3, 4])
    other[1].apply(5, [5], unit_vectors(1), [])
    with pytest.raises(NotReady, match="another replica"):
        one[1].apply(9, [9], unit_vectors(1), [2])
    assert one[1].ids().tolist() == [2, 3, 4, 5]


def test_changes_since_a_revision_that_is_over_are_not_applied(store: Store, replica: Open) -> None:
    """They were looked for before a question was written along with its vector."""
    index = replica()[1]
    write(store, replica(), 2)
    index.look()
    index.apply(3, [3], unit_vectors(1), [])
    index.apply(2, [], NONE, [], since=2)
    index.look()
    assert (index.revision, index.ids().tolist()) == (3, [1, 2, 3])


def test_only_one_replica_catches_up_at_a_time(store: Store, replica: Open) -> None:
    one = replica()
    other = replica()
    seen: list[str] = []
    waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    def work() -> None:
        with other[1].catching_up:
            seen.append("other")

    with one[1].catching_up:
        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: bool(seen) or execute(store, waiting) == 1)
        with one[2].catching_up:  # another collection
            seen.append("one")
    thread.join()
    assert seen == ["one", "other"]


def test_lock_ends_with_the_connection_that_held_it(store: Store, replica: Open) -> None:
    one = replica()
    other = replica()
    with one[1].catching_up:
        execute(
            store,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
        )
        with other[1].catching_up:
            pass


def test_nothing_is_ready_while_nobody_would_wait_for_this_replica(
    store: Store, replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.replicas
    one = replica()
    write(store, one, 3)
    now = 100.0
    monkeypatch.setattr(store.replicas, "_clock", lambda: now)

    def be_seen() -> None:
        assert store.replicas
        store.replicas.be_seen([one.vectors_of], [], lambda tables: one.doubt() if tables else None)

    be_seen()
    assert one.look().ready == 1
    now += LEASE_SECONDS + 1
    assert (one.totals.ready, one.totals.questions) == (0, 3)
    with pytest.raises(NotReady):
        one[1].search(unit_vectors(1), 1)
    be_seen()
    assert one.totals.ready == 0  # others may have written meanwhile
    assert one.look().ready == 1
    assert one[1].search(unit_vectors(1), 1)[0] == 3


def test_collections_that_do_not_move_on_were_left_behind(store: Store, replica: Open) -> None:
    one = replica()
    other = replica()
    write(store, one, 2)
    store.questions.upsert("default", [("x", "x"), ("y", "y")])
    assert other.left_behind() == set()
    assert other.left_behind() == {1}
    one[1].apply(3, [3], unit_vectors(1), [])
    assert other.left_behind() == set()  # somebody is at work
    assert other.left_behind() == {1}
    one[1].apply(4, [4], unit_vectors(1), [])
    assert other.left_behind() == set()


@pytest.fixture
def graphs_from_20(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "EXACT_LIMIT", 20)


def graphs(store: Store) -> dict[str, bool]:
    query = (
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'hnsw'"
    )
    with store.database.driver.engine.begin() as connection:
        return {row.relname: row.indisvalid for row in connection.exec_driver_sql(query)}


@pytest.mark.usefixtures("graphs_from_20")
def test_graph_comes_and_goes_with_size(store: Store, replica: Open) -> None:
    one = replica()
    write(store, one, 20)
    one.upkeep()
    assert graphs(store) == {}
    write(store, one, 1)
    replica().upkeep()  # whoever looks first
    assert list(graphs(store).values()) == [True]
    with store.database.driver.engine.begin() as connection:  # as many as a search has to know of
        known = "SELECT reltuples FROM pg_class WHERE relname = 'questions'"
        assert connection.exec_driver_sql(known).scalar_one() >= 0
    assert next(iter(graphs(store))).endswith("_1")
    one.upkeep()
    assert len(graphs(store)) == 1
    one[1].apply(22, [], NONE, range(1, 13))
    one.upkeep()
    assert graphs(store) == {}


@pytest.mark.usefixtures("graphs_from_20")
def test_graph_that_nobody_finished_is_built_anew(store: Store, replica: Open) -> None:
    one = replica()
    write(store, one, 30)
    one.upkeep()
    (name,) = graphs(store)
    execute(store, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass")
    replica().upkeep()
    assert graphs(store) == {name: True}


@pytest.mark.usefixtures("graphs_from_20")
def test_graph_that_is_being_built_is_left_off_at_the_end(store: Store, replica: Open) -> None:
    one = replica()
    write(store, one, 30)
    table = name_of(vectors_of(DIGEST, "float32"))
    engine = store.database.driver.engine
    with engine.begin() as writer, ThreadPoolExecutor(1) as thread:
        writer.exec_driver_sql(f"DELETE FROM {table} WHERE false")  # it is waited for
        upkeep = thread.submit(one.upkeep)
        wait_until(lambda: list(graphs(store).values()) == [False])
        one.end_upkeep()
        with pytest.raises(DatabaseUnavailable):
            upkeep.result(PATIENCE_SECONDS)
    one.upkeep()
    assert list(graphs(store).values()) == [False]
    replica().upkeep()
    assert list(graphs(store).values()) == [True]


@pytest.mark.usefixtures("graphs_from_20")
def test_graph_of_a_deleted_collection_goes(store: Store, replica: Open) -> None:
    one = replica()
    store.collections.create("other", 10)
    store.questions.upsert("other", [(f"q{number}", "text") for number in range(30)])
    one[2].open()
    one[2].apply(30, range(1, 31), unit_vectors(30), [])
    one.upkeep()
    assert len(graphs(store)) == 1
    store.collections.delete("other")
    later = replica()
    later.remove_leftovers()
    later.upkeep()
    assert graphs(store) == {}
    assert later[2].ids().tolist() == []


def edit(store: Store, indexes: SharedIndexes, words: str) -> None:
    """Replace every question of the default collection, and bring an index up to the store."""
    texts = [(f"q{number}", f"{words} {number}") for number in range(30)]
    store.questions.upsert("default", texts)
    follow(store, indexes)


def follow(store: Store, indexes: SharedIndexes) -> None:
    index = indexes[1]
    with index.catching_up:
        index.open()
        changes = store.revisions.changes_since(1, index.revision, 512)
        assert changes
        ids = [question.revision for question in changes.added]
        index.apply(changes.revision, ids, unit_vectors(len(ids)), changes.removed)


def versions(store: Store) -> int:
    with store.database.driver.engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM questions").scalar_one())


def test_release_that_nobody_answers_by_holds_no_replaced_version(
    store: Store, replica: Open
) -> None:
    old = replica()
    edit(store, old, "first")
    new = replica("b" * 64)
    follow(store, new)
    for words in ("second", "third"):
        edit(store, new, words)
        new.save()
        assert versions(store) == 30
    again = replica()
    assert again[1].ids().tolist() == []
    again.look()
    assert (again.state(1).revision, again.state(1).size) == (30, 0)
    follow(store, again)
    assert again[1].ids().tolist() == list(range(61, 91))
    assert again.state(1).size == 30


def test_release_keeps_the_vectors_of_what_was_not_replaced_meanwhile(
    store: Store, replica: Open
) -> None:
    old = replica()
    edit(store, old, "first")
    new = replica("b" * 64)
    follow(store, new)
    store.questions.upsert("default", [("q0", "another")])
    store.questions.delete("default", "q1")
    follow(store, new)
    new.save()
    again = replica()
    assert again[1].ids().tolist() == list(range(3, 31))
    follow(store, again)
    assert again[1].ids().tolist() == list(range(3, 32))
    assert again.state(1).size == 29


def test_vector_that_comes_after_its_version_was_purged_goes_with_the_next(
    store: Store, replica: Open
) -> None:
    """A shadow embeds what it read before."""
    live = replica()
    edit(store, live, "first")
    shadow = replica("b" * 64)
    shadow[1].open()
    changes = store.revisions.changes_since(1, 0, 512)
    assert changes
    edit(store, live, "second")
    live.save()
    ids = [question.revision for question in changes.added]
    shadow[1].apply(changes.revision, ids, unit_vectors(30), [])
    follow(store, shadow)
    edit(store, live, "third")
    live.save()
    follow(store, shadow)
    assert shadow[1].ids().tolist() == list(range(61, 91))
    assert shadow.state(1).size == 30


def test_release_that_was_removed_while_a_replica_opened_it_keeps_no_replaced_version(
    store: Store, replica: Open
) -> None:
    live = replica()
    edit(store, live, "first")
    shadow = replica("b" * 64)
    assert store.vectors
    store.vectors.drop(shadow.vectors_of)  # at another replica
    shadow[1].open()  # it knows nothing of that
    edit(store, live, "second")
    live.save()
    assert versions(store) == 30
    assert live[1].ids().tolist() == list(range(31, 61))
    left = f"DELETE FROM index_states WHERE vectors_of = '{shadow.vectors_of}'"
    assert execute(store, left) == 0


def test_replica_that_answers_by_another_release_is_waited_for(
    store: Store, replica: Open, cluster_url: str
) -> None:
    old = replica()
    edit(store, old, "first")
    with closing(Store(cluster_url)) as other:
        assert other.replicas
        other.replicas.be_seen([old.vectors_of], [], lambda _: None)
        new = replica("b" * 64)
        follow(store, new)
        edit(store, new, "second")
        new.save()
        assert versions(store) == 60
        other.replicas.leave()
    edit(store, new, "third")
    new.save()
    assert versions(store) == 30


@pytest.mark.usefixtures("graphs_from_20")
def test_search_asks_the_graph(
    store: Store, replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each query of a search does, where exact search costs more, as it does in a large collection."""
    monkeypatch.setattr(vector_tables, "SETTINGS", PREFER_GRAPHS)
    store.database.driver.engine.dispose()
    one = replica()
    write(store, one, 200)
    one.upkeep()
    (name,) = graphs(store)
    plan = ""

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        nonlocal plan
        if statement.startswith(vectors.SEARCH[:20]):
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plan += "\n".join(line for (line,) in cursor.fetchall())

    engine = store.database.driver.engine
    sa.event.listen(engine, "before_cursor_execute", explain)
    for count in (1, 3):
        plan = ""
        one[1].search(unit_vectors(count), 10)
        assert f"Index Scan using {name}" in plan, plan
    sa.event.remove(engine, "before_cursor_execute", explain)


@pytest.mark.usefixtures("graphs_from_20")
def test_recall_is_checked_after_many_changes(
    store: Store, replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replica()
    write(store, one, 200)
    one.upkeep()
    assert one.totals.recall >= 0.98
    search = one[1].search
    monkeypatch.setattr(one[1], "search", lambda queries, k: search(queries, k // 2))
    write(store, one, 10)
    one.upkeep()
    assert one.totals.recall >= 0.98  # few changes
    write(store, one, 20)
    one.upkeep()
    assert one.totals.recall == pytest.approx(0.5, abs=0.02)


def test_releases_stand_side_by_side(store: Store, replica: Open, tmp_path: Path) -> None:
    one = replica()
    shadow = replica("b" * 64)
    write(store, one, 3)
    with pytest.raises(NotReady):
        shadow.ready(1)
    shadow[1].open()
    shadow[1].apply(3, [1, 3], -unit_vectors(3)[::2], [])
    assert (one[1].ids().tolist(), shadow[1].ids().tolist()) == ([1, 2, 3], [1, 3])
    remove_indexes(store, tmp_path, "b" * 64)
    assert one[1].vectors([1])[1] == pytest.approx(unit_vectors(1)[0], abs=1e-3)
    assert replica("b" * 64)[1].ids().tolist() == []


def test_replaced_versions_stay_until_they_are_many(store: Store, replica: Open) -> None:
    one = replica()
    write(store, one, 1)
    store.questions.upsert("default", [("q0", "another text")])
    one[1].apply(2, [2], unit_vectors(1), [1])
    one.save_when_due(after=3)
    assert sorted(store.questions.read(1, [1, 2])) == [1, 2]  # not due
    one.save_when_due(after=2)
    assert sorted(store.questions.read(1, [1, 2])) == [2]


def test_opening_at_the_same_time_makes_one_table(replica: Open) -> None:
    opened: list[SharedIndexes] = []
    begin = threading.Barrier(4)

    def work() -> None:
        begin.wait()
        opened.append(replica("c" * 64))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4


def test_vectors_of_another_dimension_have_another_table(store: Store, replica: Open) -> None:
    """As another encoder of the same release could not have, this is an error, not a wrong answer."""
    one = replica()
    write(store, one, 1)
    with pytest.raises(sa.exc.DBAPIError, match="dimensions"):
        one[1].apply(2, [2], np.ones((1, DIMENSION + 1), np.float32), [])
    assert one[1].ids().tolist() == [1]
