"""A release's models and labelled pairs in; out come the models' scores of the pairs, and the figures of these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine.models.backends import TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.engine.scorer import Calibration, Scorer, similarity
from app.engine.signals import Reader
from app.engine.verdicts import Judge, unread
from training.called import verdict_figures, verdicts_of
from training.figures import Figures, calibrated, intervals, ranking
from training.pairs import (
    LabelledPair,
    both_texts,
    labels_of,
    open_pairs,
    rows_of,
    texts_of,
)
from training.progress_writer import ProgressWriter
from training.retrieval import mining, retrieval
from training.slices import in_slices
from training.splits import components

Figure = Callable[..., Figures]


@dataclass(frozen=True)
class Evidence:
    """The models' scores of n labelled pairs: similarities and logits (n,) float32, labels (n,) bool."""

    similarities: NDArray[np.float32]
    logits: NDArray[np.float32] | None
    labels: NDArray[np.bool_]
    components: NDArray[np.int64]
    base: NDArray[np.float32] | None = None  # similarities (n,) by the untrained base

    @property
    def features(self) -> list[NDArray[np.float32]]:
        """The features that a calibration weighs: the similarity, and the logit where there is one."""
        return [self.similarities] if self.logits is None else [self.similarities, self.logits]

    def read_by(self, scorer: Scorer) -> NDArray[np.float32]:
        """The logits (n,) of the pairs that a service with this scorer reads, NaN of all others."""
        logits = unread(len(self.labels))
        if self.logits is not None:
            is_read = scorer.is_open(self.similarities)
            logits[is_read] = self.logits[is_read]
        return logits


def read_evidence(
    encoder: Encoder,
    classifier: PairClassifier | None,
    pairs: Sequence[LabelledPair],
    base: Encoder | None = None,
    progress: ProgressWriter | None = None,
) -> Evidence:
    """Run the models over labelled pairs, each text once."""
    progress = progress or ProgressWriter()
    by_encoder = _similarities(encoder, pairs, progress)
    logits = None
    if classifier:
        logits = in_slices(classifier.score, both_texts(pairs), progress)
    by_base = _similarities(base, pairs, progress) if base else None
    return Evidence(by_encoder, logits, labels_of(pairs), components(pairs), by_base)


def _similarities(
    encoder: Encoder,
    pairs: Sequence[LabelledPair],
    progress: ProgressWriter,
) -> NDArray[np.float32]:
    texts = texts_of(pairs)
    return similarities(pairs, texts, in_slices(encoder.encode, texts, progress))


def similarities(
    pairs: Sequence[LabelledPair],
    texts: Sequence[str],
    vectors: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Those (n,) of n pairs, whose texts have these vectors (m, d)."""
    row = rows_of(texts)
    first = [row[pair.question1] for pair in pairs]
    second = [row[pair.question2] for pair in pairs]
    return similarity(vectors[first], vectors[second])


def evaluate(
    release: Release,
    pairs: Sequence[LabelledPair],
    target_precision: str = "0.90",
    corpus: Sequence[str] | None = None,
    groups: Sequence[Mapping[LabelledPair, str]] = (),
    device: str = "auto",
    backend: str = TORCH,
) -> Figures:
    """A release's figures on labelled pairs, and of finding duplicates in a corpus, through the code that serves.

    Each of `groups` names a group for pairs, whose verdicts are told too. Pairs of the same visible words are left
    out: the service answers them without a model. The probability is that of the classifier for every pair; the
    verdicts leave those unread that the service does.
    """
    encoder, classifier = open_models(release, device, backend)
    measured = open_pairs(pairs)
    start = perf_counter()
    evidence = read_evidence(encoder, classifier, measured)
    seconds = perf_counter() - start
    backends = {ENCODER: encoder.backend}
    if classifier:
        backends[CLASSIFIER] = classifier.backend
    figures: Figures = {
        "backend": backends,
        "pairs_per_second": len(measured) / seconds,
        **figures_of(evidence, release.scale.calibration),
        "mining": mining(encoder, measured),
    }
    scorer = release.scorer(target_precision)
    judge = Judge(scorer, Reader(encoder, classifier))
    logits = evidence.read_by(scorer)
    verdicts = verdicts_of(judge, both_texts(measured), evidence.similarities, logits)
    figures["verdicts"] = verdict_figures(verdicts, measured, groups)
    if corpus is not None:
        figures["retrieval"] = retrieval(encoder, measured, corpus)
    return figures


def figures_of(evidence: Evidence, calibration: Calibration) -> Figures:
    """Figures of similarity and probability, and of the base's similarity where it was read, with 95 % intervals."""
    kinds: dict[str, tuple[NDArray[Any], Figure]] = {
        "similarity": (evidence.similarities, ranking),
        "probability": (
            calibration.probability(*evidence.features),
            calibrated,
        ),
    }
    if evidence.base is not None:
        kinds["base"] = (evidence.base, ranking)
    labels = evidence.labels
    figures: Figures = {
        "pairs": len(labels),
        "duplicates": int(labels.sum()),
    }
    bounds: Figures = {}
    for name, (scores, figure) in kinds.items():
        figures[name] = figure(scores, labels)
        bounds[name] = intervals(scores, labels, evidence.components, figure)
    return {**figures, "intervals": bounds}
