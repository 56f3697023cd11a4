"""Similarities and logits of pairs in, probabilities out. The one place where a score is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Verdict = Literal["duplicate", "review", "different"]
Source = Literal["release", "collection"]

ROUNDING = 1e-9  # by which a target of two decimals may lie beside its name


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of unit vectors, row by row: (n, d) and (n, d) float32 -> (n,) float32 in [-1, 1].

    Symmetric to the bit. Rounding may leave a product just outside the range; it is clipped.
    """
    return np.asarray(np.clip(np.einsum("ij,ij->i", a, b), -1.0, 1.0), dtype=np.float32)


@dataclass(frozen=True)
class Calibration:
    """Map from a pair's features to P(duplicate): 1 / (1 + exp(-(weights · features + bias))) (Platt, 1999).

    A feature with a limit enters as limit · tanh(feature / limit), so that it can't outweigh the others however sure
    it is. With `knots`, the value goes through the piecewise linear map from `knots[i][0]` to `knots[i][1]`, which
    isotonic regression fitted (Zadrozny and Elkan, 2002).
    """

    weights: Sequence[float]
    bias: float
    knots: Sequence[tuple[float, float]] | None = None
    limits: Sequence[float | None] | None = None  # one for each weight

    def probability(self, *features: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(duplicate) from one (n,) array for each weight: (n,) float64 in [0, 1]."""
        columns = limited(features, self.limits)
        values = np.asarray(expit(columns @ np.asarray(self.weights) + self.bias), dtype=np.float64)
        if self.knots is None:
            return values
        x, y = np.asarray(self.knots, dtype=np.float64).T
        return np.asarray(np.interp(values, x, y), dtype=np.float64)


def limited(
    features: Sequence[NDArray[np.float32]], limits: Sequence[float | None] | None
) -> NDArray[np.float64]:
    """The columns (n, k) float64 that a calibration weighs, from k features (n,)."""
    columns = [feature.astype(np.float64) for feature in features]
    bounds = limits or [None] * len(columns)
    return np.stack(
        [x if m is None else m * np.tanh(x / m) for x, m in zip(columns, bounds, strict=True)],
        axis=1,
    )


@dataclass(frozen=True)
class Threshold:
    """Where the verdict `duplicate` begins for one target precision.

    `probability` is None where the labels support no threshold: then the model calls nothing a duplicate.
    `precision_bound` is the lower 95 % confidence bound of the precision there; `recall` is the share of the duplicates
    found. `labels` is the number of labelled pairs at or above the threshold. Where there is no threshold, `lacking`
    estimates how many more labelled pairs it needs; None where no number would do.
    """

    probability: float | None
    precision_bound: float | None
    recall: float | None
    labels: int
    lacking: int | None = None


@dataclass(frozen=True)
class Thresholds:
    """Where verdicts begin: `duplicate` for each target precision, `review` from the best F2 up."""

    duplicate: Mapping[str, Threshold]
    review: float

    def verdict(self, probability: float, target_precision: str) -> Verdict:
        """Where the target has no threshold, `review` is the most that a probability can reach."""
        duplicate_from = self.duplicate[target_precision].probability
        if duplicate_from is not None and probability >= duplicate_from:
            return "duplicate"
        return "review" if probability >= self.review else "different"


@dataclass(frozen=True)
class CollectionThresholds:
    """Where verdicts begin in one collection: `duplicate` (None: nowhere) and `review`.

    The sources say by whose labels each was set: those of the release, or the collection's own.
    """

    duplicate: float | None
    review: float
    source: Source = "release"
    review_source: Source = "release"

    def verdict(self, probability: float) -> Verdict:
        """The verdict that a probability reaches."""
        if self.duplicate is not None and probability >= self.duplicate:
            return "duplicate"
        return "review" if probability >= self.review else "different"


@dataclass(frozen=True)
class Scale:
    """How one kind of evidence becomes a verdict: its calibration and its thresholds."""

    calibration: Calibration
    thresholds: Thresholds


@dataclass(frozen=True)
class Scorer:
    """Probability of a pair: by similarity alone, or by similarity and the pair classifier's logit, where the release
    has a classifier (`by_pair`). With the thresholds by which `Judge` makes verdicts for one target precision.

    `open_from` is the similarity from which the classifier's word may make a duplicate of a pair. `is_english`: the
    release is for questions in English alone.
    """

    by_similarity: Scale
    by_pair: Scale | None
    target_precision: str
    open_from: float = -1.0
    is_english: bool = True

    def says_duplicate(self) -> bool:
        """Whether the labels of the release support a threshold for the target precision."""
        return self.thresholds().duplicate is not None

    def thresholds(self, target: float | None = None) -> CollectionThresholds:
        """The release's own, of its best evidence: for the smallest of its targets that is `target` or more.

        None stands for the target of the settings. Where the release has no such target, nothing is a duplicate.
        """
        wanted = float(self.target_precision) if target is None else target
        scale = self.by_pair or self.by_similarity
        by_target = scale.thresholds.duplicate
        reaching = [name for name in by_target if float(name) >= wanted - ROUNDING]
        duplicate = None
        if reaching:
            duplicate = by_target[min(reaching, key=float)].probability
        return CollectionThresholds(duplicate, scale.thresholds.review)

    def probability(
        self, similarities: NDArray[np.float32], logits: NDArray[np.float32] | None = None
    ) -> NDArray[np.float64]:
        """P(duplicate) of n pairs, (n,) float64, from their similarities (n,) and, if they were read, logits (n,)."""
        if logits is None:
            return self.by_similarity.calibration.probability(similarities)
        return self.scale(is_read=True).calibration.probability(similarities, logits)

    def probabilities(
        self, similarities: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """The same of pairs of which some were read: logits (n,), NaN where the classifier has not read the pair."""
        is_read = ~np.isnan(logits)
        probabilities = self.probability(similarities)
        if is_read.any():
            probabilities[is_read] = self.probability(similarities[is_read], logits[is_read])
        return probabilities

    def is_open(self, similarities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which pairs (n,) the classifier should read: those near enough to be duplicates."""
        return np.asarray(similarities >= self.open_from, dtype=np.bool_)

    def scale(self, *, is_read: bool) -> Scale:
        """The scale of pairs that the classifier has read, or of those that it has not."""
        if not is_read:
            return self.by_similarity
        if self.by_pair is None:
            raise ValueError("this release has no pair classifier")
        return self.by_pair
