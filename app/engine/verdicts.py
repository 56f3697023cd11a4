"""Evidence of pairs in, judgements out. The one place where a verdict is made.

A judgement is made in this order, and a later step overrules an earlier one:

1. Evidence. The probability comes from the similarity alone, or from similarity and logit where the pair classifier
   has read the pair.
2. Thresholds. The probability reaches `duplicate`, `review` or `different`: by the collection's own thresholds where
   its labels support some, else by the release's. What the classifier has not read is `review` at most, where there is
   a classifier.
3. Guards. A pair of which certain guards see that it differs is `review` at most (`guards.CAPPING`).
4. Equality. Texts of the same words are a duplicate with probability 1, whatever the models say.
5. Labels. What people said of the pair is its verdict. Similarity and probability stay.

Each judgement has its reasons (`reasons`), the most important first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.engine import reasons
from app.engine.guards import CAPPING, differences
from app.engine.guards.difference import Difference
from app.engine.reasons import Reason, most_important
from app.engine.rulings import Ruling
from app.engine.scorer import CollectionThresholds, Scorer, Verdict

NAMELESS = "a person"
STRONGEST_FIRST: Sequence[Verdict] = ("duplicate", "review", "different")


class Worded(Protocol):
    """A text, and the digest that it shares with every text of the same words: a stored question, or `Words`."""

    @property
    def text(self) -> str: ...

    @property
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and what people said of them."""

    first: Worded
    second: Worded
    ruling: Ruling | None = None

    @property
    def is_same_words(self) -> bool:
        """Whether the texts are equal after normalisation."""
        return self.first.digest == self.second.digest


@dataclass(frozen=True, slots=True)
class Judgement:
    """Similarity, probability and verdict of a pair; the order of its texts makes no difference.

    A `label` is what people said of the pair: the verdict is theirs then.
    """

    similarity: float
    probability: float
    verdict: Verdict
    label: Ruling | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def rank(self) -> tuple[int, float, float]:
        """Sorts the strongest verdict first, then by probability, then by similarity."""
        return STRONGEST_FIRST.index(self.verdict), -self.probability, -self.similarity

    def without_names(self) -> "Judgement":
        """The same judgement, for those who are not to know who labels."""
        if self.label is None:
            return self
        ruling = replace(self.label, by=NAMELESS)
        why = [reasons.label(ruling) if one.code == "label" else one for one in self.reasons]
        return replace(self, label=ruling, reasons=tuple(why))


class Judge:
    """Makes every judgement by one release, for one collection or for one target precision."""

    def __init__(self, scorer: Scorer, thresholds: CollectionThresholds | None = None) -> None:
        """`thresholds` are those of the pairs' collection; without them, the release's own hold."""
        self._scorer = scorer
        self._thresholds = thresholds or scorer.thresholds()

    def judge(
        self,
        pairs: Sequence[Pair],
        similarities: NDArray[np.float32],
        logits: NDArray[np.float32],
    ) -> list[Judgement]:
        """Judge n pairs by their similarities (n,) and logits (n,), NaN where the classifier has not read the pair."""
        is_read = ~np.isnan(logits)
        probabilities = self._scorer.probabilities(similarities, logits)
        evidence = zip(
            pairs, similarities.tolist(), probabilities.tolist(), is_read.tolist(), strict=True
        )
        return [self._judgement(*of_pair) for of_pair in evidence]

    def judge_same_words(self, pair: Pair, similarity: float = 1.0) -> Judgement:
        """Judge a pair of the same words: it needs no evidence."""
        return self._judgement(pair, similarity, probability=1.0, is_read=False)

    def verdict(self, probability: float, *, is_read: bool) -> Verdict:
        """The verdict that a probability reaches, by similarity alone or (`is_read`) by the classifier too.

        Where there is a classifier, `duplicate` is never said of a pair that it has not read. A negation, a number
        or an order of words changes the meaning, and hardly the similarity.
        """
        if is_read or not self._scorer.by_pair:
            return self._thresholds.verdict(probability)
        of_unread = self._scorer.by_similarity.thresholds
        verdict = of_unread.verdict(probability, self._scorer.target_precision)
        return "review" if verdict == "duplicate" else verdict

    def _judgement(
        self, pair: Pair, similarity: float, probability: float, is_read: bool
    ) -> Judgement:
        if pair.is_same_words:
            probability = 1.0
        seen = self._differences(pair)
        verdict = self._verdict_of(pair, probability, is_read, seen)
        why = most_important(self._reasons(pair, is_read, seen))
        return Judgement(similarity, probability, verdict, pair.ruling, why)

    def _differences(self, pair: Pair) -> list[Difference]:
        """What the guards see. A release of other languages has nothing to say of what is not English."""
        if pair.is_same_words:
            return []
        seen = differences(pair.first.text, pair.second.text)
        if self._scorer.is_english:
            return seen
        return [difference for difference in seen if difference.code != "language"]

    def _verdict_of(
        self, pair: Pair, probability: float, is_read: bool, seen: Sequence[Difference]
    ) -> Verdict:
        if pair.ruling:
            return pair.ruling.verdict
        if pair.is_same_words:
            return "duplicate"
        verdict = self.verdict(probability, is_read=is_read)
        if verdict == "duplicate" and _is_capped(seen):
            return "review"
        return verdict

    def _reasons(self, pair: Pair, is_read: bool, seen: Sequence[Difference]) -> Iterator[Reason]:
        """All that hold, the most important first."""
        if pair.ruling:
            yield reasons.label(pair.ruling)
        if pair.is_same_words:
            yield reasons.same_words()
        for difference in seen:
            yield difference.reason()
        if not pair.is_same_words and self._scorer.by_pair and not is_read:
            yield reasons.unread()


def capped(pairs: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """Which pairs (n,) of English texts are `review` at most, however probable, for what the guards see."""
    return np.array([_is_capped(differences(*pair)) for pair in pairs], dtype=np.bool_)


def _is_capped(seen: Sequence[Difference]) -> bool:
    return any(difference.code in CAPPING for difference in seen)


def unread(count: int) -> NDArray[np.float32]:
    """The logits of pairs that the classifier has not read: (n,) float32, all NaN."""
    return np.full(count, np.nan, dtype=np.float32)
