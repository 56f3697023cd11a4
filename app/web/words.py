"""Two texts word by word: the words that they share, those that differ, and those that turn the meaning.

The judge's reasons tell the words that turn the meaning, as spans. Other differences are only shown, and decide
nothing.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

from app.engine.reasons import Reason

How = Literal["same", "other", "turns"]
Span = tuple[int, int]  # from a character, up to another

WORD = re.compile(r"\w+(?:[’'.-]\w+)*|[^\w\s]+")
MAX_WORDS = 300  # of a text whose words are compared
MAX_EQUAL = (
    4000  # pairs of equal words in both: comparing looks at them again for each piece that it finds
)


@dataclass(frozen=True)
class Run:
    """A piece of a text, and how it relates to the other text."""

    text: str
    how: How


@dataclass(frozen=True)
class Aligned:
    """A piece of each text, side by side; one of them may be empty."""

    first: str
    second: str
    how: How


def turning_of(reasons: Sequence[Reason]) -> tuple[list[Span], list[Span]]:
    """The spans of a judgement's reasons, in the first text and in the second. A part that was cut off turns
    nothing."""
    first: list[Span] = []
    second: list[Span] = []
    for reason in reasons:
        if reason.code != "cut":
            first += reason.spans1
            second += reason.spans2
    return first, second


def marked(text: str, other: str, turning: Sequence[Span] = ()) -> list[Run]:
    """The runs of a text, in its order, white space included, beside another text."""
    hows: list[How] = ["same"] * len(text)
    for start, end in _differing(text, other):
        hows[start:end] = ["other"] * (end - start)
    for start, end in turning:
        turned = range(len(text))[start:end]
        hows[start:end] = ["turns"] * len(turned)
    runs: list[Run] = []
    for how, characters in groupby(zip(text, hows, strict=True), key=lambda pair: pair[1]):
        runs.append(Run("".join(character for character, _ in characters), how))
    return runs


def aligned(
    first: str, second: str, turning1: Sequence[Span] = (), turning2: Sequence[Span] = ()
) -> list[Aligned]:
    """The two texts in pieces: those of the same words, and those between them."""
    words1 = list(WORD.finditer(first))
    words2 = list(WORD.finditer(second))
    operations = _operations(words1, words2)
    if operations is None:
        return [Aligned(first, second, "other")]
    pieces: list[Aligned] = []
    for tag, start1, end1, start2, end2 in operations:
        piece1 = _span(words1, start1, end1)
        piece2 = _span(words2, start2, end2)
        turns = _touches(piece1, turning1) or _touches(piece2, turning2)
        how: How = "same" if tag == "equal" else "other"
        if turns:
            how = "turns"
        text1 = first[slice(*piece1)]
        text2 = second[slice(*piece2)]
        pieces.append(Aligned(text1, text2, how))
    return pieces


def _differing(text: str, other: str) -> list[Span]:
    """The places of words that the other text has not in the same place; none, where that is half of them."""
    words = list(WORD.finditer(text))
    others = list(WORD.finditer(other))
    spans: list[Span] = []
    differing = 0
    for tag, start, end, _, _ in _operations(words, others) or ():
        if tag != "equal" and end > start:
            spans.append(_span(words, start, end))
            differing += end - start
    return spans if 2 * differing < len(words) else []


def _operations(
    first: Sequence[re.Match[str]], second: Sequence[re.Match[str]]
) -> list[tuple[str, int, int, int, int]] | None:
    """How one row of words becomes the other, as `difflib` tells it; letter case makes no difference. None where that
    would take long: of many words, or of a few that come again and again."""
    if max(len(first), len(second)) > MAX_WORDS:
        return None
    words1 = [word.group().casefold() for word in first]
    words2 = [word.group().casefold() for word in second]
    times = Counter(words2)
    if sum(times[word] for word in words1) > MAX_EQUAL:
        return None
    return list(SequenceMatcher(None, words1, words2, autojunk=False).get_opcodes())


def _span(words: Sequence[re.Match[str]], start: int, end: int) -> Span:
    """The characters from the first of these words to the last."""
    if start == end:
        return 0, 0
    return words[start].start(), words[end - 1].end()


def _touches(piece: Span, spans: Sequence[Span]) -> bool:
    return any(start < piece[1] and piece[0] < end for start, end in spans)
