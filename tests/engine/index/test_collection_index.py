"""Both kinds of index by value, against NumPy: in memory by FAISS, and shared in PostgreSQL."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.engine.index import faiss_index, shared
from app.engine.index.collection_index import CollectionIndex, CollectionIndexes
from app.engine.index.hit import Hit
from app.engine.index.opening import open_indexes
from app.engine.index.tally import Totals
from app.engine.store import Store, vector_tables
from app.errors import NotReady

DIMENSION = 16
DIGEST = "a" * 64
ROUNDING = 1e-3  # of half precision
Vectors = NDArray[np.float32]
# An exact search of so few costs less than a graph's.
PREFER_GRAPHS = (*vector_tables.SETTINGS, "SET enable_sort = off")
NONE = np.empty((0, DIMENSION), dtype=np.float32)

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)


def unit_vectors(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def ids_of(hits: list[Hit]) -> list[int]:
    return [hit.revision for hit in hits]


def nearest(vectors: Vectors, query: Vectors, k: int, without: set[int] | None = None) -> list[int]:
    """Ids of the nearest rows, by NumPy; row i has the id i + 1."""
    ids = [int(i) + 1 for i in np.argsort(-(vectors @ query), kind="stable")]
    return [id_ for id_ in ids if id_ not in (without or set())][:k]


@pytest.fixture
def indexes(store: Store, tmp_path: Path) -> CollectionIndexes:
    return open_indexes(store, DIMENSION, tmp_path / "snapshots", DIGEST, "float32")


Fill = Callable[..., tuple[CollectionIndex, Vectors]]


@pytest.fixture
def fill(indexes: CollectionIndexes, store: Store, monkeypatch: pytest.MonkeyPatch) -> Fill:
    def filled(count: int, exact_limit: int = 5000) -> tuple[CollectionIndex, Vectors]:
        """An index whose entry i + 1 is row i of the vectors, at revision `count`, after its upkeep."""
        monkeypatch.setattr(faiss_index, "EXACT_LIMIT", exact_limit)
        monkeypatch.setattr(shared, "EXACT_LIMIT", exact_limit)
        if store.vectors and exact_limit < count:
            monkeypatch.setattr(vector_tables, "SETTINGS", PREFER_GRAPHS)
            store.database.driver.engine.dispose()
        vectors = unit_vectors(count)
        texts = [(f"q{number}", f"question {number}") for number in range(count)]
        if count:
            store.questions.upsert("default", texts)
        index = indexes[1]
        with index.catching_up:
            index.open()
            index.apply(count, range(1, count + 1), vectors, [])
            index.caught_up()
        indexes.upkeep()
        return index, vectors

    return filled


def test_exact_search_equals_numpy_by_value(fill: Fill) -> None:
    index, vectors = fill(300)
    queries = unit_vectors(40, seed=1)
    revision, found = index.search(queries, 7)
    assert revision == 300
    for query, hits in zip(queries, found, strict=True):
        ids = ids_of(hits)
        cosines = [float(vectors[id_ - 1] @ query) for id_ in ids]
        best = [float(vectors[id_ - 1] @ query) for id_ in nearest(vectors, query, 7)]
        assert cosines == pytest.approx(best, abs=ROUNDING)
        assert [hit.similarity for hit in hits] == pytest.approx(cosines, abs=ROUNDING)
        assert sorted(hits, key=lambda hit: -hit.similarity) == hits


def test_graph_search_finds_nearly_all_that_numpy_finds(fill: Fill) -> None:
    index, vectors = fill(2000, exact_limit=100)
    queries = unit_vectors(50, seed=1)
    _, found = index.search(queries, 10)
    right = 0
    for query, hits in zip(queries, found, strict=True):
        right += len(set(ids_of(hits)) & set(nearest(vectors, query, 10)))
    assert right >= 0.98 * 500


@pytest.mark.parametrize("exact_limit", [5000, 100])
def test_removed_questions_are_never_found_again(
    fill: Fill, indexes: CollectionIndexes, exact_limit: int
) -> None:
    index, vectors = fill(400, exact_limit)
    removed = set(range(1, 401, 2))
    index.apply(600, [], NONE, sorted(removed))
    for _ in range(2):
        right = 0
        for query in vectors[:50]:
            _, (hits,) = index.search(query[None], 10)
            assert len(hits) == 10
            assert not set(ids_of(hits)) & removed
            right += len(set(ids_of(hits)) & set(nearest(vectors, query, 10, removed)))
        assert right >= 490
        indexes.upkeep()
    assert index.ids().tolist() == list(range(2, 401, 2))
    assert indexes.state(1).size == indexes.look().questions == 200


@pytest.mark.parametrize("exact_limit", [5000, 50])
def test_search_finds_all_that_is_left_where_nearly_all_was_removed(
    fill: Fill, exact_limit: int
) -> None:
    """Among entries that have died, the few that live are found however far off they are."""
    index, _ = fill(1000, exact_limit)
    index.apply(1001, [], NONE, range(6, 1001))
    _, (hits,) = index.search(unit_vectors(1, seed=3), 10)
    assert sorted(ids_of(hits)) == [1, 2, 3, 4, 5]


def test_more_neighbours_than_questions_gives_all_of_them(fill: Fill) -> None:
    index, _ = fill(3)
    _, (hits,) = index.search(unit_vectors(1), 50)
    assert sorted(ids_of(hits)) == [1, 2, 3]


def test_empty_index_finds_nothing(fill: Fill) -> None:
    index, _ = fill(0)
    assert index.search(unit_vectors(2), 5) == (0, [[], []])
    assert (index.vectors([1]), index.ids().tolist()) == ({}, [])


def test_removing_what_is_not_there_does_nothing(fill: Fill, indexes: CollectionIndexes) -> None:
    index, _ = fill(2)
    index.apply(5, [], NONE, [7, 0, 2, 2])
    assert (index.ids().tolist(), index.revision, indexes.state(1).size) == ([1], 5, 1)


def test_vectors_by_id_are_those_of_the_living(fill: Fill) -> None:
    index, vectors = fill(400, exact_limit=100)
    index.apply(401, [], NONE, [7, 9])
    found = index.vectors([300, 7, 2, 9, 2, 401, 5000])
    assert sorted(found) == [2, 300]
    for id_, vector in found.items():
        assert vector == pytest.approx(vectors[id_ - 1], abs=ROUNDING)
        assert vector.dtype == np.float32
    assert index.vectors([]) == {}


def test_index_is_asked_once_it_has_caught_up(indexes: CollectionIndexes, store: Store) -> None:
    store.questions.upsert("default", [("a", "text"), ("b", "another")])
    with pytest.raises(NotReady):
        indexes.ready(1)
    index = indexes[1]
    index.open()
    index.apply(1, [1], unit_vectors(1), [])
    with pytest.raises(NotReady):
        indexes.ready(1)
    index.apply(2, [2], unit_vectors(1, seed=1), [])
    index.caught_up()
    assert indexes.ready(1).revision == 2
    store.questions.upsert("default", [("c", "one more")])
    assert indexes.ready(1).revision == 2  # once is enough


def test_collections_that_hold_nothing_are_ready_at_their_revision(
    indexes: CollectionIndexes, store: Store
) -> None:
    store.collections.create("other", 10)
    indexes.begin_empty({1: 0, 2: 0})
    assert [indexes.state(key).ready for key in (1, 2, 3)] == [True, True, False]
    assert (indexes.totals, indexes.look()) == (Totals(2, 0, 1.0),) * 2


def test_deleted_collection_is_let_go(indexes: CollectionIndexes, store: Store) -> None:
    store.collections.create("other", 10)
    store.questions.upsert("other", [("a", "text")])
    indexes[2].open()
    indexes[2].apply(1, [1], unit_vectors(1), [])
    indexes[2].caught_up()
    indexes.begin_empty({1: 0})
    store.collections.delete("other")
    indexes.forget(2)
    assert (indexes.state(2).ready, indexes.state(1).ready) == (False, True)
    assert indexes.look().questions == 0
    assert indexes[2].ids().tolist() == []


def test_changes_searches_and_upkeep_go_on_side_by_side(
    fill: Fill, indexes: CollectionIndexes
) -> None:
    index, _ = fill(200, exact_limit=100)
    vectors = unit_vectors(1000)
    done = threading.Event()
    wrong: list[str] = []

    def search() -> None:
        queries = unit_vectors(5, seed=2)
        while not done.is_set():
            revision, found = index.search(queries, 10)
            # At revision r the index holds r - 199 to r.
            wrong.extend(
                f"{ids} at {revision}"
                for ids in map(ids_of, found)
                if len(ids) != 10 or max(ids) > revision or min(ids) <= revision - 200
            )

    def maintain() -> None:
        while not done.is_set():
            indexes.upkeep()

    threads = [threading.Thread(target=work) for work in (search, search, maintain)]
    for thread in threads:
        thread.start()
    for start in range(200, 1000, 20):
        index.apply(
            start + 20,
            range(start + 1, start + 21),
            vectors[start : start + 20],
            range(start - 199, start - 179),
        )
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.ids().tolist() == list(range(801, 1001))


Step = tuple[int, list[int]]
STEPS = st.lists(
    st.tuples(st.integers(0, 30), st.lists(st.integers(1, 60), max_size=8)), min_size=1, max_size=6
)


@pytest.fixture
def fresh(store: Store, tmp_path: Path) -> Callable[[], CollectionIndex]:
    """A new index over nothing each time, of a release of its own."""
    numbers = iter(range(10**6))

    def opened() -> CollectionIndex:
        digest = f"{next(numbers):064}"[::-1]
        index = open_indexes(store, DIMENSION, tmp_path / "snapshots", digest, "float32")[1]
        index.open()
        return index

    return opened


def test_any_changes_leave_what_they_would_leave_of_a_dictionary(
    fresh: Callable[[], CollectionIndex],
) -> None:
    @settings(max_examples=25, deadline=None)
    @given(STEPS)
    def check(steps: list[Step]) -> None:
        index = fresh()
        pool = unit_vectors(200, seed=5)
        expected: dict[int, Vectors] = {}
        last = 0
        for added, removed in steps:
            ids = list(range(last + 1, last + added + 1))
            last += added + len(removed) + 1
            gone = [id_ for id_ in removed if id_ not in ids]
            index.apply(last, ids, pool[[id_ % 200 for id_ in ids]], gone)
            for id_ in gone:
                expected.pop(id_, None)
            expected |= {id_: pool[id_ % 200] for id_ in ids}
        assert index.ids().tolist() == sorted(expected)
        query = unit_vectors(1, seed=6)
        revision, (hits,) = index.search(query, 5)
        best = sorted((float(vector @ query[0]) for vector in expected.values()), reverse=True)
        assert [hit.similarity for hit in hits] == pytest.approx(best[:5], abs=ROUNDING)
        assert revision == last

    check()
