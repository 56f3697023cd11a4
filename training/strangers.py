"""The models' scores of served pairs in many domains in; calibration and thresholds that hold in another domain out.

Each domain in turn is left out: its pairs get the probabilities of a calibration that was fitted on the others. On
these the thresholds are set, and the promise is counted domain by domain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from app.engine.release import TARGET_PRECISIONS
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds
from training.calibration import Limits, fit_logistic

HOLDS_FOR = 0.9  # share of the left-out domains in which a threshold must keep its target
CONFIDENCE = 0.95
FEWEST = 20  # pairs that must lie at or above a threshold, and below it
LEAST_DUPLICATE = 0.5  # no threshold of `duplicate` lies below
SHORT_AT_MOST = 0.03  # by which the bound of all domains' precision may be short of the target
LOST_AT_MOST = 0.13  # of the asked duplicates: those that `review` begins too late for
REVIEW_AT_MOST = 0.42  # of all that is asked, unless duplicates would be lost


@dataclass(frozen=True)
class Answers:
    """Served pairs of several domains: features (n,) each, labels (n,), and for each pair its domain, the cluster of
    its asked question, and the number of that question.

    A question may have a stored duplicate that was not found.
    """

    features: Sequence[NDArray[np.float32]]
    labels: NDArray[np.bool_]
    domains: NDArray[np.str_]
    rows: NDArray[np.int64]  # the place of each pair's asked question
    has_duplicate: NDArray[np.bool_]  # of each asked question: a stored one asks the same
    is_capped: NDArray[np.bool_]  # of each pair: however probable, it is `review` at most


@dataclass(frozen=True)
class Promise:
    """How a threshold did in one domain: pairs called `duplicate`, how many of these are none, and its duplicates."""

    domain: str
    called: int
    wrong: int
    duplicates: int

    @property
    def precision(self) -> float | None:
        """The precision of the calls; None where there are none."""
        return 1 - self.wrong / self.called if self.called else None

    def is_refuted(self, target: float) -> bool:
        """Whether so many wrong ones, or more, would come with that precision less than once in twenty times."""
        chance = binom.sf(self.wrong - 1, self.called, 1 - target)
        return bool(chance < 1 - CONFIDENCE)


def fit_for_strangers(answers: Answers, limits: Limits) -> Scale:
    """A logistic calibration of all the domains, and thresholds that held where a domain was left out."""
    probabilities = left_out(answers, limits)
    review = review_threshold(probabilities, answers)
    of_open = np.where(answers.is_capped, 0.0, probabilities)
    duplicate = {
        target: duplicate_threshold(of_open, answers, float(target), review)
        for target in TARGET_PRECISIONS
    }
    calibration = fit_logistic(answers.features, answers.labels, limits)
    return Scale(calibration, Thresholds(duplicate, review))


def left_out(answers: Answers, limits: Limits) -> NDArray[np.float64]:
    """The probability (n,) of each pair, by a calibration fitted on the pairs of all other domains."""
    probabilities = np.zeros(len(answers.labels))
    for domain in np.unique(answers.domains):
        own = answers.domains == domain
        others = [feature[~own] for feature in answers.features]
        calibration = fit_logistic(others, answers.labels[~own], limits)
        features = [feature[own] for feature in answers.features]
        probabilities[own] = calibration.probability(*features)
    return probabilities


def duplicate_threshold(
    probabilities: NDArray[np.float64], answers: Answers, target: float, review: float
) -> Threshold:
    """The lowest threshold from which on the target holds in nine of ten domains, if there is one.

    In one domain it holds where the labels do not refute it. Over all domains together it holds where the precision is
    at least the target and its lower bound is not far below. The search goes downwards from the first threshold with
    enough pairs above it, and ends where the precision of all of them fails. That of one domain may fail on the way:
    above a high threshold it has too few pairs to say much.
    """
    order = np.argsort(-probabilities, kind="stable")
    right = np.cumsum(answers.labels[order], dtype=np.int64)
    best = 0
    for count in range(FEWEST, len(order) - FEWEST):
        probability = probabilities[order[count - 1]]
        if probability < max(review, LEAST_DUPLICATE):
            break
        if probability == probabilities[order[count]]:
            continue
        precision = right[count - 1] / count
        if precision < target:
            break
        if not _holds(probabilities, probability, answers, target):
            continue
        if _bound(int(right[count - 1]), count) >= target - SHORT_AT_MOST:
            best = count
    if not best:
        return Threshold(None, None, 0.0, 0)
    hits = int(right[best - 1])
    lowest = float(probabilities[order[best - 1]])
    recall = hits / int(answers.has_duplicate.sum())
    return Threshold(lowest, _bound(hits, best), recall, best)


def _bound(hits: int, called: int) -> float:
    """The lower confidence bound of a precision (Clopper and Pearson, 1934)."""
    return float(beta.ppf(1 - CONFIDENCE, hits, called - hits + 1))


def _holds(
    probabilities: NDArray[np.float64], threshold: float, answers: Answers, target: float
) -> bool:
    kept = promises(probabilities >= threshold, answers.labels, answers.domains)
    holding = sum(not promise.is_refuted(target) for promise in kept)
    return holding >= HOLDS_FOR * len(kept)


def promises(
    called: NDArray[np.bool_], labels: NDArray[np.bool_], domains: NDArray[np.str_]
) -> list[Promise]:
    """What was called `duplicate` in each domain, by name."""
    found = []
    for domain in np.unique(domains):
        own = domains == domain
        called_there = called & own
        promise = Promise(
            domain=str(domain),
            called=int(np.count_nonzero(called_there)),
            wrong=int(np.count_nonzero(called_there & ~labels)),
            duplicates=int(np.count_nonzero(labels & own)),
        )
        found.append(promise)
    return found


def review_threshold(probabilities: NDArray[np.float64], answers: Answers) -> float:
    """Where `review` begins: as late as it loses few of the paraphrases that are asked, and earlier only where there is
    room for more to look at."""
    best = np.zeros(len(answers.has_duplicate))
    np.maximum.at(best, answers.rows, probabilities)
    few_lost = float(np.quantile(best[answers.has_duplicate], LOST_AT_MOST, method="lower"))
    fills = float(np.quantile(best, 1 - REVIEW_AT_MOST, method="lower"))
    return min(few_lost, fills)


def verdict_shares(
    calibration: Calibration, thresholds: Thresholds, target: str, answers: Answers
) -> Mapping[str, float]:
    """Shares of what is asked: how those with a stored duplicate (`paraphrases_…`) and the others are answered."""
    probabilities = calibration.probability(*answers.features)
    best = np.zeros(len(answers.has_duplicate))
    np.maximum.at(best, answers.rows, probabilities)
    duplicate_from = thresholds.duplicate[target].probability
    from_there = np.inf if duplicate_from is None else duplicate_from
    called = (probabilities >= from_there) & ~answers.is_capped
    right = np.zeros(len(best), dtype=np.bool_)
    np.logical_or.at(right, answers.rows, called & answers.labels)
    has_duplicate = answers.has_duplicate
    is_duplicate = np.zeros(len(best), dtype=np.bool_)
    np.logical_or.at(is_duplicate, answers.rows, called)
    is_new = best < thresholds.review
    is_review = ~is_new & ~is_duplicate
    wrong = called & ~answers.labels
    return {
        "paraphrases_right": float(right[has_duplicate].mean()),
        "paraphrases_new": float(is_new[has_duplicate].mean()),
        "others_duplicate": float(is_duplicate[~has_duplicate].mean()),
        "others_new": float(is_new[~has_duplicate].mean()),
        "review": float(is_review.mean()),
        "wrong_of_called": float(wrong.sum() / max(1, called.sum())),
    }
