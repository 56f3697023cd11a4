"""Labels in, rulings out: one for the labels of each pair. The judge (`verdicts`) lets it overrule the model.

A label holds for the pair whose bytes it names; else for a pair of the same visible words; else for one of loosely the
same words. Of the labels that speak of a pair, those of the most exact level count. Where people contradict each other
there, nothing is averaged: the verdict is `review` until one of them gives way. See docs/decisions/0007 and 0022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from app.engine.scorer import Verdict
from app.engine.store import NAMELESS, Label
from app.engine.text import TextPair, Worded, WordedPair, digest


@dataclass(frozen=True)
class Ruling:
    """The latest label of a pair, and whether another person's says the opposite."""

    id: int
    is_duplicate: bool
    by: str
    at: str
    contradicted: bool

    def without_name(self) -> "Ruling":
        """The same, for those who are not to know who labels."""
        return replace(self, by=NAMELESS)

    @property
    def verdict(self) -> Verdict:
        """The verdict of the pair, whatever the model says."""
        if self.contradicted:
            return "review"
        return "duplicate" if self.is_duplicate else "different"

    @property
    def links(self) -> bool:
        """Whether one question must be offered for the other, even if no search finds it."""
        return self.verdict != "different"


class Level(IntEnum):
    """How far two texts are the same, the most exact level first."""

    BYTES = 0
    WORDS = 1
    LOOSELY = 2
    NOT = 3


def ruling(labels: Sequence[Label]) -> Ruling:
    """The ruling of active labels that speak of the same pair; there is at least one. Of each person the latest word
    counts.
    """
    by_person = {label.by: label for label in sorted(labels, key=lambda label: label.id)}
    latest = max(by_person.values(), key=lambda label: label.id)
    contradicted = any(label.is_duplicate != latest.is_duplicate for label in by_person.values())
    return Ruling(latest.id, latest.is_duplicate, latest.by, latest.at, contradicted)


def ruling_on(one: Worded, other: Worded, labels: Sequence[Label]) -> Ruling | None:
    """The ruling on this pair by labels on loosely the same pairs; None where they say nothing of it."""
    deciding = deciding_labels(one, other, labels)
    return ruling(deciding) if deciding else None


def deciding_labels(one: Worded, other: Worded, labels: Sequence[Label]) -> list[Label]:
    """Of the labels on loosely the same pairs, those that decide on this one: the most exact."""
    by_level: dict[Level, list[Label]] = {}
    for label in labels:
        level = _level(label, one, other)
        if level < _own_level(label):
            by_level.setdefault(level, []).append(label)
    return by_level[min(by_level)] if by_level else []


def rulings_of_pairs(
    pairs: Sequence[WordedPair], labels: Mapping[TextPair, Sequence[Label]]
) -> dict[TextPair, Ruling]:
    """For each pair of texts, from the active labels on loosely the same pairs: the ruling; none: absent."""
    rulings = {}
    for one, other in pairs:
        texts = one.text, other.text
        if texts in labels and (found := ruling_on(one, other, labels[texts])):
            rulings[texts] = found
    return rulings


def by_other(own: Worded, labels: Sequence[Label]) -> dict[bytes, list[Label]]:
    """The labels on pairs of which one is loosely the own text, by the loose digest of the other."""
    others: dict[bytes, list[Label]] = {}
    for label in labels:
        first, second = label.loose
        others.setdefault(second if first == own.loose else first, []).append(label)
    return others


def _level(label: Label, one: Worded, other: Worded) -> Level:
    """How far the label's pair is this one, whichever text comes first: as far as the less alike of its two texts."""
    first, second = _sides(label)
    straight = max(_likeness(first, one), _likeness(second, other))
    turned = max(_likeness(first, other), _likeness(second, one))
    return min(straight, turned)


def _own_level(label: Label) -> Level:
    """How far the label's own two texts are the same. It parts or joins them, and says nothing of texts that are the
    same on that level or a looser one."""
    first, second = _sides(label)
    return _likeness(first, second)


@dataclass(frozen=True)
class _Side:
    """One text of a label; its visible words are looked at only where the loose ones agree."""

    text: str
    loose: bytes

    @property
    def digest(self) -> bytes:
        return digest(self.text)


def _sides(label: Label) -> tuple[_Side, _Side]:
    first, second = label.questions
    return _Side(first, label.loose[0]), _Side(second, label.loose[1])


def _likeness(one: Worded, other: Worded) -> Level:
    """The most exact level on which two texts are the same."""
    if one.loose != other.loose:
        return Level.NOT
    if one.text == other.text:
        return Level.BYTES
    return Level.WORDS if one.digest == other.digest else Level.LOOSELY
