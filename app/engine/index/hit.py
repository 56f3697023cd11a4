"""One hit of a search."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.engine.scorer import similarity


class Hit(NamedTuple):
    """An indexed question that a search found: its revision, and its similarity to the query."""

    revision: int
    similarity: float


def hits_of(
    query: NDArray[np.float32], ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> list[Hit]:
    """Hits of one query by the similarity of vectors (k, d), the older first where it is the same."""
    similarities = similarity(np.broadcast_to(query, vectors.shape), vectors)
    order = np.lexsort((ids, -similarities))
    return [*map(Hit, ids[order].tolist(), similarities[order].tolist())]
