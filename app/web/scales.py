"""Where verdicts begin: the ticks of a bar, and what is promised. No verdict is made here."""

from dataclasses import dataclass

from app.detector import Detector


@dataclass(frozen=True)
class Marks:
    """Probabilities from which `review` and `duplicate` are said; no such one for `duplicate`: None.

    `target` is the precision that `duplicate` is to hold, `labels` how many labels its threshold rests on.
    """

    review: float
    duplicate: float | None
    target: str
    labels: int

    def tint(self, probability: float) -> str:
        """What the probability alone would say: the colour of its bar."""
        if self.duplicate is not None and probability >= self.duplicate:
            return "duplicate"
        return "review" if probability >= self.review else "different"

    @property
    def promise(self) -> str:
        """`90 in 100`."""
        return f"{float(self.target) * 100:.0f} in 100"


def marks_of(detector: Detector) -> Marks:
    """Of the live release, for pairs that the classifier has read, where there is one."""
    scorer = detector.live.scorer
    thresholds = (scorer.by_pair or scorer.by_similarity).thresholds
    duplicate = thresholds.duplicate[scorer.target_precision]
    return Marks(
        review=thresholds.review,
        duplicate=duplicate.probability,
        target=scorer.target_precision,
        labels=duplicate.labels,
    )
