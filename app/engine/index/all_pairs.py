"""Vectors in, all pairs of them that are at least so similar out: by products up to a size, through a graph above.

Both look in half precision a little below the bound; the similarities of what they find are made in float32.
"""

from collections.abc import Callable, Iterator
from timeit import repeat

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.scorer import similarity

EXACT_LIMIT = 500_000  # vectors; see docs/decisions/0018
# By which a product in bfloat16 may err: 2 ** -9 for each factor, the product and the bound.
SLACK = 2**-7
BLOCK = 1024  # vectors whose products with as many others are made at a time
GRAPH = "HNSW32_SQfp16"
EF_CONSTRUCTION = 40  # what is nearer than a bound lies close by: less search than for ten nearest
EF_SEARCH = 32
FIRST_LOOK = 8  # neighbours of each vector that are looked at; four times as many where all of them are near enough
MOST_NEIGHBOURS = 2048
ROWS = 4096  # vectors that the graph is given, or asked for, at a time

Advance = Callable[[int], None]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def near_pairs(
    vectors: NDArray[np.float32], least: float, advance: Advance = lambda _: None
) -> Pairs:
    """Rows i < j (m,) of (n, d) unit vectors, and their similarities (m,) of `least` or more, greatest first.

    Of a vector with more than 2,048 near ones, no more than so many are sure to be among them.
    `advance` is told how many vectors were searched for since it was last called.
    """
    search = _by_products if len(vectors) <= EXACT_LIMIT else _by_graph
    found = [np.empty(0, dtype=np.int64)]
    found += search(vectors, least - SLACK, advance)
    keys = np.unique(np.concatenate(found))
    first, second = np.divmod(keys, max(1, len(vectors)))
    similarities = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), ROWS):
        part = slice(start, start + ROWS)
        similarities[part] = similarity(vectors[first[part]], vectors[second[part]])
    order = np.lexsort((second, first, -similarities))
    order = order[similarities[order] >= np.float32(least)]
    return first[order], second[order], similarities[order]


def _by_products(
    vectors: NDArray[np.float32], least: float, advance: Advance
) -> Iterator[NDArray[np.int64]]:
    """The near ones among those that follow each vector: exact but for the many near ones of one vector."""
    rows = torch.from_numpy(np.asarray(vectors)).to(_fastest())
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        room = np.full(len(block), MOST_NEIGHBOURS)
        for past in range(start, len(rows), BLOCK):
            products = block @ rows[past : past + BLOCK].T
            first, second = _near_products(products, least, room)
            is_after = second + past > first + start
            first = first[is_after]
            second = second[is_after]
            begins = np.searchsorted(first, first)  # of a vector's pairs, which lie together
            rank = np.arange(len(first)) - begins
            is_kept = rank < room[first]
            first = first[is_kept]
            second = second[is_kept]
            room -= np.bincount(first, minlength=len(room))
            row = first + start
            other = second + past
            yield row * len(rows) + other
        advance(len(block))


def _near_products(
    products: torch.Tensor, least: float, room: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the products that are near enough, of the rows that still have room."""
    has_near = (products.amax(1) >= least).numpy()
    rows = np.flatnonzero(has_near & (room > 0))
    first, second = (products[rows] >= least).nonzero(as_tuple=True)
    return rows[first.numpy()], second.numpy()


def _fastest() -> torch.dtype:
    """float32, or bfloat16 where its products are faster here: on many processors they are far slower."""

    def seconds(dtype: torch.dtype) -> float:
        square = torch.ones(512, 512, dtype=dtype)
        return min(repeat(lambda: square @ square, number=1, repeat=3))

    return min((torch.float32, torch.bfloat16), key=seconds)


def _by_graph(
    vectors: NDArray[np.float32], least: float, advance: Advance
) -> Iterator[NDArray[np.int64]]:
    index = faiss.index_factory(vectors.shape[1], GRAPH, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    for start in range(0, len(vectors), ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + ROWS]))
    for start in range(0, len(vectors), ROWS):
        end = min(start + ROWS, len(vectors))
        rows = np.arange(start, end)
        for of, others in _near(index, vectors, rows, least):
            yield _keys(of, others, len(vectors))
        advance(len(rows))


def _near(
    index: faiss.Index, vectors: NDArray[np.float32], rows: NDArray[np.int64], least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For all near enough: the row, and the other. Where the last one looked at is near enough, more are looked at."""
    k = min(FIRST_LOOK, index.ntotal)
    while len(rows):
        parameters = faiss.SearchParametersHNSW(efSearch=max(EF_SEARCH, 2 * k))
        queries = np.ascontiguousarray(vectors[rows])
        similarities, others = index.search(queries, k, params=parameters)
        near = (similarities >= least) & (others >= 0)
        has_more = k < min(MOST_NEIGHBOURS, index.ntotal)
        is_full = near.all(axis=1) & has_more
        is_done = near & ~is_full[:, None]
        done, column = np.nonzero(is_done)
        yield rows[done], others[done, column]
        rows = rows[is_full]
        k = min(4 * k, index.ntotal)


def _keys(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """One number for each pair of two rows, whichever of them was looked from."""
    apart = first != second
    low = np.minimum(first, second)[apart]
    high = np.maximum(first, second)[apart]
    return np.unique(low * count + high)
