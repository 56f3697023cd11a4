"""Scores and labels in, figures out, each with an interval; and a release's figures on labelled pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sentence_transformers import SentenceTransformerModelCardData
from sentence_transformers.sentence_transformer.evaluation import (
    InformationRetrievalEvaluator,
    ParaphraseMiningEvaluator,
)
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    matthews_corrcoef,
    precision_recall_curve,
)

from app.engine.models.backends import TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.engine.scorer import Calibration, similarity
from app.engine.text import normalize
from training.pairs import LabelledPair, open_pairs
from training.progress import Progress
from training.splits import components

PRECISIONS = ("0.90", "0.95", "0.98")
RESAMPLES = 200
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
ECE_BINS = 15
SLICE = 1024  # texts or pairs that are tokenised at a time, and read between two words of progress
DEPTH = 100  # answers of a search that are looked at

Figures = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the models say of n labelled pairs: similarities and logits (n,) float32, labels (n,) bool."""

    similarities: NDArray[np.float32]
    logits: NDArray[np.float32] | None
    labels: NDArray[np.bool_]
    components: NDArray[np.int64]
    base: NDArray[np.float32] | None = (
        None  # similarities (n,) by the model that training started from
    )

    @property
    def features(self) -> list[NDArray[np.float32]]:
        """What a calibration speaks of: similarity, and the logit where there is one."""
        return [self.similarities] if self.logits is None else [self.similarities, self.logits]


def read_evidence(
    encoder: Encoder,
    classifier: PairClassifier | None,
    pairs: Sequence[LabelledPair],
    base: Encoder | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Run the models over labelled pairs, each text once."""
    progress = progress or Progress()
    asked = [(pair.question1, pair.question2) for pair in pairs]
    return Evidence(
        similarities=_similarities(encoder, pairs, progress),
        logits=in_slices(classifier.score, asked, progress) if classifier else None,
        labels=np.array([pair.is_duplicate for pair in pairs], dtype=np.bool_),
        components=components(pairs),
        base=_similarities(base, pairs, progress) if base else None,
    )


def _similarities(
    encoder: Encoder, pairs: Sequence[LabelledPair], progress: Progress
) -> NDArray[np.float32]:
    texts = texts_of(pairs)
    return similarities(pairs, texts, in_slices(encoder.encode, texts, progress))


def similarities(
    pairs: Sequence[LabelledPair], texts: Sequence[str], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Those (n,) of n pairs, whose texts have these vectors (m, d)."""
    row = {text: i for i, text in enumerate(texts)}
    first, second = (
        [row[getattr(pair, side)] for pair in pairs] for side in ("question1", "question2")
    )
    return similarity(vectors[first], vectors[second])


def in_slices(
    read: Callable[[Sequence[Any]], NDArray[np.float32]], items: Sequence[Any], progress: Progress
) -> NDArray[np.float32]:
    """What a model says of all the items, with a word of progress after each slice of them, and a bar on a terminal."""
    parts = []
    starts = range(0, max(1, len(items)), SLICE)
    for start in track(
        starts, "reading", console=Console(stderr=True), transient=True, disable=len(starts) == 1
    ):
        parts.append(read(items[start : start + SLICE]))
        progress.beat()
    return np.concatenate(parts)


def texts_of(pairs: Sequence[LabelledPair]) -> list[str]:
    """The distinct texts of pairs, in order of appearance."""
    return list(dict.fromkeys(text for pair in pairs for text in (pair.question1, pair.question2)))


def evaluate(
    release: Release,
    pairs: Sequence[LabelledPair],
    corpus: Sequence[str] | None = None,
    device: str = "auto",
    backend: str = TORCH,
) -> Figures:
    """A release's figures on labelled pairs, and of finding duplicates in a corpus, through the code that serves.

    Pairs that are equal after normalisation are left out: the service answers them without a model.
    """
    encoder, classifier = open_models(release, device, backend)
    asked = open_pairs(pairs)
    start = perf_counter()
    evidence = read_evidence(encoder, classifier, asked)
    seconds = perf_counter() - start
    figures: Figures = {
        "backend": {ENCODER: encoder.backend}
        | ({CLASSIFIER: classifier.backend} if classifier else {}),
        "pairs_per_second": len(asked) / seconds,
    }
    figures |= figures_of(evidence, (release.by_pair or release.by_similarity).calibration)
    figures["mining"] = mining(encoder, asked)
    if corpus is not None:
        figures["retrieval"] = retrieval(encoder, asked, corpus)
    return figures


def figures_of(evidence: Evidence, calibration: Calibration) -> Figures:
    """Figures of similarity and of probability, and of the base's similarity where it was read, with 95 % intervals
    over resampled components (bootstrap)."""
    kinds: dict[str, tuple[NDArray[Any], Callable[..., Figures]]] = {
        "similarity": (evidence.similarities, ranking),
        "probability": (calibration.probability(*evidence.features), calibrated),
    }
    if evidence.base is not None:
        kinds["base"] = (evidence.base, ranking)
    figures: Figures = {"pairs": len(evidence.labels), "duplicates": int(evidence.labels.sum())}
    figures |= {name: figure(scores, evidence.labels) for name, (scores, figure) in kinds.items()}
    figures["intervals"] = {
        name: _intervals(scores, evidence.labels, evidence.components, figure)
        for name, (scores, figure) in kinds.items()
    }
    return figures


def ranking(scores: NDArray[Any], labels: NDArray[np.bool_]) -> Figures:
    """How well scores tell the classes apart: average precision, and the best that a threshold on them reaches."""
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(np.where(labels[order], 1, -1)) + np.count_nonzero(~labels)
    ends = np.append(
        np.flatnonzero(np.diff(scores[order])), len(scores) - 1
    )  # equal scores stay together
    best = max(int(right[ends].max()), int(np.count_nonzero(~labels)))
    return {
        "average_precision": float(average_precision_score(labels, scores)),
        "best_f1": float(f1.max()),
        "accuracy": best / len(labels),
        "mcc": float(matthews_corrcoef(labels, scores >= thresholds[int(np.argmax(f1[:-1]))])),
        "recall_at_precision": {p: float(recall[precision >= float(p)].max()) for p in PRECISIONS},
    }


def calibrated(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> Figures:
    """The same of probabilities, and how far they can be believed: log loss in nats, Brier score, ECE."""
    return {
        **ranking(probabilities, labels),
        "log_loss": float(log_loss(labels, probabilities, labels=[False, True])),
        "brier": float(brier_score_loss(labels, probabilities)),
        "ece": expected_calibration_error(probabilities, labels),
    }


def expected_calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int = ECE_BINS
) -> float:
    """Mean distance of mean probability and share of duplicates, over bins of equal mass (Naeini et al., 2015)."""
    parts = np.array_split(np.argsort(probabilities, kind="stable"), bins)
    gaps = [
        len(part) * abs(probabilities[part].mean() - labels[part].mean())
        for part in parts
        if len(part)
    ]
    return float(sum(gaps) / len(labels))


def retrieval(encoder: Encoder, pairs: Sequence[LabelledPair], corpus: Sequence[str]) -> Figures:
    """How well duplicates are found: every question of a labelled duplicate is asked of corpus and pairs together,
    and kept out of its own answers; relevant is what is labelled its duplicate, and nothing else."""
    relevant: dict[str, set[str]] = {}
    for pair in pairs:
        if pair.is_duplicate:
            relevant.setdefault(pair.question1, set()).add(pair.question2)
            relevant.setdefault(pair.question2, set()).add(pair.question1)
    texts = list(dict.fromkeys([*corpus, *texts_of(pairs)]))
    vectors = encoder.encode(texts)
    row = {text: i for i, text in enumerate(texts)}
    queries = list(relevant)
    scores, nearest = _search(vectors, vectors[[row[query] for query in queries]])
    evaluator = InformationRetrievalEvaluator(
        {query: query for query in queries},
        {text: text for text in texts},
        relevant,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=[10],
        precision_recall_at_k=[10],
        map_at_k=[DEPTH],
        write_csv=False,
    )
    answers: list[Any] = [
        [
            {"corpus_id": texts[i], "score": float(score)}
            for i, score in zip(of_query, of_scores, strict=True)
            if normalize(texts[i]) != normalize(query)
        ][:DEPTH]
        for query, of_query, of_scores in zip(queries, nearest.tolist(), scores, strict=True)
    ]
    found = evaluator.compute_metrics(answers)
    return {
        "queries": len(queries),
        "corpus": len(texts),
        "ndcg@10": float(found["ndcg@k"][10]),
        "mrr@10": float(found["mrr@k"][10]),
        f"map@{DEPTH}": float(found["map@k"][DEPTH]),
        "recall@10": float(found["recall@k"][10]),
    }


def mining(encoder: Encoder, pairs: Sequence[LabelledPair]) -> Figures:
    """How well the labelled duplicates stand out among all pairs of the questions: average precision and best F1.

    What nobody labelled counts as different, so that the figures are lower bounds.
    """
    evaluator = ParaphraseMiningEvaluator(
        {text: text for text in texts_of(pairs)},
        [(pair.question1, pair.question2) for pair in pairs if pair.is_duplicate],
        write_csv=False,
    )
    found = evaluator(_Serving(encoder))  # type: ignore[arg-type]
    return {"average_precision": float(found["average_precision"]), "best_f1": float(found["f1"])}


@dataclass(frozen=True)
class _Serving:
    """The encoder that serves, as sentence-transformers' evaluators call a model."""

    encoder: Encoder
    model_card_data: SentenceTransformerModelCardData = field(
        default_factory=SentenceTransformerModelCardData
    )

    def encode(self, texts: Sequence[str], **_: Any) -> torch.Tensor:
        return torch.from_numpy(self.encoder.encode(texts))


def _search(
    vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities and rows of the nearest vectors, exactly: (q, DEPTH + 1) each."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    found: tuple[NDArray[np.float32], NDArray[np.int64]] = index.search(
        queries, min(DEPTH + 1, len(vectors))
    )
    return found


def _intervals(
    scores: NDArray[Any],
    labels: NDArray[np.bool_],
    of: NDArray[np.int64],
    figure: Callable[..., Figures],
) -> Figures:
    """The 2.5th and 97.5th percentile of each figure over sets of components drawn with replacement."""
    members = np.split(np.argsort(of, kind="stable"), np.flatnonzero(np.diff(np.sort(of))) + 1)
    chances = np.random.default_rng(0)
    drawn: list[Figures] = []
    while len(drawn) < RESAMPLES:
        rows = np.concatenate([members[i] for i in chances.integers(0, len(members), len(members))])
        if 0 < np.count_nonzero(labels[rows]) < len(rows):
            drawn.append(_flat(figure(scores[rows], labels[rows])))
        elif len(members) < 3:
            return {}
    return {
        name: np.percentile([figures[name] for figures in drawn], INTERVAL).tolist()
        for name in drawn[0]
    }


def _flat(figures: Figures, prefix: str = "") -> Figures:
    """Nested figures under names with dots."""
    flat: Figures = {}
    for name, value in figures.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat
