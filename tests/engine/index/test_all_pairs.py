"""All near pairs of a set of vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.engine.index import all_pairs as neighbours
from app.engine.index.all_pairs import near_pairs


def vectors_around(count: int, centres: int, spread: float, seed: int) -> NDArray[np.float32]:
    """Unit vectors (count, 24) in clusters."""
    chance = np.random.default_rng(seed)
    found = chance.normal(size=(centres, 24))[chance.integers(centres, size=count)]
    found = found / np.linalg.norm(found, axis=1, keepdims=True) + spread * chance.normal(
        size=(count, 24)
    )
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def all_pairs(vectors: NDArray[np.float32], least: float) -> dict[tuple[int, int], float]:
    products = vectors @ vectors.T
    return {
        (i, j): float(products[i, j])
        for i in range(len(vectors))
        for j in range(i + 1, len(vectors))
        if products[i, j] >= least
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(
    st.integers(0, 60),
    st.integers(1, 8),
    st.floats(0.01, 0.6),
    st.integers(0, 99),
    st.floats(0.05, 0.95),
)
@settings(max_examples=60, deadline=None)
def test_they_are_all_pairs_above_the_bound(
    dtype: torch.dtype, count: int, centres: int, spread: float, seed: int, least: float
) -> None:
    vectors = vectors_around(count, centres, spread, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_fastest", lambda: dtype)
        patch.setattr(neighbours, "BLOCK", 16)
        first, second, similarities = near_pairs(vectors, least)
    found = dict(
        zip(zip(first.tolist(), second.tolist(), strict=True), similarities.tolist(), strict=True)
    )
    assert len(found) == len(first)
    expected = all_pairs(vectors, least)
    for pair in found.keys() ^ expected.keys():  # rounding decides about those at the bound itself
        assert found.get(pair, expected.get(pair)) == pytest.approx(least, abs=1e-5)
    for pair in found.keys() & expected.keys():
        assert found[pair] == pytest.approx(expected[pair], abs=1e-5)
    assert similarities.tolist() == sorted(similarities.tolist(), reverse=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_loses_none_at_the_bound(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_fastest", lambda: dtype)
    vectors = vectors_around(600, 3, 0.05, seed=3)
    found = np.sort(near_pairs(vectors, 0.5)[2])
    for least in found[:: len(found) // 50]:  # each the bound once: halves say less of some of them
        assert np.count_nonzero(found >= least) == len(near_pairs(vectors, float(least))[0])


def test_of_very_many_that_are_the_same_each_has_so_many_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "MOST_NEIGHBOURS", 10)
    monkeypatch.setattr(neighbours, "BLOCK", 8)
    first, second, _ = near_pairs(np.repeat(vectors_around(1, 1, 0.1, seed=4), 30, axis=0), 0.9)
    assert {i: sorted(second[first == i].tolist()) for i in range(29)} == {
        i: list(range(i + 1, min(i + 11, 30))) for i in range(29)
    }


def test_a_graph_finds_nearly_all_of_them_also_in_groups_larger_than_the_first_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = vectors_around(6_000, 200, 0.02, seed=1)  # about thirty in each group
    monkeypatch.setattr(neighbours, "ROWS", 1_000)
    monkeypatch.setattr(neighbours, "EXACT_LIMIT", 5_000)
    first, second, _ = near_pairs(vectors, 0.9)
    expected = np.count_nonzero(np.triu(vectors @ vectors.T, 1) >= 0.9)
    assert expected > 50_000
    assert len(first) <= expected + 5
    assert len(first) / expected > 0.99
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(first)


@pytest.mark.parametrize("exact_limit", [5_000, 6_000])
def test_progress_counts_every_vector_once(
    exact_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "EXACT_LIMIT", exact_limit)
    counted: list[int] = []
    near_pairs(vectors_around(5_500, 10, 0.2, seed=2), 0.99, counted.append)
    assert sum(counted) == 5_500
