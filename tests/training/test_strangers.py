"""Calibration and thresholds that hold in a domain which they were not fitted on."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from training.strangers import (
    Answers,
    Promise,
    duplicate_threshold,
    fit_for_strangers,
    left_out,
    promises,
    review_threshold,
    verdict_shares,
)

DOMAINS = [f"domain {number}" for number in range(10)]


def _answers(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> Answers:
    """Each pair is that of a question of its own; domains take turns."""
    return Answers(
        features=[logits.astype(np.float32)],
        labels=labels,
        domains=np.array([DOMAINS[place % 10] for place in range(len(labels))]),
        rows=np.arange(len(labels)),
        has_duplicate=labels,
        is_capped=np.zeros(len(labels), dtype=np.bool_),
    )


@pytest.fixture(name="probabilities")
def _probabilities() -> NDArray[np.float64]:
    return np.linspace(0.999, 0.001, 1000)


def _labels(wrong: list[int]) -> NDArray[np.bool_]:
    """The first 500 of 1,000 are duplicates, but for these."""
    labels = np.arange(1000) < 500
    labels[wrong] = False
    return labels


def test_a_threshold_is_where_the_target_stops_to_hold(probabilities: NDArray[np.float64]) -> None:
    answers = _answers(probabilities, _labels([]))
    threshold = duplicate_threshold(probabilities, answers, 0.90, review=0.0)
    assert threshold.probability == pytest.approx(
        0.5005, abs=1e-4
    )  # it would hold further down, too
    assert threshold.labels == 500
    assert threshold.recall == 1.0
    assert threshold.precision_bound == pytest.approx(0.05 ** (1 / 500))


def test_no_threshold_lies_below_review(probabilities: NDArray[np.float64]) -> None:
    answers = _answers(probabilities, _labels([]))
    threshold = duplicate_threshold(probabilities, answers, 0.90, review=0.8)
    assert threshold.probability == pytest.approx(0.8, abs=0.001)


def test_one_domain_of_ten_may_fail_and_two_may_not(probabilities: NDArray[np.float64]) -> None:
    one, two = [*range(0, 300, 10)], [*range(0, 300, 10), *range(1, 300, 10)]
    failing = duplicate_threshold(probabilities, _answers(probabilities, _labels(one)), 0.85, 0.0)
    assert failing.probability is not None
    refused = duplicate_threshold(probabilities, _answers(probabilities, _labels(two)), 0.75, 0.0)
    assert refused.labels < 60 < failing.labels  # it goes no further than chance allows


def test_domains_that_fail_by_few_pairs_high_up_may_hold_further_down(
    probabilities: NDArray[np.float64],
) -> None:
    answers = _answers(probabilities, _labels([200, 201, 202, 203]))
    domains = answers.domains.astype("<U9")
    domains[200:400:2] = "first"  # two wrong ones, and right ones from there on
    domains[201:400:2] = "second"
    answers = replace(answers, domains=domains)
    threshold = duplicate_threshold(probabilities, answers, 0.90, 0.0)
    assert threshold.probability == pytest.approx(probabilities[499])
    stays = duplicate_threshold(probabilities[:224], _first(answers, 224), 0.90, 0.0)
    assert stays.labels == 203  # one domain of twelve fails there, and two from the next pair on


def _first(answers: Answers, count: int) -> Answers:
    return replace(
        answers,
        labels=answers.labels[:count],
        domains=answers.domains[:count],
        has_duplicate=answers.has_duplicate[:count],
    )


def test_without_pairs_above_there_is_no_threshold() -> None:
    probabilities = np.linspace(0.4, 0.0, 100)
    answers = _answers(probabilities, np.arange(100) < 50)
    assert duplicate_threshold(probabilities, answers, 0.90, 0.0).probability is None


def test_a_promise_is_refuted_where_so_many_wrong_ones_are_rare() -> None:
    assert not Promise("a", called=20, wrong=4, duplicates=30).is_refuted(0.90)
    assert Promise("a", called=20, wrong=5, duplicates=30).is_refuted(0.90)
    assert Promise("a", called=20, wrong=5, duplicates=30).precision == 0.75
    assert Promise("a", called=0, wrong=0, duplicates=30).precision is None


def test_promises_are_counted_by_domain() -> None:
    kept = promises(
        np.array([True, True, False, True]),
        np.array([True, False, True, True]),
        np.array(["a", "a", "a", "b"]),
    )
    assert kept == [Promise("a", 2, 1, 2), Promise("b", 1, 0, 1)]


def test_review_loses_few_of_the_paraphrases() -> None:
    probabilities = np.linspace(1.0, 0.0, 101)
    answers = Answers(
        [probabilities.astype(np.float32)],
        np.ones(101, dtype=np.bool_),
        np.array(["a"] * 101),
        np.arange(101),
        np.ones(101, dtype=np.bool_),
        np.zeros(101, dtype=np.bool_),
    )
    assert review_threshold(probabilities, answers) == pytest.approx(0.13)


def test_a_domain_gets_the_probabilities_that_the_others_taught() -> None:
    chances = np.random.default_rng(0)
    labels = chances.random(2000) < 0.5
    logits = np.where(labels, 2.0, -2.0) + chances.normal(size=2000)
    answers = _answers(logits, labels)
    turned = answers.domains == DOMAINS[3]
    labels[turned] = ~labels[turned]  # one domain in which all is the other way round
    probabilities = left_out(answers, None)
    assert np.corrcoef(probabilities[turned], logits[turned])[0, 1] > 0.8


def test_thresholds_hold_and_are_told_as_shares() -> None:
    chances = np.random.default_rng(0)
    labels = chances.random(4000) < 0.3
    logits = np.where(labels, 2.0, -2.0) + chances.normal(size=4000) * 1.5
    answers = _answers(logits, labels)
    scale = fit_for_strangers(answers, None)
    shares = verdict_shares(scale.calibration, scale.thresholds, "0.90", answers)
    assert shares["wrong_of_called"] == pytest.approx(0.1, abs=0.02)
    assert shares["paraphrases_right"] > 0.7
    assert shares["paraphrases_new"] <= 0.13
    threshold = scale.thresholds.duplicate["0.90"]
    assert threshold.probability is not None
    assert threshold.probability >= max(0.5, scale.thresholds.review)


def test_what_guards_hold_back_is_never_called_and_keeps_no_threshold_up() -> None:
    chances = np.random.default_rng(0)
    labels = chances.random(1000) < 0.3
    logits = np.where(labels, 2.0, -2.0) + chances.normal(size=1000) * 1.5
    open_answers = _answers(logits, labels)
    is_seen = ~labels & (chances.random(1000) < 0.5)  # half of the different ones
    seen = replace(open_answers, is_capped=is_seen)
    without, with_caps = fit_for_strangers(open_answers, None), fit_for_strangers(seen, None)
    before, after = (s.thresholds.duplicate["0.90"].probability for s in (without, with_caps))
    assert before is not None
    assert after is not None
    assert after < before
    assert without.calibration == with_caps.calibration
    shares = [
        verdict_shares(with_caps.calibration, with_caps.thresholds, "0.90", answers)
        for answers in (open_answers, seen)
    ]
    assert shares[1]["wrong_of_called"] < shares[0]["wrong_of_called"]
    assert shares[1]["others_duplicate"] < shares[0]["others_duplicate"]
