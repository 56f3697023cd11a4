"""Labels in, in the order they were given; out come those to learn from, and those only to measure on.

Nothing is kept between runs: the same labels take the same sides each time. Later labels never turn a pair that
was measured on into one that is learnt from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.engine.text import folded_digest
from app.engine.training_contract import GivenLabel
from training.pairs import LabelledPair

EVALUATION_SHARE = 0.2  # of the components that labels newly make
TUNE_SHARE = 0.16  # of them: a fifth of the rest

Side = Literal["evaluation", "train", "tune"]
RANK: Sequence[Side] = (
    "evaluation",
    "train",
    "tune",
)  # of tied components' sides the first wins


@dataclass(frozen=True)
class Sides:
    """The labelled pairs of each side.

    A pair that stands on none of them was learnt from once, before a label tied it to pairs that are measured on.
    """

    train: list[LabelledPair] = field(default_factory=list)
    tune: list[LabelledPair] = field(default_factory=list)
    evaluation: list[LabelledPair] = field(default_factory=list)

    def of(self, side: Side) -> list[LabelledPair]:
        """The pairs of a side."""
        by_name = {
            "train": self.train,
            "tune": self.tune,
            "evaluation": self.evaluation,
        }
        return by_name[side]


def take_sides(labels: Sequence[GivenLabel]) -> Sides:
    """Replay all labels of a collection in the order they were given.

    A label between two questions that no label named before makes a component, which draws its side by a hash of the
    pair; any other takes the side of the components that it ties, and if these differ, evaluation before
    train before tune. A question that has stood on a side that is learnt from may be known to some champion: no pair
    with it is measured on any more.
    """
    tied = _Components()
    learnt: set[bytes] = set()
    for label in labels:
        ends = folded_digest(label.question1), folded_digest(label.question2)
        if tied.tie(*ends) != "evaluation":
            learnt.update(ends)
    sides = Sides()
    for label in labels:
        ends = folded_digest(label.question1), folded_digest(label.question2)
        side = tied.side(ends[0])
        may_be_known = side == "evaluation" and not learnt.isdisjoint(ends)
        if label.counts and not may_be_known:
            pair = LabelledPair(label.question1, label.question2, label.is_duplicate)
            sides.of(side).append(pair)
    return sides


class _Components:
    """Questions by digest, tied into components that have a side (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[bytes, bytes] = {}
        self._side: dict[bytes, Side] = {}  # of roots

    def tie(self, one: bytes, other: bytes) -> Side:
        """Tie two questions, and return the side of the component they are in now."""
        roots = {self._root(question) for question in (one, other) if question in self._parent}
        if roots:
            top = min(roots)
            side = min((self._side[root] for root in roots), key=RANK.index)
        else:
            top = one
            side = _lot(one, other)
        for question in (*roots, one, other):
            self._parent[question] = top
        self._side[top] = side
        return side

    def side(self, question: bytes) -> Side:
        """The side of the component that the question is in."""
        return self._side[self._root(question)]

    def _root(self, question: bytes) -> bytes:
        while (above := self._parent[question]) != question:
            self._parent[question] = question = self._parent[above]
        return question


def _lot(one: bytes, other: bytes) -> Side:
    """The side of a new component: evenly spread, and the same for the pair wherever and whenever it is labelled."""
    both = b"".join(sorted((one, other)))
    drawn = hashlib.blake2b(both, key=b"side", digest_size=8).digest()
    place = int.from_bytes(drawn, "big") / 2**64
    if place < EVALUATION_SHARE:
        return "evaluation"
    return "tune" if place < EVALUATION_SHARE + TUNE_SHARE else "train"
