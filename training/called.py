"""A release's models in; out comes how it would judge pairs if it served, and the shares of each verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.scorer import Scorer, Verdict
from app.engine.signals import Reader
from app.engine.text import TextPair, Words
from app.engine.verdicts import Judge, Pair, unread
from training.figures import Figures
from training.pairs import LabelledPair
from training.progress_writer import ProgressWriter
from training.slices import in_slices

VERDICTS: Sequence[Verdict] = ("duplicate", "review", "different")


@dataclass(frozen=True)
class Caller:
    """A release that answers: its models, and one target precision."""

    scorer: Scorer
    encoder: Encoder
    classifier: PairClassifier | None
    progress: ProgressWriter

    def called(
        self, pairs: Sequence[TextPair], similarities: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Which of n pairs with these similarities (n,) are called duplicates; those are read that a service reads."""
        logits = unread(len(pairs))
        near = np.flatnonzero(self.scorer.is_open(similarities))
        if self.classifier and len(near):
            texts = [pairs[row] for row in near.tolist()]
            logits[near] = in_slices(self.classifier.score, texts, self.progress)
        judge = Judge(self.scorer, Reader(self.encoder, self.classifier))
        verdicts = verdicts_of(judge, pairs, similarities, logits)
        return np.array([verdict == "duplicate" for verdict in verdicts], dtype=np.bool_)


def verdicts_of(
    judge: Judge,
    pairs: Sequence[TextPair],
    similarities: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> list[Verdict]:
    """The verdict of each of n pairs by similarities (n,) and logits (n,), NaN where the classifier has not read."""
    worded = [Pair(Words.of(first), Words.of(second)) for first, second in pairs]
    return [judgement.verdict for judgement in judge.judge(worded, similarities, logits)]


def verdict_figures(
    verdicts: Sequence[Verdict],
    pairs: Sequence[LabelledPair],
    groups: Sequence[Mapping[LabelledPair, str]],
) -> Figures:
    """Shares of the verdicts, precision and recall of `duplicate`: of all pairs, and of each group that is named.

    Precision is None where nothing is called a duplicate, recall where nothing is one.
    """
    members: dict[str, list[int]] = {"all": list(range(len(pairs)))}
    for names in groups:
        for place, pair in enumerate(pairs):
            if pair in names:
                members.setdefault(names[pair], []).append(place)
    labels = np.array([pair.is_duplicate for pair in pairs], dtype=np.bool_)
    given = np.array(verdicts)
    figures = {}
    for name, places in members.items():
        figures[name] = _figures(given[places], labels[places])
    return figures


def _figures(verdicts: NDArray[np.str_], labels: NDArray[np.bool_]) -> Figures:
    called = verdicts == "duplicate"
    right = int((called & labels).sum())
    figures: Figures = {"pairs": len(labels)}
    for verdict in VERDICTS:
        figures[verdict] = float((verdicts == verdict).mean())
    figures["precision"] = right / int(called.sum()) if called.any() else None
    figures["recall"] = right / int(labels.sum()) if labels.any() else None
    return figures
