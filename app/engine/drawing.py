"""The pair to label next, by lot: from the stratum where a label helps most, or from any. In a stratum every pair has
the same chance.

A fifth of the draws take a stratum at random, so that none stays unseen. The others go above the threshold that lacks
the fewest labels for the wanted precision: to a stratum by its pairs, and the less the more labels it has. A pair that
was drawn is not drawn again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.collection_thresholds import PRIOR, Evidence

Numbers = NDArray[np.float64]
OfferedBy = Literal["chosen", "random"]

RANDOM_SHARE = 0.2  # of the draws, which take a stratum at random
STRATA = len(PRIOR)
FOCI = (0.9, 0.75, 0.5)  # edges of strata above which a promise is sought
AHEAD = 5  # labels by which a plan looks ahead


@dataclass(frozen=True)
class Plan:
    """The chance (h,) of each stratum to be the next one that is drawn from, where it is chosen."""

    chances: Numbers


@dataclass(frozen=True)
class Draw:
    """The stratum to draw from, how it was chosen, and the probability of that choice."""

    stratum: int
    by: OfferedBy
    probability: float


def plan(evidence: Evidence, target: float, least: float) -> Plan:
    """Where labels help most to support the target at a threshold of `least` or more.

    Above the threshold that is sought, each stratum gets labels in proportion to its pairs: a fair sample of them all.
    """
    starts = [start for start in FOCI if start >= least] or [FOCI[0]]
    focus = starts[_focus(evidence, starts, target)]
    pairs, labels = evidence.labels_by_stratum(focus)
    total = pairs.sum()
    if total <= 0:
        return Plan(pairs)
    lacking = pairs / total * (labels.sum() + AHEAD) - labels
    return Plan(np.maximum(lacking, 0.0))


def draw(plan: Plan, left: NDArray[np.int64], lots: np.random.Generator) -> Draw | None:
    """The next stratum of those (h,) that have pairs left; None where none has."""
    is_open = left > 0
    if not is_open.any():
        return None
    at_random = is_open / is_open.sum()
    wanted = plan.chances * is_open
    total = wanted.sum()
    chosen = wanted / total if total > 0 else at_random
    by: OfferedBy = "random" if lots.random() < RANDOM_SHARE or total <= 0 else "chosen"
    chances = chosen if by == "chosen" else at_random
    stratum = int(lots.choice(STRATA, p=chances))
    both = (1 - RANDOM_SHARE) * chosen + RANDOM_SHARE * at_random
    return Draw(stratum, by, float(both[stratum]))


def _focus(evidence: Evidence, starts: Sequence[float], target: float) -> int:
    """The place of the start above which to label next.

    Only starts below all those at which the target holds by now come into question, if there are any. Of these it is
    the one that lacks the fewest labels; one that has as many pairs left goes first.
    """
    is_held = evidence.holds(starts, target)
    lacking = evidence.lacking_at(starts, target)
    left = [_left(evidence, start) for start in starts]
    below = [place for place in range(len(starts)) if not is_held[place:].any()]
    if not below:
        return len(starts) - 1
    return min(below, key=lambda place: (lacking[place] > left[place], lacking[place], place))


def _left(evidence: Evidence, start: float) -> float:
    """How many pairs at or above a start have no label."""
    pairs, labels = evidence.labels_by_stratum(start)
    return float((pairs - labels).sum())
