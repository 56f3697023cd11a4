"""Measurements that are no evidence yet in; out comes how many more labels would make them evidence."""

import math
from collections.abc import Sequence

from app.engine.training_contract import FigureOfBoth, MoreLabels
from training.paired_figures import DECISIVE, FEWEST, Measurement


def more_labels(sets: Sequence[Measurement], margin: float) -> MoreLabels | None:
    """How many more labels would narrow the intervals enough if the differences stay as they are.

    Intervals narrow with the square root of the pairs: a half-width h has to come down to the gap between the
    difference and its bound. None where no number of labels would do.
    """
    widest = None
    factor = 0.0
    for one in sets:
        if not one.evaluated.growth:
            continue
        if not one.figures:
            return _first_labels(one)
        needed = _factor(one, margin)
        if needed > factor:
            widest = one
            factor = needed
    if widest is None or not 1 < factor < math.inf:
        return None
    growth = widest.evaluated.growth or 1.0
    return MoreLabels(
        _rounded((factor - 1) * widest.pairs * growth),
        widest.wanting,
        f"if the differences on {widest.evaluated.name} stay as they are, their intervals are narrow enough with"
        f" about {factor:.1f} times its {widest.pairs} pairs; one of {growth:g} labels becomes such a pair",
    )


def _first_labels(small: Measurement) -> MoreLabels:
    growth = small.evaluated.growth or 1.0
    pairs = max(FEWEST, 2 * FEWEST - small.pairs) * growth
    return MoreLabels(
        math.ceil(pairs),
        small.wanting,
        f"before anything can be said there must be {FEWEST} pairs of each class to measure on",
    )


def _factor(one: Measurement, margin: float) -> float:
    """By how much a set has to grow, so that all its figures clear the margin and one of them 0."""
    to_margin = 0.0
    to_gain = math.inf
    for name in DECISIVE:
        figure = one.figures[name]
        to_margin = max(to_margin, _growth(figure, -margin))
        to_gain = min(to_gain, _growth(figure, 0.0))
    return max(to_margin, to_gain)


def _growth(figure: FigureOfBoth, bound: float) -> float:
    room = figure.difference - bound
    if room <= 0:
        return math.inf
    half_width = figure.difference - figure.interval[0]
    return (half_width / room) ** 2


def _rounded(count: float) -> int:
    """Upwards to two digits: more would be false precision."""
    magnitude = math.floor(math.log10(max(count, 1)))
    unit = int(10 ** max(0, magnitude - 1))
    return math.ceil(count / unit) * unit
