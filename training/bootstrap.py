"""Sets of pairs drawn again with replacement, by whole components: how uncertain a figure is (the bootstrap).

Pairs that are tied are no independent evidence, so a component is drawn with all its pairs or not at all.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (2.5, 97.5)  # of a 95 % interval
AT_ONCE = 50  # sets that are drawn together


def resampled(
    components: NDArray[np.int64], labels: NDArray[np.bool_], times: int
) -> Iterator[NDArray[np.float64]]:
    """How often each of n pairs stands in each of `times` sets: (b, n) float64 at a time, always the same.

    Sets without a pair of each class are left out, since most figures have no value there.
    """
    _, member = np.unique(components, return_inverse=True)
    count = int(member.max()) + 1
    chances = np.random.default_rng(0)
    for start in range(0, times, AT_ONCE):
        drawn = draw_counts(chances, count, min(AT_ONCE, times - start))
        weights = drawn[:, member]
        has_both = (weights @ labels > 0) & (weights @ ~labels > 0)
        yield weights[has_both]


def draw_counts(chances: np.random.Generator, count: int, times: int) -> NDArray[np.float64]:
    """How often each of `count` things comes when as many are drawn with replacement: (times, count) float64."""
    drawn = chances.integers(0, count, (times, count))
    cells = drawn + count * np.arange(times)[:, None]
    counts = np.bincount(cells.ravel(), minlength=times * count)
    return counts.reshape(times, count).astype(np.float64)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of a figure's values over resampled sets (Efron and Tibshirani, 1993)."""
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
