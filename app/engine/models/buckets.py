"""Few shapes for many batches: each shape that a model runs in costs memory for good, for kernels or a recording."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def width(longest: int, steps: Sequence[tuple[float, int]], most: int | None) -> int:
    """The least of a few widths that holds so many tokens, within `most`, the model's positions.

    It is a multiple of a step, the one of the first limit that is not passed; the last limit is infinite.
    """
    step = _step(longest, steps)
    rounded = math.ceil(longest / step) * step
    return min(rounded, most) if most else rounded


def fitted(array: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """The same rows in another width; what is cut or added is padding."""
    if columns <= array.shape[1]:
        return np.ascontiguousarray(array[:, :columns])
    missing = columns - array.shape[1]
    return np.pad(array, ((0, 0), (0, missing)))


def _step(longest: int, steps: Sequence[tuple[float, int]]) -> int:
    for limit, step in steps:
        if longest <= limit:
            return step
    raise ValueError("the last limit is infinite")
