"""What labels support: by value."""

from collections.abc import Callable

import numpy as np
import pytest

from app.engine.collection_thresholds import (
    Drawn,
    Evidence,
    Numbers,
    derive,
    stratum_of,
    weights_of,
)
from app.engine.scorer import CollectionThresholds
from tests.growth import QUADRATIC, growth

OF_RELEASE = CollectionThresholds(duplicate=0.9, review=0.05)


def population(*groups: tuple[float, int]) -> Numbers:
    """Probabilities of pairs: so many around each."""
    return np.concatenate([at + np.linspace(-0.03, 0.03, count) for at, count in groups])


NEAR = population((0.93, 400), (0.83, 200), (0.65, 100), (0.3, 100), (0.03, 1000))


def drawn(*groups: tuple[float, int, int]) -> Drawn:
    """Labels of pairs of NEAR: so many duplicates and so many others around each probability."""
    probabilities: list[float] = []
    labels: list[bool] = []
    for at, duplicates, different in groups:
        count = duplicates + different
        probabilities += (at + np.linspace(-0.02, 0.02, count)).tolist()
        labels += [True] * duplicates + [False] * different
    strata = stratum_of(np.array(probabilities))
    sizes = np.bincount(stratum_of(NEAR), minlength=6)[strata]
    weights = weights_of([str(stratum) for stratum in strata], sizes.tolist())
    return Drawn(np.array(probabilities), np.array(labels, dtype=np.bool_), weights)


def test_few_labels_support_nothing_and_the_thresholds_are_those_of_the_release() -> None:
    evidence = Evidence(drawn((0.93, 20, 0), (0.83, 5, 5)), NEAR)
    thresholds, promise = derive(evidence, OF_RELEASE, 0.95, None)
    assert thresholds == OF_RELEASE
    assert promise is not None
    assert (promise.duplicate, promise.is_kept) == (None, False)
    assert promise.lacking is not None
    assert 60 <= promise.lacking <= 250


def test_enough_labels_move_the_threshold_and_its_source() -> None:
    labels = drawn((0.93, 130, 0), (0.83, 10, 30), (0.3, 1, 20))
    thresholds, promise = derive(Evidence(labels, NEAR), OF_RELEASE, 0.95, None)
    assert promise is not None
    assert promise.duplicate == thresholds.duplicate
    assert thresholds.source == "collection"
    assert 0.7 < (thresholds.duplicate or 0) <= 0.95
    assert 0.95 <= (promise.precision_bound or 0) < 1
    assert promise.labels == int((labels.probabilities >= (promise.duplicate or 0)).sum())


def test_one_label_makes_the_difference() -> None:
    def kept(count: int) -> bool:
        return Evidence(drawn((0.93, count, 0), (0.83, 10, 10)), NEAR).promise(0.9, 0.5).is_kept

    counts = [count for count in range(20, 120) if kept(count)]
    assert counts
    assert not kept(counts[0] - 1)
    assert counts == list(range(counts[0], 120))


def test_a_threshold_needs_labelled_pairs_on_both_sides() -> None:
    assert not Evidence(drawn((0.93, 150, 0)), NEAR).promise(0.9, 0.5).is_kept


def test_a_threshold_is_never_below_review_nor_one_half() -> None:
    labels = drawn((0.93, 200, 0), (0.83, 100, 0), (0.65, 50, 0), (0.48, 20, 0), (0.3, 50, 0))
    assert Evidence(labels, NEAR).promise(0.9, 0.05).duplicate == 0.5
    assert Evidence(labels, NEAR).promise(0.9, 0.68).duplicate == 0.68


@pytest.mark.parametrize("review", [0.5, 0.505, 0.755, 0.904, 0.951])
def test_a_threshold_is_never_below_a_review_that_is_high(review: float) -> None:
    labels = drawn((0.93, 300, 0), (0.83, 200, 0), (0.65, 100, 0), (0.3, 20, 80))
    of_release = CollectionThresholds(duplicate=None, review=review)
    thresholds, _ = derive(Evidence(labels, NEAR), of_release, 0.8, None)
    assert thresholds.duplicate is None or thresholds.duplicate >= review


def test_where_labels_refute_the_release_nothing_is_called_a_duplicate() -> None:
    labels = drawn((0.93, 30, 40), (0.83, 5, 20))
    thresholds, promise = derive(Evidence(labels, NEAR), OF_RELEASE, 0.95, None)
    assert thresholds == CollectionThresholds(None, 0.05, "collection", "release")
    assert promise is not None
    assert promise.lacking is None


def test_the_dial_of_review_follows_the_wish_once_labels_are_enough() -> None:
    labels = drawn((0.93, 60, 0), (0.83, 20, 10), (0.65, 10, 10), (0.3, 20, 40), (0.04, 0, 60))
    evidence = Evidence(labels, NEAR)
    much, _ = derive(evidence, OF_RELEASE, None, 0.95)
    little, _ = derive(evidence, OF_RELEASE, None, 0.7)
    assert much.review_source == little.review_source == "collection"
    assert much.review < little.review <= 0.5
    few = Evidence(drawn((0.93, 5, 0), (0.3, 1, 4)), NEAR)
    assert derive(few, OF_RELEASE, None, 0.9)[0] == OF_RELEASE


def test_a_curve_rises_in_precision_and_falls_in_recall() -> None:
    labels = drawn((0.93, 90, 2), (0.65, 20, 20), (0.3, 5, 40), (0.04, 0, 30))
    curve = Evidence(labels, NEAR).curve([0.2, 0.5, 0.9])
    assert [point.pairs for point in curve] == [800, 700, 400]
    assert [point.labels for point in curve] == [177, 132, 92]
    for point in curve:
        assert point.precision_low < point.precision < point.precision_high
        assert point.recall_low <= point.recall <= point.recall_high
    precisions = [point.precision for point in curve]
    recalls = [point.recall for point in curve]
    assert precisions == sorted(precisions)
    assert recalls == sorted(recalls, reverse=True)
    assert precisions[2] == pytest.approx((90 + 0.96 * 4) / 96)


def test_labels_drawn_at_several_rates_count_for_fewer() -> None:
    even = drawn((0.93, 100, 0), (0.83, 10, 10))
    rates = np.where(np.arange(len(even)) % 2, 7.0, 1.0)
    uneven = Drawn(even.probabilities, even.is_duplicate, rates)
    low = [Evidence(one, NEAR).curve([0.9])[0].precision_low for one in (even, uneven)]
    assert low[0] > low[1] + 0.01


def test_strata_and_weights() -> None:
    assert stratum_of(np.array([0.0, 0.05, 0.49, 0.5, 0.98, 1.0])).tolist() == [0, 1, 2, 3, 5, 5]
    weights = weights_of(["r:3", "r:3", "r:8", "s:3"], [100, 120, 30, 50])
    assert weights.tolist() == [60.0, 60.0, 30.0, 50.0]


def _evidence_of(count: int) -> Evidence:
    """As many labels as near pairs: 20,000 are as many as a pool holds, of any number of questions."""
    lots = np.random.default_rng(0)
    near = lots.beta(0.3, 0.9, count)
    probabilities = lots.choice(near, count)
    strata = stratum_of(probabilities)
    sizes = np.bincount(stratum_of(near), minlength=6)[strata]
    weights = weights_of([str(stratum) for stratum in strata], sizes.tolist())
    return Evidence(Drawn(probabilities, lots.random(count) < probabilities, weights), near)


def test_many_labels_cost_what_few_do_each() -> None:
    few, many = _evidence_of(5_000), _evidence_of(20_000)

    def of(evidence: Evidence) -> Callable[[int], object]:
        return lambda _: derive(evidence, OF_RELEASE, 0.95, 0.9)

    assert growth(of(few), of(many)) < QUADRATIC / 2
    thresholds, promise = derive(many, OF_RELEASE, 0.95, 0.9)
    assert promise is not None
    assert promise.is_kept
    assert thresholds.source == "collection"
