"""The result of a guard: the difference of two texts, with the places and the words on both sides, and its sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.engine.guards.alignment import Alignment
from app.engine.guards.reading import Word
from app.engine.reasons import Code, Reason, Span, Spans

SENTENCES: Mapping[Code, str] = {
    "language": "not in English, the only language that the release is for",
    "negation": "only one of the two says “{either}”",
    "opposite": "opposite: {one} → {other}",
    "direction": "swapped: {one}",
    "identifier": "the codes differ: {one} → {other}",
    "version": "the versions differ: {one} → {other}",
    "unit": "the units differ: {one} → {other}",
    "number": "the numbers differ: {one} → {other}",
    "entity": "differs: {one} → {other}",
    "actor": "about somebody else: {one} → {other}",
    "time": "the time differs: {one} → {other}",
    "question": "another question: {one} → {other}",
}
ONE_SIDED: Mapping[Code, str] = {"actor": "only one is about {either}"}


@dataclass(frozen=True, slots=True)
class Difference:
    """How two texts differ: the words of each, and their places."""

    code: Code
    said1: str
    said2: str
    spans1: Spans
    spans2: Spans

    @classmethod
    def of_words(
        cls, code: Code, pair: Alignment, words1: Sequence[Word], words2: Sequence[Word]
    ) -> "Difference":
        """Some words of each text, shown from the first of them to the last."""
        said1 = pair.first.shown(words1)
        said2 = pair.second.shown(words2)
        return cls(code, said1, said2, spans(words1), spans(words2))

    @classmethod
    def of_parts(cls, code: Code, pair: Alignment, part1: Span, part2: Span) -> "Difference":
        """One part of each text, as it stands there."""
        said1 = pair.first.part(part1)
        said2 = pair.second.part(part2)
        return cls(code, said1, said2, (part1,), (part2,))

    def turned(self) -> "Difference":
        """The same of the two texts in the other order."""
        return Difference(self.code, self.said2, self.said1, self.spans2, self.spans1)

    def is_inside(self, other: "Difference") -> bool:
        """Whether another difference touches all the places of this one, in both texts."""
        return _touches(self.spans1, other.spans1) and _touches(self.spans2, other.spans2)

    def reason(self) -> Reason:
        """The reason that a person reads."""
        either = self.said1 or self.said2
        sentence = SENTENCES[self.code]
        if not (self.said1 and self.said2):
            sentence = ONE_SIDED.get(self.code, sentence)
        words = {"one": self.said1, "other": self.said2, "either": either}
        return Reason(self.code, sentence.format(**words), self.spans1, self.spans2)


def _touches(own: Spans, others: Spans) -> bool:
    """Whether each of some places shares a character with one of others."""
    for start, end in own:
        if not any(begin < end and start < stop for begin, stop in others):
            return False
    return bool(own) == bool(others)


def spans(words: Iterable[Word]) -> Spans:
    """The places of some words."""
    return tuple(word.span for word in words)
