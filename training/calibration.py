"""Evidence and labels in, a map to probability and thresholds that hold out."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import beta, norm
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_recall_curve
from sklearn.model_selection import StratifiedGroupKFold

from app.engine.release import TARGET_PRECISIONS
from app.engine.scorer import (
    Calibration,
    Scale,
    Threshold,
    Thresholds,
    limited,
)
from app.errors import CommandError

CONFIDENCE = 0.95
FIRST_COUNTS = (
    50,
    100,
    200,
    400,
)  # pairs at or above the thresholds where a search may begin
ERROR = (1 - CONFIDENCE) / len(FIRST_COUNTS)  # of each of these searches
STEP = 1.05  # each further threshold is tried with this many times the pairs of the one before
FOLDS = 5
LEAST_DUPLICATE = 0.5  # no pair is called a duplicate that is more probably none
SUPPORT = 5  # pairs that must have been seen close above a threshold, and close below it
CLOSE = 1.0  # in log odds
KNOTS = 50  # most knots of an isotonic map
CERTAIN = 1e-6  # probabilities are clipped so far from 0 and 1 for the log loss
SETTLED_SHARE = 0.005  # of the duplicates, those whose similarity may lie where no pair is read

Features = Sequence[NDArray[np.float32]]
Limits = Sequence[float | None] | None  # of each feature; see Calibration


def fit_scale(
    features: Features,
    labels: NDArray[np.bool_],
    components: NDArray[np.int64],
    limits: Limits = None,
) -> Scale:
    """Calibration and thresholds of features (n,) that speak for n labelled pairs.

    Raises CommandError for fewer pairs, of either class, than there are folds.
    """
    calibration = fit_calibration(features, labels, components, limits)
    probabilities = calibration.probability(*features)
    review = best_f2_threshold(probabilities, labels)
    least = max(review, LEAST_DUPLICATE)
    duplicate = {}
    for target in TARGET_PRECISIONS:
        duplicate[target] = fit_threshold(
            probabilities,
            labels,
            float(target),
            least,
        )
    return Scale(calibration, Thresholds(duplicate, review))


def fit_calibration(
    features: Features,
    labels: NDArray[np.bool_],
    components: NDArray[np.int64],
    limits: Limits = None,
) -> Calibration:
    """A logistic map of the features, or an isotonic one behind it where that has the smaller log loss.

    The losses are those on pairs that the map was not fitted on: five folds of whole components. A fold whose other
    pairs are of one class, as one component may have all duplicates, says nothing.
    """
    assert_enough(labels, components)
    rows = np.stack(features, axis=1)
    losses = {False: 0.0, True: 0.0}
    for train, test in StratifiedGroupKFold(FOLDS).split(rows, labels, components):
        duplicates = np.count_nonzero(labels[train])
        if duplicates in (0, len(train)):
            continue
        for isotonic in losses:
            fitted = _fit(rows[train], labels[train], limits, isotonic=isotonic)
            probabilities = fitted.probability(*rows[test].T)
            clipped = np.clip(probabilities, CERTAIN, 1 - CERTAIN)
            losses[isotonic] += log_loss(labels[test], clipped, labels=[False, True])
    return _fit(rows, labels, limits, isotonic=losses[True] < losses[False])


def assert_enough(labels: NDArray[np.bool_], components: NDArray[np.int64]) -> None:
    """Raise CommandError for fewer pairs, of either class, or fewer components than there are folds."""
    smallest = min(np.count_nonzero(labels), np.count_nonzero(~labels))
    if smallest < FOLDS or len(np.unique(components)) < FOLDS:
        raise CommandError(
            f"calibration needs {FOLDS} pairs of each class, of {FOLDS} components; label more pairs"
        )


def open_from(similarities: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The similarity from which pairs are worth reading: all but one in 200 duplicates lie at or above it.

    Of fewer than 200, all do.
    """
    return float(np.quantile(similarities[labels], SETTLED_SHARE, method="lower"))


def _fit(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    limits: Limits,
    *,
    isotonic: bool,
) -> Calibration:
    """All but unregularised logistic regression (Platt, 1999), and an isotonic map behind it."""
    columns = limited(list(rows.T), limits)
    model = LogisticRegression(C=1e6, max_iter=1000).fit(columns, labels)
    weights = model.coef_[0].tolist()
    bias = float(model.intercept_[0])
    knots = None
    if isotonic:
        values = expit(columns @ np.asarray(weights) + bias)
        knots = _knots(values, labels)
    return Calibration(weights, bias, knots, limits)


def _knots(values: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Means of the steps that isotonic regression makes, so that the line between them still rises."""
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    heights = np.sort(isotonic.fit_transform(values, labels))
    edges = np.flatnonzero(np.diff(heights)) + 1
    steps = np.split(np.sort(values), edges)
    levels = heights[np.append(0, edges)].tolist()
    places = np.linspace(0, len(steps) - 1, min(KNOTS, len(steps)))
    knots = [(0.0, 0.0)]
    for place in np.unique(places.astype(int)):
        level = levels[place]
        if 0 < level < 1:
            mean = float(steps[place].mean())
            knots.append((mean, level))
    knots.append((1.0, 1.0))
    return knots


def best_f2_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The probability from which showing pairs to a person gives the greatest F2 (van Rijsbergen, 1979).

    Recall counts twice as much as precision: a duplicate that was missed stays missed, and a pair that was shown in
    vain costs a look.
    """
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    weighed = np.maximum(4 * precision + recall, 1e-12)
    f2 = 5 * precision * recall / weighed
    best = int(np.argmax(f2[:-1]))
    return float(thresholds[best])


def fit_threshold(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    target: float,
    least: float | None = None,
) -> Threshold:
    """The lowest threshold whose precision is at least `target` with 95 % confidence, if there is one.

    Thresholds are tested from the most cautious downwards until one fails, each by the lower Clopper-Pearson
    bound; such a fixed sequence keeps its confidence although the threshold is chosen on the same labels
    (Bauer, 1991; Angelopoulos et al., "Learn then Test", 2021). As labels are noisy at the very top, the
    sequence may begin at several counts, which share the allowed error (Bonferroni).

    With `least` no threshold lies below it, nor where hardly a pair was seen close above and close below: labels of
    easy pairs leave a gap between the classes, of which they say nothing.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    right = np.cumsum(labels[order], dtype=np.int64)
    allowed = np.ones(len(ranked), dtype=np.bool_)
    if least is not None:
        allowed = (ranked >= least) & _is_supported(ranked)
    best = 0
    for first in FIRST_COUNTS:
        holding = _counts_that_hold(ranked, right, first, target)
        for count in holding:
            if allowed[count - 1]:
                best = max(best, count)
    if not best:
        return Threshold(None, None, 0.0, 0, lacking=_lacking(right, target))
    hits = int(right[best - 1])
    bound = _lower_bound(hits, best)
    recall = hits / int(labels.sum())
    return Threshold(float(ranked[best - 1]), bound, recall, best)


def _is_supported(ranked: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a threshold at one of n falling probabilities has pairs close above it and close below it: (n,)."""
    rising = logit(np.clip(ranked, CERTAIN, 1 - CERTAIN))[::-1]
    own = np.searchsorted(rising, rising, side="left")
    above = np.searchsorted(rising, rising + CLOSE, side="right") - own
    below = own - np.searchsorted(rising, rising - CLOSE, side="left")
    supported = (above >= SUPPORT) & (below >= SUPPORT)
    return np.asarray(supported[::-1], dtype=np.bool_)


def _counts_that_hold(
    ranked: NDArray[np.float64],
    right: NDArray[np.int64],
    first: int,
    target: float,
) -> Iterator[int]:
    """How many pairs lie above each threshold for which the bound holds, in the sequence from `first`."""
    for count in _counts(ranked, first):
        if _lower_bound(int(right[count - 1]), count) < target:
            return
        yield count


def _counts(ranked: NDArray[np.float64], first: int) -> Sequence[int]:
    """How many pairs lie at or above each threshold of the sequence; equal probabilities stay together."""
    counts: list[int] = []
    count = float(first)
    while count <= len(ranked):
        threshold = ranked[int(count) - 1]
        counts.append(int(np.searchsorted(-ranked, -threshold, side="right")))
        count = max(count * STEP, counts[-1] + 1)
    return counts


def _lower_bound(successes: int, trials: int) -> float:
    """Lower confidence bound of a proportion (Clopper and Pearson, 1934)."""
    return float(beta.ppf(ERROR, successes, trials - successes + 1)) if successes else 0.0


def _lacking(right: NDArray[np.int64], target: float) -> int | None:
    """About how many more labelled pairs, of this mix, would support a threshold for the target; None: no number.

    The bound is the normal one: with precision p among the pairs above a threshold, their number n has to
    reach z² p (1 - p) / (p - target)².
    """
    z = float(-norm.ppf(ERROR))
    pairs = len(right)
    needed: list[float] = []
    for first in FIRST_COUNTS:
        if first > pairs:
            break
        precision = right[first - 1] / first
        if precision > target:
            spread = z * z * precision * (1 - precision)
            wanted = spread / (precision - target) ** 2
            growth = wanted / first - 1
            needed.append(pairs * max(growth, 0.1))
    return math.ceil(min(needed)) if needed else None


def fit_logistic(
    features: Sequence[NDArray[np.float32]], labels: NDArray[np.bool_], limits: Limits
) -> Calibration:
    """A logistic map of the features (n,), and nothing behind it."""
    return _fit(np.stack(features, axis=1), labels, limits, isotonic=False)
