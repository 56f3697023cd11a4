"""Labels of pairs drawn by lot in; bounds of a precision and a recall that hold after every label out.

The share of duplicates μ among pairs is tested by a mixture martingale: with s duplicates and f others among the labels
drawn so far, and priors Beta(a, b) with weights w fixed before the first,

    E(μ) = Σ w · B(a + s, b + f) / (B(a, b) · μ^s · (1 - μ)^f)

has mean 1 if μ is the true share, after every label (Robbins, 1970; it is a bet against μ, as in Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting", 2024). By Ville's inequality it ever exceeds
1 / error with probability `error` at most: the shares at which it is below that hold the true one at every look.

Pairs come from strata that were drawn from at different rates. Of a stratum that was drawn from more often, labels are
left out, the latest first. In the end each label stands for as many pairs. Such a sample is no worse than one of all
pairs alike: for a bet λ, Π (1 + λ(μ_h - μ)) over strata h in proportion to their pairs is at most 1, by Jensen's
inequality. Strata that were hardly or not at all drawn from count as wrong for a lower bound and as right for an upper
one. Whether to leave a stratum out so is decided by numbers of labels alone, not by what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, xlog1py, xlogy

Numbers = NDArray[np.float64]

# Mostly that nearly all are duplicates, for the sake of a promise; that anything may be, for all else.
PRIORS = ((0.8, 9.5, 0.5), (0.2, 0.5, 0.5))  # weight, a, b
ROUNDS = 40  # of halving
NATS = 4.0  # about what a bound of 95 % takes: without an error among n labels it lies NATS / n below 1


@dataclass(frozen=True)
class Tally:
    """The knowledge of a set of pairs. The labels are a fair sample of the share `seen` of them, with these
    duplicates and others; the rest was not looked at."""

    seen: float
    duplicates: int
    different: int

    @property
    def labels(self) -> int:
        """How many labels are in the sample."""
        return self.duplicates + self.different


def is_at_least(
    share: Numbers | float, duplicates: Numbers, different: Numbers, error: float
) -> NDArray[np.bool_]:
    """Whether labels (n,) speak against every share of duplicates below this one."""
    is_above = duplicates > share * (duplicates + different)
    likelihood = _log_likelihood(share, duplicates, different)
    evidence = _log_marginal(duplicates, different) - likelihood
    return np.asarray(is_above & (evidence > -np.log(error)), dtype=np.bool_)


def least_share(duplicates: Numbers, different: Numbers, error: float) -> Numbers:
    """The least share of duplicates (n,) that labels don't speak against, by halving below the share that they show."""
    limit = _log_marginal(duplicates, different) + np.log(error)
    labels = duplicates + different
    low = np.zeros(len(labels))
    high: Numbers = np.divide(duplicates, labels, out=np.zeros_like(low), where=labels > 0)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        is_against = _log_likelihood(middle, duplicates, different) < limit
        low = np.where(is_against, middle, low)
        high = np.where(is_against, high, middle)
    return low


def greatest_share(duplicates: Numbers, different: Numbers, error: float) -> Numbers:
    """The greatest share of duplicates (n,) that labels don't speak against."""
    limit = _log_marginal(duplicates, different) + np.log(error)
    labels = duplicates + different
    high = np.ones(len(labels))
    low: Numbers = np.divide(duplicates, labels, out=np.ones_like(high), where=labels > 0)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        is_against = _log_likelihood(middle, duplicates, different) < limit
        high = np.where(is_against, middle, high)
        low = np.where(is_against, low, middle)
    return high


def least_precisions(tallies: Sequence[Tally], error: float) -> Numbers:
    """The lower bound (t,) of the share of duplicates in each set."""
    seen, duplicates, different = _columns(tallies)
    return seen * least_share(duplicates, different, error)


def hold(tallies: Sequence[Tally], target: float, error: float) -> NDArray[np.bool_]:
    """Whether the lower bound (t,) of each set's precision is the target's or more."""
    seen, duplicates, different = _columns(tallies)
    wanted = np.minimum(1.0, target / np.maximum(seen, 1e-12))
    return is_at_least(wanted, duplicates, different, error) & (seen >= target)


def greatest_precisions(tallies: Sequence[Tally], error: float) -> Numbers:
    """The upper bound (t,) of the share of duplicates in each set."""
    seen, duplicates, different = _columns(tallies)
    return 1 - seen + seen * greatest_share(duplicates, different, error)


def tally(is_duplicate: NDArray[np.bool_], weights: Numbers, pairs: float) -> Tally:
    """A fair sample of the labels (n,) of a set of `pairs`, in the order in which they were drawn.

    `weights` (n,) say for how many pairs each label stands.
    """
    best = Tally(0.0, 0, 0)
    rates = np.unique(weights)
    if pairs <= 0 or not len(rates):
        return best
    score = -np.inf
    for most in rates:
        kept = _thinned(weights, float(most))
        seen = min(1.0, float(weights[weights <= most].sum()) / pairs)
        worth = seen - NATS / max(1, len(kept))
        if worth > score:
            score = worth
            right = int(np.count_nonzero(is_duplicate[kept]))
            best = Tally(seen, right, len(kept) - right)
    return best


def _log_marginal(duplicates: Numbers, different: Numbers) -> Numbers:
    """The logarithm (n,) of the labels' probability under the priors."""
    parts = []
    for weight, a, b in PRIORS:
        posterior = np.log(weight) + betaln(a + duplicates, b + different)
        parts.append(posterior - betaln(a, b))
    total: Numbers = np.logaddexp.reduce(parts)
    return total


def _log_likelihood(share: Numbers | float, duplicates: Numbers, different: Numbers) -> Numbers:
    """The logarithm (n,) of the labels' probability if this is the share of duplicates."""
    return np.asarray(xlogy(duplicates, share) + xlog1py(different, -share), dtype=np.float64)


def _thinned(weights: Numbers, most: float) -> NDArray[np.int64]:
    """The places of labels that stand for `most` pairs each when the others are left out."""
    kept = []
    for weight in np.unique(weights[weights <= most]):
        places = np.flatnonzero(weights == weight)
        count = int(len(places) * weight / most + 0.5)
        kept.append(places[:count])
    return np.concatenate(kept)


def _columns(tallies: Sequence[Tally]) -> tuple[Numbers, Numbers, Numbers]:
    rows = [(one.seen, one.duplicates, one.different) for one in tallies]
    seen, duplicates, different = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return seen, duplicates, different
