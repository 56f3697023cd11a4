"""The reason of a verdict: a code, one plain sentence, and its places in each of the two texts. The judge (`verdicts`)
alone attaches reasons. The differences that guards see are reasons, too; the others stand here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.engine.rulings import Ruling

MOST = 3  # reasons of one judgement
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

Span = tuple[int, int]  # start and end in a text, in code points; the end is not part of it
Spans = tuple[Span, ...]
Code = Literal[
    "label",
    "same_words",
    "likeness",
    "case",
    "unreadable",
    "cut",
    "unread",
    # of the guards
    "language",
    "negation",
    "opposite",
    "direction",
    "identifier",
    "version",
    "unit",
    "number",
    "entity",
    "actor",
    "time",
    "question",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a verdict; `spans1` lie in the first text of the pair, `spans2` in the second."""

    code: Code
    sentence: str
    spans1: Spans = ()
    spans2: Spans = ()


def most_important(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The first three of the reasons; whoever gives them has put the most important one first."""
    return tuple(reasons)[:MOST]


def label(ruling: Ruling) -> Reason:
    """People said so: the verdict is theirs."""
    day = datetime.fromisoformat(ruling.at)
    date = f"{day.day} {MONTHS[day.month - 1]} {day.year}"
    if not ruling.contradicted:
        return Reason("label", f"{ruling.by} said so on {date}")
    verdict = "duplicate" if ruling.is_duplicate else "different"
    return Reason(
        "label", f"people disagree: {ruling.by} said {verdict} on {date}, another the opposite"
    )


def same_words() -> Reason:
    """The texts are the same to the eye."""
    return Reason("same_words", "the same words")


def likeness(differs_in: Sequence[str]) -> Reason:
    """The texts are the same words, written otherwise."""
    return Reason("likeness", f"the same words but for {' and '.join(differs_in)}")


def case(one: str, other: str, spans1: Spans, spans2: Spans) -> Reason:
    """The texts differ in letter case where that can carry meaning; `one` and `other` are the first such words."""
    return Reason("case", f"letter case can carry meaning here: {one} → {other}", spans1, spans2)


def unreadable(spans1: Spans = (), spans2: Spans = ()) -> Reason:
    """The texts differ in characters that the model can't tell apart."""
    return Reason("unreadable", "the model can't read where they differ", spans1, spans2)


def cut(tokens: int, spans1: Spans = (), spans2: Spans = ()) -> Reason:
    """One of the texts is longer than the model reads; the spans are the parts that it has not read."""
    return Reason("cut", f"read only to token {tokens}", spans1, spans2)


def unread() -> Reason:
    """The release has a pair classifier, and it has not read the pair."""
    return Reason("unread", "compared by similarity alone: the classifier has not read this pair")
