"""Triplets with hard negatives, and near pairs for a teacher."""

import numpy as np
from numpy.typing import NDArray

from training.hard_negatives import mine_pairs
from training.pairs import LabelledPair

TEXTS = [
    "How do I add a user?",
    "how do i ADD a user?",
    "Where are the logs?",
    "Where is the log?",
    "Who pays?",
]
ANGLES = np.radians([0, 1, 60, 65, 140])
VECTORS: NDArray[np.float32] = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


def test_near_pairs_are_those_that_nobody_labelled_the_nearest_of_each_first() -> None:
    labelled = [LabelledPair(TEXTS[2], TEXTS[0], is_duplicate=False)]
    found = [
        (TEXTS.index(p.question1), TEXTS.index(p.question2))
        for p in mine_pairs(labelled, TEXTS, VECTORS, 4)
    ]
    # 0 and 1 are one question, whose pair with 2 has a label; then the second nearest
    assert found == [(2, 3), (4, 3), (3, 1), (4, 2)]


def test_there_are_no_more_near_pairs_than_wanted() -> None:
    assert len(mine_pairs([], TEXTS, VECTORS, 1)) == 1
    assert mine_pairs([], TEXTS, VECTORS, 0) == []
