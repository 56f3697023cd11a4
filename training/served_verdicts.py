"""Two releases and pairs as a service meets them in; out comes what each calls a duplicate, and whether that is harm.

Labels are no sample of what a service is asked. So the gate also looks at verdicts of pairs near enough to be offered:
those of written questions, of which it is known whether they are duplicates, and the collection's own, of which nobody
has said so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.scorer import Scorer
from app.engine.text import Words
from app.engine.training_contract import (
    Calls,
    ServedSet,
    UnlabelledPair,
)
from app.engine.verdicts import Judge, Pair, unread
from training.evaluation import in_slices, similarities
from training.pairs import LabelledPair, both_texts, texts_of
from training.progress import ProgressFile
from training.served import serve
from training.written import Cluster, read_clusters

WRITTEN = "written questions as served"
NEAR = "the collection's near pairs"
CLUSTERS = 12  # of each domain of the written report
FEWEST_CALLS = 20  # without which a precision says little
LOOSER = 0.05  # by which a precision may look lower than it should
FEWER = 0.5  # of the duplicates that the champion finds, which the challenger should find
MORE = 2.0  # times the champion's calls of near pairs, from which somebody should look at some
MORE_SHARE = 0.1  # of all near pairs, by which there may be more in any case
