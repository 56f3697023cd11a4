"""Calibration and thresholds: against formulas, and by simulation against the precision they promise."""

import numpy as np
import pytest
from scipy.stats import binom

from training.calibration import (
    best_f2_threshold,
    fit_calibration,
    fit_scale,
    fit_threshold,
    open_from,
)


def test_calibration_recovers_the_logistic_that_made_the_labels() -> None:
    generator = np.random.default_rng(0)
    similarities = generator.uniform(0, 1, 20_000).astype(np.float32)
    labels = generator.uniform(size=20_000) < 1 / (1 + np.exp(-(8 * similarities - 6)))
    calibration = fit_calibration([similarities], labels, np.arange(20_000))
    assert [*calibration.weights, calibration.bias] == pytest.approx([8, -6], rel=0.05)


@pytest.mark.parametrize(("duplicates", "different"), [(5, 12), (25, 25)])
def test_calibration_is_fitted_though_one_component_has_all_duplicates(
    duplicates: int, different: int
) -> None:
    """All of them are one question of an FAQ, asked otherwise."""
    generator = np.random.default_rng(0)
    labels = np.arange(duplicates + different) < duplicates
    similarities = (generator.normal(0, 0.1, len(labels)) + np.where(labels, 0.8, 0.5)).astype(
        np.float32
    )
    components = np.where(labels, 0, 1 + np.arange(len(labels)))
    calibration = fit_calibration([similarities], labels, components)
    low, high = calibration.probability(np.array([0.5, 0.8], dtype=np.float32))
    assert low < 0.5 < high


def test_few_duplicates_are_all_read_and_of_many_all_but_one_in_200() -> None:
    generator = np.random.default_rng(0)
    for count in (5, 20, 199):
        similarities = generator.normal(0.8, 0.1, count).astype(np.float32)
        assert open_from(similarities, np.ones(count, dtype=np.bool_)) <= similarities.min()
    similarities = generator.normal(0.8, 0.1, 10_000).astype(np.float32)
    below = similarities < open_from(similarities, np.ones(10_000, dtype=np.bool_))
    assert np.count_nonzero(below) == 50 - 1


def test_best_f2_is_the_best_of_all_thresholds() -> None:
    probabilities = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1])
    labels = np.array([True, False, True, False, False, True, False, False])
    f2 = {
        t: 5
        * (labels & (probabilities >= t)).sum()
        / (4 * labels.sum() + (probabilities >= t).sum())
        for t in probabilities
    }
    assert (
        best_f2_threshold(probabilities, labels) == max(f2, key=f2.__getitem__) == 0.3
    )  # the best F1 is at 0.7


def test_a_threshold_holds_its_precision_on_the_labels_it_was_chosen_on() -> None:
    probabilities = np.linspace(1, 0, 2000)
    labels = np.arange(2000) < 1000
    threshold = fit_threshold(probabilities, labels, 0.90)
    assert threshold.probability is not None
    assert threshold.precision_bound is not None
    chosen = probabilities >= threshold.probability
    assert labels[chosen].mean() >= 0.90
    assert threshold.labels == chosen.sum()
    assert threshold.recall == labels[chosen].sum() / 1000
    # Clopper-Pearson: so few right ones or fewer would be seen with the shared error, were precision at the bound.
    surprise = binom.sf(labels[chosen].sum() - 1, threshold.labels, threshold.precision_bound)
    assert surprise == pytest.approx(0.05 / 4, rel=1e-6)


def test_no_threshold_where_the_labels_support_none() -> None:
    probabilities = np.linspace(1, 0, 2000)
    labels = np.random.default_rng(0).uniform(size=2000) < 0.5
    threshold = fit_threshold(probabilities, labels, 0.90)
    assert (
        threshold.probability,
        threshold.precision_bound,
        threshold.recall,
        threshold.labels,
    ) == (None, None, 0, 0)


def test_too_few_labels_support_no_threshold() -> None:
    assert fit_threshold(np.linspace(1, 0, 40), np.ones(40, dtype=bool), 0.90).probability is None


def test_equal_probabilities_are_never_split() -> None:
    probabilities = np.repeat([0.9, 0.5, 0.1], [300, 300, 300])
    labels = np.repeat([True, True, False], [300, 300, 300])
    labels[300:320] = False
    assert fit_threshold(probabilities, labels, 0.95).labels == 300
    assert fit_threshold(probabilities, labels, 0.90).labels == 600


def test_the_promise_holds_in_nineteen_of_twenty_samples() -> None:
    """True precision at the chosen threshold is below the target in at most 5 % of samples (and some luck)."""
    generator = np.random.default_rng(1)
    broken = 0
    for _ in range(200):
        scores = generator.uniform(size=1500)
        truth = np.clip(1.2 * scores, 0, 0.97)
        threshold = fit_threshold(scores, generator.uniform(size=1500) < truth, 0.90).probability
        if threshold is not None:
            grid = np.linspace(threshold, 1, 1000)
            broken += bool(np.clip(1.2 * grid, 0, 0.97).mean() < 0.90)
    assert broken <= 16  # 200 samples at 5 %: more than 16 has a probability of 3 %


# Labels that people give, which are no sample of what is asked


def easy_labels(duplicates: int, different: int) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of pairs that look alike and are duplicates, and of pairs at random, with nothing between."""
    chances = np.random.default_rng(0)
    alike = chances.normal(0.9, 0.03, duplicates)
    random = chances.normal(0.1, 0.1, different)
    labels = np.repeat([True, False], [duplicates, different])
    return np.append(alike, random).astype(np.float32), labels


def test_easy_labels_call_nothing_a_duplicate_that_is_unlike_those_they_saw() -> None:
    similarities, labels = easy_labels(205, 60)
    scale = fit_scale([similarities], labels, np.arange(265))
    loosest = fit_threshold(scale.calibration.probability(similarities), labels, 0.90)
    assert loosest.probability is not None
    assert scale.calibration.probability(np.array([0.6], np.float32))[0] > loosest.probability
    for threshold in scale.thresholds.duplicate.values():
        begins = threshold.probability
        if begins is not None:
            assert begins >= max(scale.thresholds.review, 0.5)
            called = scale.calibration.probability(similarities) >= begins
            assert similarities[called].min() > 0.8  # where duplicates were seen, on both sides


def test_a_threshold_is_at_least_a_half_and_where_review_begins() -> None:
    probabilities = np.linspace(0.99, 0.01, 4000)
    labels = probabilities > 0.2  # all above are duplicates
    free, bounded = (fit_threshold(probabilities, labels, 0.90, least) for least in (None, 0.5))
    assert free.probability is not None
    assert bounded.probability is not None
    assert free.probability < 0.25
    assert 0.5 <= bounded.probability < 0.55


def test_no_threshold_lies_in_a_gap_between_the_pairs() -> None:
    probabilities = np.append(np.linspace(0.99, 0.95, 300), np.linspace(0.2, 0.01, 300))
    labels = np.repeat([True, False], 300)
    assert fit_threshold(probabilities, labels, 0.90).probability < 0.95  # type: ignore[operator]
    bounded = fit_threshold(probabilities, labels, 0.90, 0.5)
    assert bounded.probability is not None
    assert (probabilities < bounded.probability)[:300].sum() >= 5
