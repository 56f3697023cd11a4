"""The pairs that a person should label next: the undecided among near ones that nobody has labelled."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from app.engine.components import components

MOST = 50
MOST_OF_A_COMPONENT = 2


def most_helpful(
    pairs: Sequence[tuple[str, str]],
    probabilities: NDArray[np.float64],
    threshold: float,
    most: int = MOST,
) -> list[int]:
    """The places of the pairs whose labels would help most, the most helpful first.

    These are the pairs nearest to the threshold by log odds, and few of one component, since pairs that are tied
    say much the same. `probabilities` (n,) are those of the n pairs.
    """
    distances = np.abs(_log_odds(probabilities) - _log_odds(np.array(threshold)))
    numbers = components(pairs).tolist()
    chosen: list[int] = []
    taken: Counter[int] = Counter()
    for place in _in_order(distances):
        if taken[numbers[place]] < MOST_OF_A_COMPONENT:
            taken[numbers[place]] += 1
            chosen.append(place)
        if len(chosen) == most:
            break
    return chosen


def _in_order(distances: NDArray[np.float64]) -> Iterable[int]:
    order: list[int] = np.argsort(distances, kind="stable").tolist()
    return order


def _log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probabilities, 1e-6, 1 - 1e-6)))
