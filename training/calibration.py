"""Evidence and labels in, a map to probability and thresholds that hold out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import beta, norm
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_recall_curve
from sklearn.model_selection import StratifiedGroupKFold

from app.engine.release import TARGET_PRECISIONS
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds, limited
from app.errors import CommandError

CONFIDENCE = 0.95
FIRST_COUNTS = (
    50,
    100,
    200,
    400,
)  # where the search for a threshold may begin: pairs at or above it
STEP = 1.05  # each further threshold is tried with this many times the pairs of the one before
FOLDS = 5
KNOTS = 50  # most knots of an isotonic map
SETTLED_SHARE = (
    0.005  # of the duplicates that may have a similarity from which no pair is read any more
)

Limits = Sequence[float | None] | None  # of each feature; see Calibration


def fit_scale(
    features: Sequence[NDArray[np.float32]],
    labels: NDArray[np.bool_],
    components: NDArray[np.int64],
    limits: Limits = None,
) -> Scale:
    """Calibration and thresholds of features (n,) that speak for n labelled pairs.

    Raises CommandError for fewer pairs, of either class, than there are folds.
    """
    calibration = fit_calibration(features, labels, components, limits)
    probabilities = calibration.probability(*features)
    duplicate = {
        target: fit_threshold(probabilities, labels, float(target)) for target in TARGET_PRECISIONS
    }
    return Scale(calibration, Thresholds(duplicate, best_f2_threshold(probabilities, labels)))


def fit_calibration(
    features: Sequence[NDArray[np.float32]],
    labels: NDArray[np.bool_],
    components: NDArray[np.int64],
    limits: Limits = None,
) -> Calibration:
    """A logistic map of the features, or an isotonic one behind it where that has the smaller log loss on pairs it
    was not fitted on: five folds of whole components."""
    assert_enough(labels, components)
    rows = np.stack(features, axis=1)
    losses = dict.fromkeys((False, True), 0.0)
    for train, test in StratifiedGroupKFold(FOLDS).split(rows, labels, components):
        for isotonic in losses:
            fitted = _fit(rows[train], labels[train], limits, isotonic=isotonic)
            probabilities = np.clip(fitted.probability(*rows[test].T), 1e-6, 1 - 1e-6)
            losses[isotonic] += log_loss(labels[test], probabilities, labels=[False, True])
    return _fit(rows, labels, limits, isotonic=losses[True] < losses[False])


def assert_enough(labels: NDArray[np.bool_], components: NDArray[np.int64]) -> None:
    """Raise CommandError for fewer pairs, of either class, or fewer components than there are folds."""
    smallest = min(np.count_nonzero(labels), np.count_nonzero(~labels))
    if smallest < FOLDS or len(np.unique(components)) < FOLDS:
        raise CommandError(
            f"calibration needs {FOLDS} pairs of each class, of {FOLDS} components; label more pairs"
        )


def open_from(similarities: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The similarity from which pairs are worth reading: all but one in 200 duplicates lie at or above it."""
    return float(np.quantile(similarities[labels], SETTLED_SHARE))


def _fit(
    rows: NDArray[np.float32], labels: NDArray[np.bool_], limits: Limits, *, isotonic: bool
) -> Calibration:
    """All but unregularised logistic regression (Platt, 1999), and an isotonic map of what it says."""
    columns = limited(list(rows.T), limits)
    model = LogisticRegression(C=1e6, max_iter=1000).fit(columns, labels)
    weights, bias = model.coef_[0].tolist(), float(model.intercept_[0])
    if not isotonic:
        return Calibration(weights, bias, None, limits)
    values = expit(columns @ np.asarray(weights) + bias)
    return Calibration(weights, bias, _knots(values, labels), limits)


def _knots(values: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Means of the steps that isotonic regression makes, so that the line between them still rises."""
    steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit_transform(values, labels)
    edges = np.flatnonzero(np.diff(np.sort(steps))) + 1
    ordered, heights = np.sort(values), np.sort(steps)
    means = [
        (float(x.mean()), float(y[0]))
        for x, y in zip(np.split(ordered, edges), np.split(heights, edges), strict=True)
    ]
    chosen = np.unique(np.linspace(0, len(means) - 1, min(KNOTS, len(means))).astype(int))
    inner = [(x, y) for x, y in (means[i] for i in chosen) if 0 < y < 1]
    return [(0.0, 0.0), *inner, (1.0, 1.0)]


def best_f2_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The probability from which showing pairs to a person gives the greatest F2: recall counts twice as much as
    precision, since what is missed stays missed, and what was shown in vain costs a look (van Rijsbergen, 1979)."""
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    f2 = 5 * precision * recall / np.maximum(4 * precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f2[:-1]))])


def fit_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], target: float
) -> Threshold:
    """The lowest threshold whose precision is at least `target` with 95 % confidence, if there is one.

    Thresholds are tested from the most cautious downwards until one fails, each by the lower Clopper-Pearson
    bound; such a fixed sequence keeps its confidence although the threshold is chosen on the same labels
    (Bauer, 1991; Angelopoulos et al., "Learn then Test", 2021). As labels are noisy at the very top, the
    sequence may begin at several counts, which share the allowed error (Bonferroni).
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, right = probabilities[order], np.cumsum(labels[order], dtype=np.int64)
    error = (1 - CONFIDENCE) / len(FIRST_COUNTS)
    best = 0
    for first in FIRST_COUNTS:
        for count in _counts(ranked, first):
            if _lower_bound(int(right[count - 1]), count, error) < target:
                break
            best = max(best, count)
    if not best:
        return Threshold(None, None, 0.0, 0, lacking=_lacking(ranked, right, error, target))
    hits = int(right[best - 1])
    return Threshold(
        float(ranked[best - 1]), _lower_bound(hits, best, error), hits / int(labels.sum()), best
    )


def _counts(ranked: NDArray[np.float64], first: int) -> Sequence[int]:
    """How many pairs lie at or above each threshold of the sequence; equal probabilities stay together."""
    counts: list[int] = []
    count = float(first)
    while count <= len(ranked):
        counts.append(int(np.searchsorted(-ranked, -ranked[int(count) - 1], side="right")))
        count = max(count * STEP, counts[-1] + 1)
    return counts


def _lower_bound(successes: int, trials: int, error: float) -> float:
    """Lower confidence bound of a proportion (Clopper and Pearson, 1934)."""
    return float(beta.ppf(error, successes, trials - successes + 1)) if successes else 0.0


def _lacking(
    ranked: NDArray[np.float64], right: NDArray[np.int64], error: float, target: float
) -> int | None:
    """About how many more labelled pairs, of this mix, would support a threshold for the target; None: no number.

    The bound is the normal one: with precision p among the pairs above a threshold, their number n has to
    reach z² p (1 - p) / (p - target)².
    """
    needed: list[float] = []
    for first in FIRST_COUNTS:
        if first <= len(ranked) and (precision := right[first - 1] / first) > target:
            z = float(-norm.ppf(error))
            wanted = z * z * precision * (1 - precision) / (precision - target) ** 2
            needed.append(len(ranked) * max(wanted / first - 1, 0.1))
    return math.ceil(min(needed)) if needed else None
