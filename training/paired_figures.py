"""Probabilities of two releases for the same labelled pairs in; out comes how much one is better, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.training_contract import FigureOfBoth, Wanting
from training import bootstrap
from training.figures import ends_of_ties
from training.pairs import LabelledPair
from training.progress_writer import ProgressWriter

RESAMPLES = 2000
FEWEST = 10  # pairs of each class, and components, without which no interval is worth looking at
LOPSIDED = 2.0  # times the other class's variance, from which labels of one class are asked for
TRIALS = 200  # resamplings of one class, to see how much it varies

FigureName = Literal["average_precision", "recall_at_precision", "calibration"]
FIGURES: Sequence[FigureName] = (
    "average_precision",
    "recall_at_precision",
    "calibration",
)
# The figures that decide where pairs are like those that are served.
DECISIVE: Sequence[FigureName] = ("average_precision", "calibration")
_SIGN: Mapping[FigureName, int] = {
    "average_precision": 1,
    "recall_at_precision": 1,
    "calibration": -1,  # of the Brier score less is better
}

Values = dict[FigureName, NDArray[np.float64]]


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled pairs to measure on. Those of other domains (`elsewhere`) guard against harm and decide nothing.

    `growth` is the number of labels that it takes to give this set one more pair; None: labels don't reach it.
    """

    name: str
    pairs: Sequence[LabelledPair]
    elsewhere: bool = False
    growth: float | None = None


@dataclass(frozen=True)
class PairedProbabilities:
    """Both releases' answers for n labelled pairs.

    Probabilities (n,) float64, labels (n,) bool, components (n,) int64.
    """

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    labels: NDArray[np.bool_]
    components: NDArray[np.int64]


@dataclass(frozen=True)
class Measurement:
    """The figures of both releases on one set; none where it has too few pairs of a class."""

    evaluated: EvaluationSet
    pairs: int
    components: int
    figures: Mapping[FigureName, FigureOfBoth]
    wanting: Wanting  # of which class labels would narrow the intervals


def measure(
    evaluated: EvaluationSet,
    both: PairedProbabilities,
    target: float,
    progress: ProgressWriter,
) -> Measurement:
    """Differences with 95 % intervals: a paired bootstrap, the same resampled components for both releases."""
    labels = both.labels
    count = len(np.unique(both.components))
    smallest = min(int(labels.sum()), int((~labels).sum()), count)
    if smallest < FEWEST:
        return Measurement(evaluated, len(labels), count, {}, _scarcer(labels))
    once = np.ones((1, len(labels)))
    champion = _figures(both.champion, labels, once, target)
    challenger = _figures(both.challenger, labels, once, target)
    difference = _difference(both, once, target)
    drawn = _resampled_differences(both, target, progress)
    figures: dict[FigureName, FigureOfBoth] = {}
    for name in FIGURES:
        figures[name] = FigureOfBoth(
            float(champion[name][0]),
            float(challenger[name][0]),
            float(difference[name][0]),
            bootstrap.interval(drawn[name]),
        )
    return Measurement(evaluated, len(labels), count, figures, _wanting(both, target))


def _resampled_differences(
    both: PairedProbabilities, target: float, progress: ProgressWriter
) -> Values:
    parts: list[Values] = []
    for weights in bootstrap.resampled(both.components, both.labels, RESAMPLES):
        progress.beat()
        parts.append(_difference(both, weights, target))
    values: Values = {}
    for name in FIGURES:
        values[name] = np.concatenate([part[name] for part in parts])
    return values


def _difference(
    both: PairedProbabilities,
    weights: NDArray[np.float64],
    target: float,
) -> Values:
    """By how much the challenger is better, under each row of weights (b, n): (b,) for each figure."""
    champion = _figures(both.champion, both.labels, weights, target)
    challenger = _figures(both.challenger, both.labels, weights, target)
    values: Values = {}
    for name, sign in _SIGN.items():
        values[name] = sign * (challenger[name] - champion[name])
    return values


def _figures(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    target: float,
) -> Values:
    """Average precision, greatest recall at the target precision and Brier score under each row of weights (b, n).

    Equal probabilities stay together, as in scikit-learn's `average_precision_score`.
    """
    order = np.argsort(-probabilities, kind="stable")
    ends = ends_of_ties(probabilities[order])
    ordered = weights[:, order]
    called = np.cumsum(ordered, axis=1)[:, ends]
    right = np.cumsum(ordered * labels[order], axis=1)[:, ends]
    precision = right / np.maximum(called, 1e-12)
    recall = right / right[:, -1:]
    errors = (probabilities - labels) ** 2
    return {
        "average_precision": (precision * np.diff(recall, axis=1, prepend=0.0)).sum(axis=1),
        "recall_at_precision": np.where(precision >= target, recall, 0.0).max(axis=1),
        "calibration": weights @ errors / weights.sum(axis=1),
    }


def _scarcer(labels: NDArray[np.bool_]) -> Wanting:
    """The class of which a small set lacks pairs."""
    few_duplicates = np.count_nonzero(labels) < FEWEST
    few_different = np.count_nonzero(~labels) < FEWEST
    if few_duplicates == few_different:
        return "both"
    return "duplicates" if few_duplicates else "different"


def _wanting(both: PairedProbabilities, target: float) -> Wanting:
    """The class whose pairs make the difference of average precision uncertain.

    It is the class by whose resampling alone the difference varies most.
    """
    chances = np.random.default_rng(1)
    by_duplicates = _variance(both, both.labels, chances, target)
    by_different = _variance(both, ~both.labels, chances, target)
    if max(by_duplicates, by_different) < LOPSIDED * min(by_duplicates, by_different):
        return "both"
    return "duplicates" if by_duplicates > by_different else "different"


def _variance(
    both: PairedProbabilities,
    rows: NDArray[np.bool_],
    chances: np.random.Generator,
    target: float,
) -> float:
    """Of the difference of average precision, when only these rows are resampled."""
    weights = np.ones((TRIALS, len(rows)))
    weights[:, rows] = bootstrap.draw_counts(chances, int(rows.sum()), TRIALS)
    return float(_difference(both, weights, target)["average_precision"].var())
