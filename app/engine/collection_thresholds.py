"""Labels of a collection in, their evidence out: precision and recall against threshold, and the thresholds that hold.

The promise is about pairs such as the collection's near ones: of those called `duplicate`, at least the target's share
are duplicates. Only labels of pairs that the review queue drew by lot count; of others nobody knows how they were
chosen. A pair that was skipped counts as no duplicate. See docs/decisions/0024-promises.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.engine.bounds import (
    Tally,
    greatest_precisions,
    hold,
    is_at_least,
    least_precisions,
    tally,
)
from app.engine.scorer import CollectionThresholds

Numbers = NDArray[np.float64]

EDGES = (0.05, 0.2, 0.5, 0.75, 0.9)  # between strata of probabilities
PRIOR = (0.02, 0.1, 0.35, 0.65, 0.85, 0.96)  # the share of duplicates that is expected there
STRENGTH = 4.0  # labels that this expectation counts for
ERROR = 0.05  # with which a promise may ever be made wrongly
STARTS = (0.95, 0.9, 0.75, 0.5)  # where a search for a threshold begins; they share the error
LEAST_DUPLICATE = 0.5  # nothing is called a duplicate that is more probably none
STEP = 0.01
SUPPORT = 3  # labelled pairs that must lie close above a threshold, and close below it
CLOSE = 1.0  # in log odds
TIGHTER = (
    0.90,
    0.95,
    0.98,
    0.99,
)  # promises that the evidence speaks of, beside the collection's own
CURVE = (
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.88,
    0.9,
    0.93,
    0.95,
    0.98,
)
MORE = np.unique(np.round(np.geomspace(1, 4000, 120)))  # further labels that are tried
FOCUSED = 0.8  # share of the queue's labels that are near where a promise is sought
REVIEW_DUPLICATES, REVIEW_LABELS = 10, 50  # that must be labelled before `review` follows a wish
REVIEW_GRID = tuple(np.round(np.geomspace(0.002, 0.5, 60), 5).tolist())


@dataclass(frozen=True)
class Drawn:
    """n labelled pairs that were drawn by lot.

    They stand in the order in which they were drawn. `probabilities` (n,) are those of one release; `is_duplicate`
    (n,); `weights` (n,) say for how many pairs each stands: the size of its stratum by the labels from there.
    """

    probabilities: Numbers
    is_duplicate: NDArray[np.bool_]
    weights: Numbers

    def __len__(self) -> int:
        return len(self.probabilities)


@dataclass(frozen=True)
class Point:
    """A threshold, the number of near pairs at or above it, and the labels' evidence on these. Intervals hold 95 %."""

    threshold: float
    pairs: int
    labels: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    recall_low: float
    recall_high: float


@dataclass(frozen=True)
class Promise:
    """A target precision: where `duplicate` begins, with the lower bound of the precision there, the recall and the
    labels at or above. Without a threshold: about how many labels are lacking, None where no number would do, or where
    the near pairs are fewer."""

    target_precision: float
    duplicate: float | None
    precision_bound: float | None
    recall: float | None
    labels: int
    lacking: int | None

    @property
    def is_kept(self) -> bool:
        """Whether the labels support it."""
        return self.duplicate is not None


class Evidence:
    """The evidence of drawn labels on a population of pairs, by one release."""

    def __init__(self, drawn: Drawn, population: Numbers) -> None:
        """`population` (m,) are the probabilities of near pairs, labelled or not."""
        self.drawn = drawn
        self.population = np.sort(population)
        self._strata_of_labels = stratum_of(drawn.probabilities)
        self._strata_of_pairs = stratum_of(self.population)

    def curve(self, thresholds: Sequence[float] = CURVE) -> list[Point]:
        """Precision and recall at each threshold, with intervals, from the lowest up."""
        above = [self._tally(threshold) for threshold in thresholds]
        pairs = self.pairs_above(thresholds)
        recall_low, recall_high = self._recall_bounds(thresholds)
        columns = np.stack(
            [
                self.expected_precision(thresholds),
                least_precisions(above, ERROR / 2),
                greatest_precisions(above, ERROR / 2),
                self._recall(thresholds),
                recall_low,
                recall_high,
            ],
            axis=1,
        )
        counts = self._labels_above(thresholds)
        points = []
        for place, threshold in enumerate(thresholds):
            values = columns[place].tolist()
            points.append(Point(threshold, int(pairs[place]), counts[place], *values))
        return points

    def _recall_bounds(self, thresholds: Sequence[float]) -> tuple[Numbers, Numbers]:
        """Both bounds (t,) of the recall, each from a bound of the duplicates found and one of those lost."""
        above = [self._tally(threshold) for threshold in thresholds]
        below = [self._tally_below(threshold) for threshold in thresholds]
        pairs = self.pairs_above(thresholds)
        others = len(self.population) - pairs
        error = ERROR / 4
        found = pairs * least_precisions(above, error)
        lost = others * greatest_precisions(below, error)
        most_found = pairs * greatest_precisions(above, error)
        least_lost = others * least_precisions(below, error)
        return _share(found, lost), _share(most_found, least_lost)

    def promise(self, target: float, least: float) -> Promise:
        """The lowest threshold from `least` up at which the labels support the target.

        Thresholds are tested downwards from several starts, each until one fails; the starts share the error. Such a
        fixed sequence keeps its confidence although the threshold is chosen by the same labels (Bauer, 1991).
        """
        threshold = self._lowest(target, max(least, LEAST_DUPLICATE))
        if threshold is None:
            return Promise(target, None, None, None, 0, self._lacking(target, least))
        bound = least_precisions([self._tally(threshold)], ERROR / len(STARTS))
        recall = self._recall([threshold])
        labels = self._labels_above([threshold])[0]
        return Promise(target, threshold, float(bound[0]), float(recall[0]), labels, 0)

    def _lowest(self, target: float, least: float) -> float | None:
        """The lowest threshold that some start reaches, and that has labels on both sides."""
        lowest: float | None = None
        tested: dict[float, bool] = {}
        for start in STARTS:
            for threshold in _falling(start, least):
                if threshold not in tested:
                    tested[threshold] = bool(self.holds([threshold], target)[0])
                if not tested[threshold]:
                    break
                if self._is_supported([threshold])[0]:
                    lowest = threshold if lowest is None else min(lowest, threshold)
        return lowest

    def holds(self, thresholds: Sequence[float], target: float) -> NDArray[np.bool_]:
        """Whether the target holds (t,) at each threshold, with the error that a promise may have."""
        tallies = [self._tally(threshold) for threshold in thresholds]
        return hold(tallies, target, ERROR / len(STARTS))

    def lacking_at(self, thresholds: Sequence[float], target: float) -> list[float]:
        """About how many more labels would support the target at each threshold, if they come out as is to be expected
        by now; infinite where none would do."""
        expected = self.expected_precision(thresholds)
        lacking = []
        for threshold, share in zip(thresholds, expected, strict=True):
            labels = self._tally(threshold)
            lacking.append(_lacking(labels, float(share), target))
        return lacking

    def is_refuted(self, threshold: float, target: float) -> bool:
        """Whether the labels show that the precision at this threshold is below the target."""
        upper = greatest_precisions([self._tally(threshold)], ERROR)
        return bool(upper[0] < target) and bool(self.pairs_above([threshold])[0])

    def review_threshold(self, wanted: float, most: float) -> float | None:
        """The highest threshold up to `most` above which the share `wanted` of the duplicates is estimated to lie.

        An estimate: what lies below is rarely a duplicate and hardly labelled, so that no bound says much. None while
        the labels are few, or none lie close on both sides.
        """
        duplicates = int(self.drawn.is_duplicate.sum())
        different = len(self.drawn) - duplicates
        if len(self.drawn) < REVIEW_LABELS or min(duplicates, different) < REVIEW_DUPLICATES:
            return None
        grid = [threshold for threshold in REVIEW_GRID if threshold <= most]
        enough = (self._recall(grid) >= wanted) & self._is_supported(grid)
        places = np.flatnonzero(enough)
        return grid[int(places[-1])] if len(places) else None

    def pairs_above(self, thresholds: Sequence[float]) -> Numbers:
        """How many pairs (t,) lie at or above each threshold."""
        below = np.searchsorted(self.population, thresholds, side="left")
        return np.asarray(len(self.population) - below, dtype=np.float64)

    def labels_by_stratum(self, least: float) -> tuple[Numbers, Numbers]:
        """By stratum (h,): the pairs at or above a probability, and the labels on them."""
        pairs = self._strata_of_pairs[self.population >= least]
        labels = self._strata_of_labels[self.drawn.probabilities >= least]
        count = len(PRIOR)
        return (
            np.bincount(pairs, minlength=count).astype(np.float64),
            np.bincount(labels, minlength=count).astype(np.float64),
        )

    def expected_precision(self, thresholds: Sequence[float]) -> Numbers:
        """The share of duplicates (t,) at or above each threshold that is to be expected after the labels."""
        pairs = self.pairs_above(thresholds)
        duplicates = self._duplicates_above(thresholds)
        share: Numbers = np.divide(duplicates, pairs, out=np.zeros_like(pairs), where=pairs > 0)
        return share

    def _duplicates_above(self, thresholds: Sequence[float]) -> Numbers:
        """How many duplicates (t,) are to be expected among the pairs at or above each threshold, by strata."""
        at = np.asarray(thresholds, dtype=np.float64)[:, None]
        is_in = self.drawn.probabilities >= at
        weights = self.drawn.weights
        labels = _by_stratum(self._strata_of_labels, is_in)
        total = _by_stratum(self._strata_of_labels, is_in * weights)
        weights_of_right = weights * self.drawn.is_duplicate
        right = _by_stratum(self._strata_of_labels, is_in * weights_of_right)
        share = np.divide(right, total, out=np.zeros_like(total), where=total > 0)
        prior = STRENGTH * np.asarray(PRIOR)
        expected = (labels * share + prior) / (labels + STRENGTH)
        pairs = _by_stratum(self._strata_of_pairs, self.population >= at)
        return np.asarray((pairs * expected).sum(axis=1), dtype=np.float64)

    def _recall(self, thresholds: Sequence[float]) -> Numbers:
        all_of_them = self._duplicates_above([0.0])[0]
        return np.asarray(self._duplicates_above(thresholds) / max(all_of_them, 1e-12))

    def _tally(self, threshold: float) -> Tally:
        is_in = self.drawn.probabilities >= threshold
        pairs = float(self.pairs_above([threshold])[0])
        return tally(self.drawn.is_duplicate[is_in], self.drawn.weights[is_in], pairs)

    def _tally_below(self, threshold: float) -> Tally:
        is_in = self.drawn.probabilities < threshold
        pairs = len(self.population) - float(self.pairs_above([threshold])[0])
        return tally(self.drawn.is_duplicate[is_in], self.drawn.weights[is_in], pairs)

    def _labels_above(self, thresholds: Sequence[float]) -> list[int]:
        rising = self._rising
        counts = len(rising) - np.searchsorted(rising, thresholds, side="left")
        return [int(count) for count in counts]

    def _is_supported(self, thresholds: Sequence[float]) -> NDArray[np.bool_]:
        """Whether labelled pairs lie close above each threshold (t,), and close below it."""
        rising = _log_odds(self._rising)
        at = _log_odds(np.asarray(thresholds, dtype=np.float64))
        own = np.searchsorted(rising, at, side="left")
        above = np.searchsorted(rising, at + CLOSE, side="right") - own
        below = own - np.searchsorted(rising, at - CLOSE, side="left")
        return np.asarray((above >= SUPPORT) & (below >= SUPPORT), dtype=np.bool_)

    @cached_property
    def _rising(self) -> Numbers:
        return np.sort(self.drawn.probabilities)

    def _lacking(self, target: float, least: float) -> int | None:
        """About how many more labels of the queue would support the target; None where there are too few pairs."""
        starts = [start for start in STARTS if start >= least]
        pairs = self.pairs_above(starts)
        labels = self._labels_above(starts)
        fewest = np.inf
        for place, lacking in enumerate(self.lacking_at(starts, target)):
            if lacking <= pairs[place] - labels[place]:
                fewest = min(fewest, lacking)
        return round(fewest / FOCUSED) if np.isfinite(fewest) else None


def stratum_of(probabilities: Numbers) -> NDArray[np.int64]:
    """The stratum (n,) of each probability (n,), numbered from the lowest up."""
    return np.asarray(np.searchsorted(EDGES, probabilities, side="right"), dtype=np.int64)


def top_of(stratum: int) -> float:
    """The greatest probability of a stratum."""
    return (*EDGES, 1.0)[stratum]


def weights_of(strata: Sequence[str], sizes: Sequence[int]) -> Numbers:
    """For how many pairs each of n labels stands: the size of the stratum it was drawn from by the labels from there.

    `strata` names the stratum of each, `sizes` how many pairs it held when the label's pair was drawn; the latest
    counts.
    """
    latest: dict[str, int] = {}
    counts: dict[str, int] = {}
    for name, size in zip(strata, sizes, strict=True):
        latest[name] = size
        counts[name] = counts.get(name, 0) + 1
    return np.array([latest[name] / counts[name] for name in strata], dtype=np.float64)


def derive(
    evidence: Evidence,
    of_release: CollectionThresholds,
    target: float | None,
    review_recall: float | None,
) -> tuple[CollectionThresholds, Promise | None]:
    """The thresholds that hold for a collection, and the promise of its target, if it has one.

    Where its labels are too few, those of the release (`of_release`) hold, unless they are refuted: then nothing is
    called a duplicate.
    """
    thresholds = of_release
    if review_recall is not None:
        review = evidence.review_threshold(review_recall, LEAST_DUPLICATE)
        if review is not None:
            thresholds = replace(thresholds, review=review, review_source="collection")
    if target is None:
        return thresholds, None
    promise = evidence.promise(target, thresholds.review)
    duplicate = thresholds.duplicate
    if promise.is_kept:
        thresholds = replace(thresholds, duplicate=promise.duplicate, source="collection")
    elif duplicate is not None and evidence.is_refuted(duplicate, target):
        thresholds = replace(thresholds, duplicate=None, source="collection")
    return thresholds, promise


def _lacking(sample: Tally, share: float, target: float) -> float:
    """How many labels a fair sample of all pairs lacks to support the target, where this share of them is right."""
    labels = sample.labels + MORE
    right = sample.duplicates + share * MORE
    enough = np.flatnonzero(is_at_least(target, right, labels - right, ERROR / len(STARTS)))
    return float(MORE[enough[0]]) if len(enough) else np.inf


def _by_stratum(strata: NDArray[np.int64], amounts: NDArray[np.generic]) -> Numbers:
    """The sums (t, h) of amounts (t, n) by stratum (n,)."""
    is_of = strata[:, None] == np.arange(len(PRIOR))
    return np.asarray(amounts.astype(np.float64) @ is_of, dtype=np.float64)


def _share(inside: Numbers, outside: Numbers) -> Numbers:
    total = inside + outside
    share: Numbers = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return share


def _falling(start: float, least: float) -> list[float]:
    """Thresholds from a start down to `least`."""
    count = math.floor((start - least) / STEP + 1e-9) + 1  # none where it starts below
    return [round(start - STEP * place, 4) for place in range(count)]


def _log_odds(probabilities: Numbers) -> Numbers:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)), dtype=np.float64)
