"""Connected components of questions: any chain of pairs ties its questions together.

Two questions with the same folded text (`text.folded`) are one question here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from app.engine.text import folded_digest


def components(pairs: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    """The number (n,) of the connected component in which each of n pairs of texts lies."""
    rows: dict[bytes, int] = {}
    ends = np.empty((len(pairs), 2), dtype=np.int64)
    for number, texts in enumerate(pairs):
        for side, text in enumerate(texts):
            ends[number, side] = rows.setdefault(folded_digest(text), len(rows))
    first, second = ends.T
    shape = (len(rows), len(rows))
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=shape)
    _, of_question = connected_components(graph, directed=False)
    return np.asarray(of_question[first], dtype=np.int64)
