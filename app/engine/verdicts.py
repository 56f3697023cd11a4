"""Evidence of pairs in, judgements out. The one place where a verdict is made.

A judgement is made in this order, and a later step overrules an earlier one:

1. Evidence. The probability comes from the similarity alone, or from similarity and logit where the pair classifier
   has read the pair.
2. Thresholds. The probability reaches `duplicate`, `review` or `different`: by the collection's own thresholds where
   its labels support some, else by the release's. What the classifier has not read is `review` at most, where there is
   a classifier.
3. Signals. Texts that differ where the model sees no difference, or that it has not read to their end, are `review` at
   most; so are the same words where their letter case can carry meaning.
4. Guards. A pair of which certain guards see that it differs is `review` at most (`guards.CAPPING`).
5. Likeness. Some texts differ in letter case that carries no meaning, in the punctuation at the end or in the form of
   characters alone. They are a duplicate with probability 1. Where that may be what they are about, as with 2ⁿ and 2n,
   they are `review` at most.
6. Identity. So are texts of the same visible words.
7. Labels. What people said of the pair is its verdict. Similarity and probability stay.

Each judgement has its reasons (`reasons`), the most important first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.engine import letter_case, reasons
from app.engine.guards import CAPPING, differences
from app.engine.guards.difference import Difference
from app.engine.reasons import Reason, most_important
from app.engine.rulings import Ruling
from app.engine.scorer import CollectionThresholds, Scorer, Verdict
from app.engine.signals import NOTHING, Reader, Signals
from app.engine.text import Worded, ends_may_differ, normalize, without_ends
from app.engine.text_form import readable, shifted

STRONGEST_FIRST: Sequence[Verdict] = ("duplicate", "review", "different")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and people's ruling on them."""

    first: Worded
    second: Worded
    ruling: Ruling | None = None

    @property
    def is_same_words(self) -> bool:
        """Whether the visible words of the texts are the same."""
        return self.first.digest == self.second.digest

    @property
    def is_alike(self) -> bool:
        """Whether the texts differ in letter case or end punctuation alone."""
        return self.first.loose == self.second.loose and not self.is_same_words

    @property
    def is_same_form(self) -> bool:
        """Whether the texts are read as one but for letter case, as with bold letters or full width."""
        one = self.first.text
        other = self.second.text
        if one.isascii() and other.isascii():
            return False
        first, second = (without_ends(readable(text)).casefold() for text in (one, other))
        return first == second


@dataclass(frozen=True, slots=True)
class Likeness:
    """Whether two texts are one question whatever the models say; where their letter case can carry meaning; and in
    what the same words are written otherwise. Where they are not one, that may be what they are about."""

    is_one_question: bool = False
    case: Sequence[letter_case.Difference] = ()
    differs_in: Sequence[str] = ()

    @property
    def is_doubt(self) -> bool:
        """Whether the models can't tell them apart, and somebody may mean two questions."""
        return bool(self.differs_in) and not self.is_one_question


@dataclass(frozen=True, slots=True)
class Judgement:
    """Similarity, probability and verdict of a pair; the order of its texts makes no difference.

    A `label` is people's word on the pair: the verdict is theirs then. `is_read`: the pair classifier has read it.
    """

    similarity: float
    probability: float
    verdict: Verdict
    label: Ruling | None = None
    reasons: tuple[Reason, ...] = ()
    is_read: bool = False
    signals: Signals = NOTHING

    @property
    def read(self) -> bool:
        """Whether the pair classifier has read the pair."""
        return self.is_read

    @property
    def truncated1(self) -> bool:
        """Whether the first text is not read to its end."""
        return self.signals.cut1 is not None

    @property
    def truncated2(self) -> bool:
        """Whether the second text is not read to its end."""
        return self.signals.cut2 is not None

    @property
    def rank(self) -> tuple[int, float, float]:
        """Sorts the strongest verdict first, then by probability, then by similarity."""
        return STRONGEST_FIRST.index(self.verdict), -self.probability, -self.similarity

    def without_names(self) -> "Judgement":
        """The same judgement, for those who are not to know who labels."""
        if self.label is None:
            return self
        ruling = self.label.without_name()
        why = [reasons.label(ruling) if one.code == "label" else one for one in self.reasons]
        return replace(self, label=ruling, reasons=tuple(why))


class Judge:
    """Makes every judgement by one release, for one collection or for one target precision."""

    def __init__(
        self, scorer: Scorer, reader: Reader, thresholds: CollectionThresholds | None = None
    ) -> None:
        """`thresholds` are those of the pairs' collection; without them, the release's own hold."""
        self._scorer = scorer
        self._reader = reader
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
        if self._thresholds.review_source == "collection":
            return "review" if probability >= self._thresholds.review else "different"
        of_unread = self._scorer.by_similarity.thresholds
        verdict = of_unread.verdict(probability, self._scorer.target_precision)
        return "review" if verdict == "duplicate" else verdict

    def _judgement(
        self, pair: Pair, similarity: float, probability: float, is_read: bool
    ) -> Judgement:
        verdict = self.verdict(probability, is_read=is_read)
        signals = self._signals(pair, verdict, is_read)
        likeness = _likeness(pair)
        seen = [] if likeness.is_one_question else self._differences(pair)
        is_doubt = signals.is_doubt or likeness.is_doubt or _is_capped(seen)
        if verdict == "duplicate" and is_doubt:
            verdict = "review"
        if likeness.is_one_question:
            verdict = "duplicate"
            probability = 1.0
        if pair.ruling:
            verdict = pair.ruling.verdict
        why = most_important(self._reasons(pair, signals, likeness, seen, is_read))
        return Judgement(similarity, probability, verdict, pair.ruling, why, is_read, signals)

    def _signals(self, pair: Pair, verdict: Verdict, is_read: bool) -> Signals:
        """All signals of a pair that could be a duplicate; of another pair, only the cuts. Where the verdict is
        `review` anyway, signals are only told, and not looked for in plain ASCII, where there hardly are any.
        """
        texts = pair.first.text, pair.second.text
        is_plain = all(text.isascii() for text in texts)
        is_settled = verdict == "different" or (verdict == "review" and is_plain)
        if is_settled or pair.is_same_words:
            return self._reader.cuts(*texts, is_read=is_read)
        return self._reader.signals(*texts, is_read=is_read)

    def _differences(self, pair: Pair) -> list[Difference]:
        """The differences that the guards see. A release for other languages takes no notice of `language`."""
        seen = differences(pair.first.text, pair.second.text)
        if self._scorer.is_english:
            return seen
        return [difference for difference in seen if difference.code != "language"]

    def _reasons(
        self,
        pair: Pair,
        signals: Signals,
        likeness: Likeness,
        seen: Sequence[Difference],
        is_read: bool,
    ) -> Iterator[Reason]:
        """All that hold, the most important first."""
        if pair.ruling:
            yield reasons.label(pair.ruling)
        if pair.is_same_words:
            yield reasons.same_words()
            return
        if likeness.case:
            yield _case(pair, likeness.case)
        if likeness.differs_in:
            yield reasons.likeness(likeness.differs_in)
            return
        if signals.is_unreadable:
            yield reasons.unreadable(signals.unread1, signals.unread2)
        if signals.is_cut:
            cuts = [(cut,) if cut else () for cut in (signals.cut1, signals.cut2)]
            yield reasons.cut(signals.max_tokens, *cuts)
        for difference in seen:
            yield difference.reason()
        if self._scorer.by_pair and not is_read:
            yield reasons.unread()


def _case(pair: Pair, differences: Sequence[letter_case.Difference]) -> Reason:
    spans1, spans2 = zip(*differences, strict=True)
    first, second = (slice(*spans[0]) for spans in (spans1, spans2))
    return reasons.case(pair.first.text[first], pair.second.text[second], spans1, spans2)


def _likeness(pair: Pair) -> Likeness:
    if pair.is_same_words:
        return Likeness(is_one_question=True)
    if not (pair.is_alike or pair.is_same_form):
        return Likeness()
    one = pair.first.text
    other = pair.second.text
    case = letter_case.differences(one, other)
    is_other_form = shifted(one) != shifted(other)
    is_other_end = ends_may_differ(normalize(one), normalize(other))
    is_one_question = not (case or is_other_form or is_other_end)
    return Likeness(is_one_question, case, _differs_in(pair))


def _differs_in(pair: Pair) -> list[str]:
    """The ways in which the same words are written otherwise."""
    if not pair.is_alike:
        return ["the form of characters"]
    one = normalize(pair.first.text)
    other = normalize(pair.second.text)
    differs_in = []
    if without_ends(one) != without_ends(other):
        differs_in.append("letter case")
    if one.casefold() != other.casefold():
        differs_in.append("end punctuation")
    return differs_in


def capped(pairs: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """Which pairs (n,) of English texts are `review` at most, however probable, for a difference that the guards
    see."""
    return np.array([_is_capped(differences(*pair)) for pair in pairs], dtype=np.bool_)


def _is_capped(seen: Sequence[Difference]) -> bool:
    return any(difference.code in CAPPING for difference in seen)


def unread(count: int) -> NDArray[np.float32]:
    """The logits of pairs that the classifier has not read: (n,) float32, all NaN."""
    return np.full(count, np.nan, dtype=np.float32)
