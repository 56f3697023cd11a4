"""Scores and labels in, figures out: how well scores rank pairs, and how far probabilities can be believed."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    matthews_corrcoef,
    precision_recall_curve,
)

from training import bootstrap

PRECISIONS = ("0.90", "0.95", "0.98")
RESAMPLES = 200
ECE_BINS = 15
FEWEST_COMPONENTS = 3  # without which resampled sets say nothing

Figures = dict[str, Any]
Labels = NDArray[np.bool_]


def ranking(scores: NDArray[Any], labels: Labels) -> Figures:
    """How well scores tell the classes apart: average precision, and the best figures that a threshold reaches."""
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best_threshold = thresholds[int(np.argmax(f1[:-1]))]
    recalls = {}
    for target in PRECISIONS:
        recalls[target] = float(recall[precision >= float(target)].max())
    return {
        "average_precision": float(average_precision_score(labels, scores)),
        "best_f1": float(f1.max()),
        "accuracy": _best_accuracy(scores, labels),
        "mcc": float(matthews_corrcoef(labels, scores >= best_threshold)),
        "recall_at_precision": recalls,
    }


def _best_accuracy(scores: NDArray[Any], labels: Labels) -> float:
    """The best share of right answers that a threshold reaches; it may call nothing a duplicate."""
    order = np.argsort(-scores, kind="stable")
    all_different = int(np.count_nonzero(~labels))
    right = all_different + np.cumsum(np.where(labels[order], 1, -1))
    best = int(right[ends_of_ties(scores[order])].max())
    return max(best, all_different) / len(labels)


def ends_of_ties(ranked: NDArray[Any]) -> NDArray[np.int64]:
    """The places (t,) of ranked scores (n,) where a threshold may stand: the last of each run of equal ones."""
    changes = np.flatnonzero(np.diff(ranked))
    return np.append(changes, len(ranked) - 1)


def calibrated(probabilities: NDArray[np.float64], labels: Labels) -> Figures:
    """The same of probabilities, and how far they can be believed: log loss in nats, Brier score, ECE."""
    return {
        **ranking(probabilities, labels),
        "log_loss": float(log_loss(labels, probabilities, labels=[False, True])),
        "brier": float(brier_score_loss(labels, probabilities)),
        "ece": expected_calibration_error(probabilities, labels),
    }


def expected_calibration_error(
    probabilities: NDArray[np.float64],
    labels: Labels,
    bins: int = ECE_BINS,
) -> float:
    """Mean gap between mean probability and share of duplicates, over bins of equal mass (Naeini et al., 2015)."""
    total = 0.0
    for rows in np.array_split(np.argsort(probabilities, kind="stable"), bins):
        if len(rows):
            gap = abs(probabilities[rows].mean() - labels[rows].mean())
            total += len(rows) * gap
    return float(total / len(labels))


def intervals(
    scores: NDArray[Any],
    labels: Labels,
    components: NDArray[np.int64],
    figure: Callable[..., Figures],
) -> Figures:
    """The 95 % interval of each figure over resampled components; none where there are too few of these."""
    if len(np.unique(components)) < FEWEST_COMPONENTS:
        return {}
    drawn: dict[str, list[float]] = {}
    for weights in bootstrap.resampled(components, labels, RESAMPLES):
        for times in weights.astype(np.int64):
            rows = np.repeat(np.arange(len(labels)), times)
            for name, value in flat(figure(scores[rows], labels[rows])).items():
                drawn.setdefault(name, []).append(value)
    bounds: Figures = {}
    for name, values in drawn.items():
        bounds[name] = list(bootstrap.interval(np.array(values)))
    return bounds


def flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested figures under names with dots."""
    named: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            named |= flat(value, f"{prefix}{name}.")
        else:
            named[prefix + name] = value
    return named
