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


@dataclass(frozen=True)
class Sides:
    """The labelled pairs of each side. A pair of which each question has another side stands on none."""

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

    A label between two questions that no label named before draws their side, by a hash of the pair. A question keeps
    its side. A label gives the side of one question to the other, if no label named that before. A label between
    questions of different sides ties nothing: most questions would soon hang together, and so be of one side.
    """
    of_question: dict[bytes, Side] = {}
    sides = Sides()
    for label in labels:
        ends = folded_digest(label.question1), folded_digest(label.question2)
        taken: set[Side] = set()
        for question in ends:
            if question in of_question:
                taken.add(of_question[question])
        if len(taken) > 1:
            continue
        side = taken.pop() if taken else _lot(*ends)
        of_question.update(dict.fromkeys(ends, side))
        if label.counts:
            pair = LabelledPair(label.question1, label.question2, label.is_duplicate)
            sides.of(side).append(pair)
    return sides


def _lot(one: bytes, other: bytes) -> Side:
    """The side of a new component: evenly spread, and the same for the pair wherever and whenever it is labelled."""
    both = b"".join(sorted((one, other)))
    drawn = hashlib.blake2b(both, key=b"side", digest_size=8).digest()
    place = int.from_bytes(drawn, "big") / 2**64
    if place < EVALUATION_SHARE:
        return "evaluation"
    return "tune" if place < EVALUATION_SHARE + TUNE_SHARE else "train"
