"""Similarities and labels in, a map to probability and thresholds that hold out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve

from app.engine.scorer import Calibration, Threshold

CONFIDENCE = 0.95
FIRST_COUNTS = (50, 100, 200, 400)  # where the search for a threshold may begin: pairs at or above it
STEP = 1.05  # each further threshold is tried with this many times the pairs of the one before


def fit_calibration(similarities: NDArray[np.float32], labels: NDArray[np.bool_]) -> Calibration:
    """Logistic regression of the label on the similarity (Platt, 1999), all but unregularised."""
    model = LogisticRegression(C=1e6).fit(similarities.reshape(-1, 1).astype(np.float64), labels)
    return Calibration(weight=float(model.coef_[0, 0]), bias=float(model.intercept_[0]))


def best_f1_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The probability from which calling pairs duplicates gives the greatest F1."""
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f1[:-1]))])


def fit_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.bool_], target: float) -> Threshold:
    """The lowest threshold whose precision is at least `target` with 95 % confidence, if there is one.

    Thresholds are tested from the most cautious downwards until one fails, each by the lower Clopper-Pearson
    bound; such a fixed sequence keeps its confidence although the threshold is chosen on the same labels
    (Bauer, 1991; Angelopoulos et al., "Learn then Test", 2021). As labels are noisy at the very top, the
    sequence may begin at several counts, which share the allowed error (Bonferroni).
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, right = probabilities[order], np.cumsum(labels[order])
    error = (1 - CONFIDENCE) / len(FIRST_COUNTS)
    best = 0
    for first in FIRST_COUNTS:
        for count in _counts(ranked, first):
            if _lower_bound(int(right[count - 1]), count, error) < target:
                break
            best = max(best, count)
    if not best:
        return Threshold(None, None, 0.0, 0)
    hits = int(right[best - 1])
    return Threshold(float(ranked[best - 1]), _lower_bound(hits, best, error), hits / int(labels.sum()), best)


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
