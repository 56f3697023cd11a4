"""Vectors in, all pairs of them that are at least so similar out: exact up to a size, through a graph above it."""

from collections.abc import Callable, Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.scorer import similarity

EXACT_LIMIT = 5_000  # vectors
GRAPH = "HNSW32_SQfp16"
EF_CONSTRUCTION = (
    40  # what is nearer than a threshold lies close by: less search than for the ten nearest, whatever they are
)
EF_SEARCH = 32
FIRST_LOOK = 8  # neighbours of each vector that are looked at; four times as many where all of them are near enough
MOST_NEIGHBOURS = 2048
ROWS = 4096  # vectors that are added or searched for at a time
SLACK = 2e-3  # by which half precision may err

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def near_pairs(vectors: NDArray[np.float32], least: float, advance: Callable[[int], None] = lambda _: None) -> Pairs:
    """Rows i < j (m,) of (n, d) unit vectors, and their similarities (m,) of `least` or more, greatest first.

    `advance` is told how many vectors were searched for since it was last called.
    """
    index = _built(vectors)
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(vectors), ROWS):
        rows = np.arange(start, min(start + ROWS, len(vectors)))
        found += [_keys(of, others, len(vectors)) for of, others in _near(index, vectors, rows, least - SLACK)]
        advance(len(rows))
    first, second = np.divmod(np.unique(np.concatenate(found)), max(1, len(vectors)))
    similarities = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), ROWS):
        part = slice(start, start + ROWS)
        similarities[part] = similarity(vectors[first[part]], vectors[second[part]])
    order = np.lexsort((second, first, -similarities))
    order = order[similarities[order] >= np.float32(least)]
    return first[order], second[order], similarities[order]


def _built(vectors: NDArray[np.float32]) -> faiss.Index:
    if len(vectors) <= EXACT_LIMIT:
        index = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = faiss.index_factory(vectors.shape[1], GRAPH, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
    for start in range(0, len(vectors), ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + ROWS]))
    return index


def _near(
    index: faiss.Index, vectors: NDArray[np.float32], rows: NDArray[np.int64], least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For all near enough: the row, and the other. Where the last one looked at is near enough, more are looked at."""
    k = min(FIRST_LOOK, index.ntotal)
    while len(rows):
        similarities, others = _search(index, np.ascontiguousarray(vectors[rows]), k)
        near = (similarities >= least) & (others >= 0)
        is_full = near.all(axis=1) & (k < min(MOST_NEIGHBOURS, index.ntotal))
        done, column = np.nonzero(near & ~is_full[:, None])
        yield rows[done], others[done, column]
        rows, k = rows[is_full], min(4 * k, index.ntotal)


def _search(index: faiss.Index, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if not isinstance(index, faiss.IndexHNSW):
        return index.search(queries, k)  # type: ignore[no-any-return]
    return index.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=max(EF_SEARCH, 2 * k)))  # type: ignore[no-any-return]


def _keys(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """One number for each pair of two rows, whichever of them was looked from."""
    apart = first != second
    low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
    return np.unique(low * count + high)
