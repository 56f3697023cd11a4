"""An encoder and labelled pairs in; out comes how well it finds duplicates, in a corpus and among all pairs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformerModelCardData
from sentence_transformers.sentence_transformer.evaluation import (
    InformationRetrievalEvaluator,
    ParaphraseMiningEvaluator,
)

from app.engine.models.encoder import Encoder
from app.engine.text import folded
from training.figures import Figures
from training.pairs import (
    LabelledPair,
    both_texts,
    duplicates_of,
    rows_of,
    texts_of,
)

DEPTH = 100  # answers of a search that are looked at
TOP = 10


def retrieval(
    encoder: Encoder,
    pairs: Sequence[LabelledPair],
    corpus: Sequence[str],
) -> Figures:
    """How well duplicates are found: every question of a labelled duplicate is asked of corpus and pairs together.

    It is kept out of its own answers. Relevant is what is labelled its duplicate, and nothing else.
    """
    relevant = _duplicates_of(pairs)
    queries = list(relevant)
    texts = list(dict.fromkeys([*corpus, *texts_of(pairs)]))
    vectors = encoder.encode(texts)
    row = rows_of(texts)
    queried = vectors[[row[query] for query in queries]]
    similarities, nearest = _search(vectors, queried)
    answers: list[Any] = []
    for query, rows, scores in zip(queries, nearest.tolist(), similarities, strict=True):
        answers.append(list(_answers(query, texts, rows, scores))[:DEPTH])
    measured = _evaluator(relevant, texts).compute_metrics(answers)
    return {
        "queries": len(queries),
        "corpus": len(texts),
        "ndcg@10": float(measured["ndcg@k"][TOP]),
        "mrr@10": float(measured["mrr@k"][TOP]),
        f"map@{DEPTH}": float(measured["map@k"][DEPTH]),
        "recall@10": float(measured["recall@k"][TOP]),
    }


def mining(encoder: Encoder, pairs: Sequence[LabelledPair]) -> Figures:
    """How well the labelled duplicates stand out among all pairs of the questions: average precision and best F1.

    A pair without a label counts as different, so that the figures are lower bounds.
    """
    evaluator = ParaphraseMiningEvaluator(
        {text: text for text in texts_of(pairs)},
        both_texts(duplicates_of(pairs)),
        write_csv=False,
    )
    measured = evaluator(_Serving(encoder))  # type: ignore[arg-type]
    return {
        "average_precision": float(measured["average_precision"]),
        "best_f1": float(measured["f1"]),
    }


def _duplicates_of(
    pairs: Sequence[LabelledPair],
) -> dict[str, set[str]]:
    relevant: dict[str, set[str]] = {}
    for pair in duplicates_of(pairs):
        relevant.setdefault(pair.question1, set()).add(pair.question2)
        relevant.setdefault(pair.question2, set()).add(pair.question1)
    return relevant


def _answers(
    query: str,
    texts: Sequence[str],
    rows: Sequence[int],
    scores: NDArray[np.float32],
) -> Iterator[dict[str, object]]:
    """Answers to a query as sentence-transformers' evaluator takes them, without the query itself."""
    own = folded(query)
    for row, score in zip(rows, scores, strict=True):
        if folded(texts[row]) != own:
            yield {"corpus_id": texts[row], "score": float(score)}


def _evaluator(
    relevant: Mapping[str, set[str]], texts: Sequence[str]
) -> InformationRetrievalEvaluator:
    return InformationRetrievalEvaluator(
        dict(zip(relevant, relevant, strict=True)),
        dict(zip(texts, texts, strict=True)),
        dict(relevant),
        mrr_at_k=[TOP],
        ndcg_at_k=[TOP],
        accuracy_at_k=[TOP],
        precision_recall_at_k=[TOP],
        map_at_k=[DEPTH],
        write_csv=False,
    )


def _search(
    vectors: NDArray[np.float32], queries: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities and rows of the nearest vectors, exactly: (q, DEPTH + 1) each."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    count = min(DEPTH + 1, len(vectors))
    nearest: tuple[NDArray[np.float32], NDArray[np.int64]] = index.search(queries, count)
    return nearest


@dataclass(frozen=True)
class _Serving:
    """The encoder that serves, as sentence-transformers' evaluators call a model."""

    encoder: Encoder
    model_card_data: SentenceTransformerModelCardData = field(
        default_factory=SentenceTransformerModelCardData
    )

    def encode(self, texts: Sequence[str], **_: Any) -> torch.Tensor:
        return torch.from_numpy(self.encoder.encode(texts))
