"""Pairs in, probabilities and verdicts out. The one place where a score is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Verdict = Literal["duplicate", "review", "different"]


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of unit vectors, row by row: (n, d) and (n, d) float32 -> (n,) float32 in [-1, 1].

    Symmetric to the bit. Rounding may leave a product just outside the range; it is clipped.
    """
    return np.asarray(np.clip(np.einsum("ij,ij->i", a, b), -1.0, 1.0), dtype=np.float32)


@dataclass(frozen=True)
class Calibration:
    """Logistic map from similarity to probability (Platt, 1999): 1 / (1 + exp(-(weight * s + bias)))."""

    weight: float
    bias: float

    def probability(self, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(duplicate) for each similarity: (n,) -> (n,) float64 in (0, 1)."""
        logits = self.weight * similarities.astype(np.float64) + self.bias
        return np.asarray(expit(logits), dtype=np.float64)


@dataclass(frozen=True)
class Threshold:
    """Where the verdict `duplicate` begins for one target precision.

    `probability` is None where the labels support no threshold: then nothing is called a duplicate by the
    model. `precision_bound` is the lower 95 % confidence bound of the precision there, `recall` the share of
    the duplicates found, and `labels` the number of labelled pairs at or above the threshold.
    """

    probability: float | None
    precision_bound: float | None
    recall: float | None
    labels: int


@dataclass(frozen=True)
class Scorer:
    """Probability and verdict of a pair, for one target precision.

    A pair is a `duplicate` from the target's threshold up, worth a `review` from `review_from` up (the
    threshold of the best F1), and `different` below. Where the target has no threshold, `review` is the most
    that a probability can reach.
    """

    calibration: Calibration
    thresholds: Mapping[str, Threshold]
    review_from: float
    target_precision: str

    def probability(self, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(duplicate) for each similarity: (n,) float32 -> (n,) float64."""
        return self.calibration.probability(similarities)

    def verdict(self, probability: float) -> Verdict:
        """The verdict of a pair with this probability."""
        duplicate_from = self.thresholds[self.target_precision].probability
        if duplicate_from is not None and probability >= duplicate_from:
            return "duplicate"
        return "review" if probability >= self.review_from else "different"
