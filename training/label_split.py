"""Labels in, in the order they were given; out comes which of them are learnt from and which are only measured on.

Nothing is kept between runs: the same labels take the same sides each time, and labels that come later never turn
what was measured on into what is learnt from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.engine.text import digest
from training.pairs import LabelledPair

EVALUATION_SHARE = 0.2  # of the components that labels newly make
FIT_SHARE = 0.16  # of them: a fifth of what is left

Side = Literal[
    "evaluation", "train", "fit"
]  # of components that a label ties together, the first named wins


@dataclass(frozen=True)
class GivenLabel:
    """A label as it was given. One that was ended (`active` is false) or contradicted is no pair to learn from or to
    measure on, but still ties its questions."""

    question1: str
    question2: str
    is_duplicate: bool
    active: bool
    contradicted: bool

    @property
    def counts(self) -> bool:
        """Whether it is a pair."""
        return (
            self.active
            and not self.contradicted
            and digest(self.question1) != digest(self.question2)
        )


@dataclass(frozen=True)
class Sides:
    """The labelled pairs of each side. What stands on none of them was learnt from once, before a label tied it to
    pairs that are measured on."""

    train: list[LabelledPair] = field(default_factory=list)
    fit: list[LabelledPair] = field(default_factory=list)
    evaluation: list[LabelledPair] = field(default_factory=list)


def take_sides(labels: Sequence[GivenLabel]) -> Sides:
    """Replay all labels of a collection in the order they were given.

    A label between two questions that no label named before makes a component, which draws its side by a hash of the
    pair; any other takes the side of the components that it ties, and if these differ, evaluation before
    train before fit. A question that has stood on a side that is learnt from may be known to some champion: no pair
    with it is measured on any more.
    """
    tied = _Components()
    learnt: set[bytes] = set()
    for label in labels:
        ends = digest(label.question1), digest(label.question2)
        if tied.tie(*ends) != "evaluation":
            learnt.update(ends)
    sides = Sides()
    for label in labels:
        ends = digest(label.question1), digest(label.question2)
        side = tied.side(ends[0])
        if label.counts and (side != "evaluation" or learnt.isdisjoint(ends)):
            pair = LabelledPair(label.question1, label.question2, label.is_duplicate)
            getattr(sides, side).append(pair)
    return sides


class _Components:
    """Questions by digest, tied into components that have a side (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[bytes, bytes] = {}
        self._side: dict[bytes, Side] = {}  # of roots

    def tie(self, one: bytes, other: bytes) -> Side:
        """Tie two questions, and return the side of the component they are in now."""
        roots = {self._root(question) for question in (one, other) if question in self._parent}
        side = (
            min((self._side[root] for root in roots), key=_RANK.index)
            if roots
            else _lot(one, other)
        )
        top = min(roots, default=one)
        for question in (*roots, one, other):
            self._parent[question] = top
        self._side[top] = side
        return side

    def side(self, question: bytes) -> Side:
        return self._side[self._root(question)]

    def _root(self, question: bytes) -> bytes:
        while (above := self._parent[question]) != question:
            self._parent[question] = question = self._parent[above]
        return question


_RANK: Sequence[Side] = ("evaluation", "train", "fit")


def _lot(one: bytes, other: bytes) -> Side:
    """What a new component draws: evenly spread, and the same for the pair wherever and whenever it is labelled."""
    drawn = hashlib.blake2b(b"".join(sorted((one, other))), key=b"side", digest_size=8).digest()
    place = int.from_bytes(drawn, "big") / 2**64
    if place < EVALUATION_SHARE:
        return "evaluation"
    return "fit" if place < EVALUATION_SHARE + FIT_SHARE else "train"
