"""Two readings in; the words that they share and the places where they differ out. Made once for a pair. Words are
matched by their keys. Where the shared words stand in the same order, what lies between them is a gap: words of one
text in place of words of the other, or of none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.guards.reading import Reading, Word

LEAST_AGREEMENT = (
    0.3  # of the content words: below, the texts ask two things anyway, and are not aligned
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Words of the first text in place of words of the second, by their places; one side may be empty."""

    start1: int
    end1: int
    start2: int
    end2: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two texts, the words that only one of them has, and, unless the others are reordered, where they differ."""

    first: Reading
    second: Reading
    only1: tuple[Word, ...]
    only2: tuple[Word, ...]
    content1: tuple[Word, ...]  # of these, those that are neither function words nor numbers
    content2: tuple[Word, ...]
    gaps: tuple[Gap, ...]
    is_reordered: bool
    agreement: (
        float  # share of the content words that both have (Dice, 1945); 1 where there is none
    )

    @property
    def is_substitution(self) -> bool:
        """Whether one content word stands in place of one other, and all others agree."""
        return not self.is_reordered and len(self.content1) == len(self.content2) == 1

    def words1(self, gap: Gap) -> tuple[Word, ...]:
        """The first text's words in a gap."""
        return self.first.words[gap.start1 : gap.end1]

    def words2(self, gap: Gap) -> tuple[Word, ...]:
        """The second text's words in a gap."""
        return self.second.words[gap.start2 : gap.end2]


def align(first: Reading, second: Reading) -> Alignment:
    """The words that two readings share, and the places where they differ; without these places where they share
    little."""
    agreement = _agreement(first.content, second.content)
    if agreement < LEAST_AGREEMENT:
        return Alignment(first, second, (), (), (), (), (), is_reordered=True, agreement=agreement)
    one = first.keys
    other = second.keys
    begin = _common(one, other)
    end = _common(one[begin:][::-1], other[begin:][::-1])
    end1 = len(one) - end
    end2 = len(other) - end
    middle1 = range(begin, end1)
    middle2 = range(begin, end2)
    kept1 = _kept(one, middle1, other[begin:end2])
    kept2 = _kept(other, middle2, one[begin:end1])
    is_reordered = [one[place] for place in kept1] != [other[place] for place in kept2]
    gaps: list[Gap] = []
    if not is_reordered:
        gaps = _between([*kept1, end1], [*kept2, end2], begin)
    only1 = tuple(first.words[place] for place in middle1 if place not in kept1)
    only2 = tuple(second.words[place] for place in middle2 if place not in kept2)
    return Alignment(
        first,
        second,
        only1,
        only2,
        tuple(word for word in only1 if word.key in first.content),
        tuple(word for word in only2 if word.key in second.content),
        tuple(gaps),
        is_reordered,
        agreement,
    )


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two sequences begin with alike."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _kept(keys: Sequence[str], places: range, others: Sequence[str]) -> dict[int, None]:
    """The places, in their order, of words that the other text has too, each as often as both have it."""
    left: dict[str, int] = {}
    for key in others:
        left[key] = left.get(key, 0) + 1
    kept: dict[int, None] = {}
    for place in places:
        count = left.get(keys[place])
        if count:
            left[keys[place]] = count - 1
            kept[place] = None
    return kept


def _between(kept1: Sequence[int], kept2: Sequence[int], begin: int) -> list[Gap]:
    """The places before each of the kept ones."""
    gaps = []
    start1 = start2 = begin
    for place1, place2 in zip(kept1, kept2, strict=True):
        if place1 > start1 or place2 > start2:
            gaps.append(Gap(start1, place1, start2, place2))
        start1 = place1 + 1
        start2 = place2 + 1
    return gaps


def _agreement(one: frozenset[str], other: frozenset[str]) -> float:
    total = len(one) + len(other)
    return 2 * len(one & other) / total if total else 1.0
