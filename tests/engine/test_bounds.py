"""Bounds of a share of duplicates, by value and by simulation."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import beta

from app.engine.bounds import (
    Numbers,
    Tally,
    greatest_precisions,
    greatest_share,
    least_precisions,
    least_share,
    tally,
)

ERROR = 0.05


def evidence(share: float, duplicates: int, different: int) -> float:
    """The martingale, written out."""
    total = 0.0
    for weight, a, b in ((0.8, 9.5, 0.5), (0.2, 0.5, 0.5)):
        total += weight * beta(a + duplicates, b + different) / beta(a, b)
    return float(total / (share**duplicates * (1 - share) ** different))


def numbers(*values: float) -> Numbers:
    """As an array."""
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(("duplicates", "different"), [(58, 2), (60, 0), (10, 30)])
def test_the_bound_is_where_the_martingale_reaches_the_inverse_error(
    duplicates: int, different: int
) -> None:
    seen = duplicates / (duplicates + different)
    low = brentq(lambda share: evidence(share, duplicates, different) - 1 / ERROR, 1e-3, seen)
    found = least_share(numbers(duplicates), numbers(different), ERROR)
    assert found[0] == pytest.approx(low, abs=1e-6)
    upper = greatest_share(numbers(duplicates), numbers(different), ERROR)
    if different:
        high = brentq(lambda s: evidence(s, duplicates, different) - 1 / ERROR, seen, 1 - 1e-9)
        assert upper[0] == pytest.approx(high, abs=1e-6)
    else:
        assert upper[0] == 1


def test_some_values() -> None:
    bounds = least_share(numbers(60, 120, 116), numbers(0, 0, 4), ERROR)
    assert bounds.round(3).tolist() == [0.933, 0.963, 0.894]


def test_without_labels_nothing_is_known() -> None:
    nothing = [Tally(0.0, 0, 0), Tally(1.0, 0, 0)]
    assert least_precisions(nothing, ERROR).tolist() == [0, 0]
    assert greatest_precisions(nothing, ERROR).tolist() == [1, 1]


def test_what_was_not_looked_at_counts_against_either_bound() -> None:
    part, whole = Tally(0.9, 90, 10), Tally(1.0, 90, 10)
    low, high = least_precisions([part, whole], ERROR), greatest_precisions([part, whole], ERROR)
    assert low[0] == pytest.approx(0.9 * low[1])
    assert high[0] == pytest.approx(0.1 + 0.9 * high[1])


def test_labels_drawn_alike_all_count() -> None:
    labels = np.array([True, False, True, True])
    assert tally(labels, np.full(4, 25.0), 100) == Tally(1.0, 3, 1)


def test_of_a_stratum_that_was_drawn_from_more_often_the_latest_labels_are_left_out() -> None:
    labels = np.array([True] * 30 + [False] * 30 + [True] * 30)
    weights = np.array([1.0] * 60 + [2.0] * 30)  # 60 pairs, all labelled, and 60 more
    assert tally(labels, weights, 120) == Tally(1.0, 60, 0)


def test_a_stratum_that_was_hardly_drawn_from_counts_as_not_looked_at() -> None:
    labels = np.ones(101, dtype=np.bool_)
    weights = np.array([1.9] * 100 + [10.0])
    assert tally(labels, weights, 200) == Tally(0.95, 100, 0)


def test_the_choice_of_what_counts_does_not_look_at_the_labels() -> None:
    weights = np.array([1.0] * 50 + [5.0] * 30)
    labels = np.random.default_rng(0).random(80) < 0.5
    one, other = tally(labels, weights, 200), tally(~labels, weights, 200)
    assert (one.seen, one.labels) == (other.seen, other.labels)
    assert one.duplicates == other.different


def test_a_bound_looked_at_after_every_label_is_broken_in_at_most_one_of_twenty_runs() -> None:
    lots = np.random.default_rng(0)
    runs, looks, truth = 1000, 150, 0.93
    broken = np.zeros(runs, dtype=np.bool_)
    duplicates = np.zeros(runs)
    for look in range(1, looks):
        duplicates += lots.random(runs) < truth
        broken |= least_share(duplicates, look - duplicates, ERROR) > truth
    assert 0 < broken.mean() <= ERROR
