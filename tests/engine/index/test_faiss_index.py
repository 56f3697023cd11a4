"""The index against NumPy, by value: exact and as a graph, through deaths and rebuilds."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.index.faiss_index import COPY_CHUNK, Body, Index
from app.engine.index.hit import Hit

DIMENSION = 16
Vectors = NDArray[np.float32]


def unit_vectors(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def filled(count: int, exact_limit: int = 5000) -> tuple[Index, Vectors]:
    """An index whose entry i + 1 is row i of the vectors, at revision `count`."""
    index, vectors = Index(DIMENSION, exact_limit=exact_limit), unit_vectors(count)
    index.apply(count, range(1, count + 1), vectors, [])
    return index, vectors


def ids_of(hits: list[Hit]) -> list[int]:
    return [hit.revision for hit in hits]


def nearest(vectors: Vectors, query: Vectors, k: int, without: set[int] | None = None) -> list[int]:
    """Ids of the nearest rows, by NumPy."""
    ids = [int(i) + 1 for i in np.argsort(-(vectors @ query), kind="stable")]
    return [id_ for id_ in ids if id_ not in (without or set())][:k]


def test_exact_search_equals_numpy_by_value() -> None:
    index, vectors = filled(300)
    queries = unit_vectors(20, seed=1)
    revision, found = index.search(queries, 7)
    assert revision == 300
    for query, hits in zip(queries, found, strict=True):
        ids = ids_of(hits)
        assert ids == nearest(vectors, query, 7)
        cosines = [vectors[id_ - 1] @ query for id_ in ids]
        assert [hit.similarity for hit in hits] == pytest.approx(cosines, abs=1e-6)


@pytest.mark.parametrize("exact_limit", [5000, 50])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_change_that_failed_half_way_is_made_by_the_next_attempt(
    exact_limit: int, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, _ = filled(200, exact_limit)
    index.rebuild()
    queries = unit_vectors(5, seed=1)
    before = index.search(queries, 7)
    with monkeypatch.context() as patch:
        patch.setattr(Body, "append", failing_at(fails_at))
        with pytest.raises(MemoryError):
            index.apply(400, range(201, 401), unit_vectors(200, seed=2), [5])
    assert index.search(queries, 7) == before
    assert index.ids().tolist() == list(range(1, 201))
    # Some were replaced meanwhile, and one that could not be embedded now can.
    ids = [*range(203, 401), 402]
    added = unit_vectors(len(ids), seed=2)
    index.apply(402, ids, added, [5])
    assert index.ids().tolist() == [*range(1, 5), *range(6, 201), *ids]
    assert np.allclose(index.vectors([402])[402], added[-1], atol=1e-3)
    assert index.revision == 402


def failing_at(call: int) -> Callable[..., None]:
    """In place of `Body.append`: it fails at this call, as memory is short."""
    append = Body.append
    calls = 0

    def failing(*of: Any, live: bool) -> None:
        nonlocal calls
        calls += 1
        if calls == call + 1:
            raise MemoryError
        append(*of, live=live)

    return failing


def test_what_a_failed_change_left_is_in_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    index, _ = filled(200, exact_limit=50)
    index.rebuild()
    with monkeypatch.context() as patch:
        patch.setattr(Body, "append", failing_at(1))
        with pytest.raises(MemoryError):
            index.apply(400, range(201, 401), unit_vectors(200, seed=2), [])
    with index.reading() as (revision, body):
        assert (revision, body.ids.tolist()) == (200, list(range(1, 201)))


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_change_that_failed_in_its_last_step_is_made_by_the_next_attempt(
    fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory was short as searches were told of what is dead, or of what is new."""
    index, _ = filled(200, exact_limit=50)
    index.rebuild()
    set_live = Body.set_live
    calls = 0

    def failing(body: Body, ids: Any, live: bool) -> Any:
        nonlocal calls
        changed = set_live(body, ids, live)
        calls += 1
        if calls == fails_at:
            raise MemoryError
        return changed

    added = unit_vectors(200, seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(Body, "set_live", failing)
        with pytest.raises(MemoryError):
            index.apply(400, range(201, 401), added, [5])
    assert index.revision == 200
    index.apply(400, range(201, 401), added, [5])
    assert index.ids().tolist() == [*range(1, 5), *range(6, 401)]


def test_who_waited_to_save_while_a_change_failed_saves_nothing_that_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, _ = filled(200, exact_limit=50)
    index.rebuild()
    append = Body.append
    seen: list[tuple[int, list[int]]] = []
    calls = 0

    def save() -> None:
        with index.reading() as (revision, body):
            seen.append((revision, body.ids.tolist()))

    saving = threading.Thread(target=save)

    def failing(*of: Any, live: bool) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            saving.start()
            saving.join(0.2)  # it waits by now
            raise MemoryError
        append(*of, live=live)

    with monkeypatch.context() as patch:
        patch.setattr(Body, "append", failing)
        with pytest.raises(MemoryError):
            index.apply(400, range(201, 401), unit_vectors(200, seed=2), [])
        saving.join()
    assert seen == [(200, list(range(1, 201)))]


def test_who_saves_during_a_change_waits_for_it_and_builds_nothing_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, _ = filled(200, exact_limit=50)
    rebuilds: list[Index] = []
    seen: list[int] = []
    append = Body.append

    def save() -> None:
        with index.reading() as (revision, _):
            seen.append(revision)

    saving = threading.Thread(target=save)

    def append_while_somebody_saves(*of: Any, live: bool) -> None:
        append(*of, live=live)
        saving.start()
        saving.join(0.2)  # it would be rebuilding by now

    monkeypatch.setattr(Body, "append", append_while_somebody_saves)
    monkeypatch.setattr(Index, "rebuild", lambda index: rebuilds.append(index))
    index.apply(210, range(201, 211), unit_vectors(10, seed=2), [])
    saving.join()
    assert (seen, rebuilds) == ([210], [])


def test_graph_search_finds_nearly_all_that_numpy_finds() -> None:
    index, vectors = filled(3000, exact_limit=100)
    index.rebuild()
    queries = unit_vectors(100, seed=1)
    _, found = index.search(queries, 10)
    hits = [
        set(ids_of(one)) & set(nearest(vectors, q, 10))
        for q, one in zip(queries, found, strict=True)
    ]
    assert sum(map(len, hits)) >= 0.98 * 1000
    cosines = [vectors[id_ - 1] @ queries[0] for id_ in ids_of(found[0])]
    assert [hit.similarity for hit in found[0]] == pytest.approx(cosines, abs=1e-3)


@pytest.mark.parametrize("exact_limit", [5000, 100])
def test_removed_entries_are_never_found_again(exact_limit: int) -> None:
    index, vectors = filled(400, exact_limit)
    index.rebuild()
    removed = set(range(1, 401, 2))
    index.apply(600, [], unit_vectors(0), sorted(removed))
    for _ in range(2):
        hits = 0
        for query in vectors[:50]:
            _, (found,) = index.search(query[None], 10)
            assert not set(ids_of(found)) & removed
            hits += len(set(ids_of(found)) & set(nearest(vectors, query, 10, without=removed)))
        assert hits >= (500 if exact_limit == 5000 else 490)
        index.rebuild()
    assert index.ids().tolist() == list(range(2, 401, 2))
    assert index.dead_share == 0


def test_more_neighbours_than_entries_gives_all_entries() -> None:
    index, _ = filled(3)
    _, (found,) = index.search(unit_vectors(1), 50)
    assert sorted(ids_of(found)) == [1, 2, 3]


def test_empty_index_finds_nothing() -> None:
    revision, found = Index(DIMENSION).search(unit_vectors(2), 5)
    assert (revision, found) == (0, [[], []])


@pytest.mark.parametrize("ids", [[3, 2], [2, 2], [1]])
def test_ids_must_ascend_past_every_id_in_the_index(ids: list[int]) -> None:
    index, _ = filled(1)
    with pytest.raises(ValueError, match="ascend"):
        index.apply(9, ids, unit_vectors(len(ids)), [])
    assert index.revision == 1


def test_removing_what_is_not_there_does_nothing() -> None:
    index, _ = filled(2)
    index.apply(5, [], unit_vectors(0), [7, 0, 2, 2])
    assert (index.ids().tolist(), index.revision) == ([1], 5)


def test_size_asks_for_a_rebuild() -> None:
    wants = []
    index, _ = filled(100, exact_limit=100)
    wants.append(index.wants_rebuild)
    index.apply(101, [101], unit_vectors(1), [])
    wants.append(index.wants_rebuild)
    index.rebuild()
    wants.append(index.wants_rebuild)
    assert wants == [False, True, False]


def test_deaths_ask_for_a_rebuild() -> None:
    index, _ = filled(100, exact_limit=50)
    index.rebuild()
    index.apply(101, [], unit_vectors(0), range(1, 21))
    assert (index.wants_rebuild, round(index.dead_share, 6)) == (False, 0.2)
    index.apply(102, [], unit_vectors(0), [21])
    assert (index.wants_rebuild, round(index.dead_share, 6)) == (True, 0.21)
    index.rebuild()
    assert (index.wants_rebuild, index.dead_share, len(index)) == (False, 0, 79)


def test_recall_is_the_share_of_the_exactly_nearest_that_search_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index, _ = filled(2000, exact_limit=100)
    index.rebuild()
    assert index.recall(10, 50) >= 0.98
    search = index.search

    def halved(queries: Vectors, k: int) -> tuple[int, list[list[Hit]]]:
        revision, found = search(queries, k)
        return revision, [hits[: k // 2] for hits in found]

    monkeypatch.setattr(index, "search", halved)
    assert index.recall(10, 50) == pytest.approx(0.5, abs=0.01)


def test_changes_searches_and_rebuilds_go_on_side_by_side() -> None:
    index, _ = filled(500, exact_limit=100)
    vectors = unit_vectors(2500)
    done = threading.Event()
    wrong: list[str] = []

    def search() -> None:
        queries = unit_vectors(5, seed=2)
        while not done.is_set():
            revision, found = index.search(queries, 10)
            # At revision r the index holds r - 499 to r.
            wrong.extend(
                f"{ids} at {revision}"
                for ids in map(ids_of, found)
                if len(ids) != 10 or max(ids) > revision or min(ids) <= revision - 500
            )

    def rebuild() -> None:
        while not done.is_set():
            index.rebuild()

    threads = [threading.Thread(target=work) for work in (search, search, rebuild)]
    for thread in threads:
        thread.start()
    for start in range(500, 2500, 20):
        index.apply(
            start + 20,
            range(start + 1, start + 21),
            vectors[start : start + 20],
            range(start - 499, start - 479),
        )
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert index.ids().tolist() == list(range(2001, 2501))


def test_a_rebuild_that_is_to_end_leaves_the_index_as_it_was() -> None:
    index, vectors = filled(3 * COPY_CHUNK, exact_limit=1000)
    copied = list[int]()

    def is_ending() -> bool:
        copied.append(COPY_CHUNK)
        return len(copied) == 2

    index.rebuild(is_ending)
    assert len(copied) == 2
    assert index.wants_rebuild
    (hits,) = index.search(vectors[:1], 1)[1]
    assert ids_of(hits) == [1]
    index.rebuild()
    assert not index.wants_rebuild


@pytest.mark.parametrize("exact_limit", [5000, 100])
def test_vectors_by_id_are_those_of_the_living(exact_limit: int) -> None:
    index, vectors = filled(400, exact_limit)
    index.rebuild()
    index.apply(401, [], unit_vectors(0), [7, 9])
    found = index.vectors([300, 7, 2, 9, 2, 401, 5000])
    assert sorted(found) == [2, 300]
    for id_, vector in found.items():
        assert vector == pytest.approx(vectors[id_ - 1], abs=1e-3)
    assert index.vectors([]) == Index(DIMENSION).vectors([1]) == {}


def test_a_graph_with_nothing_in_it_stays_one() -> None:
    index = Index(2, body=Body.empty(2, graph=True))
    index.apply(1, [1], np.array([[1, 0]], dtype=np.float32), [])
    with index.reading() as (_, body):
        assert body.is_graph
