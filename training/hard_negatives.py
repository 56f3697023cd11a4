"""Labelled pairs in; out come triplets with near questions that ask something else, and unlabelled near pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, starmap
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.text import folded_digest, folded_pair_digest
from training.pairs import LabelledPair, both_texts, duplicates_of, rows_of, texts_of
from training.splits import components

NEIGHBOURS = 50  # of each question that are looked at
MARGIN = 0.05  # by which a negative must be farther from the anchor than its duplicate: nearer ones may be duplicates
MAX_SIMILARITY = 0.95
NEAR = 6  # of each question that are looked at, itself among them, for pairs to judge

Triplet = tuple[str, str, str]  # anchor, duplicate, negative


@dataclass(frozen=True)
class _Questions:
    """n texts, their rows, their vectors (n, d), and the component of duplicates of each."""

    texts: Sequence[str]
    row: dict[str, int]
    vectors: NDArray[np.float32]
    component: Sequence[int]

    def are_tied(self, one: str, other: str) -> bool:
        """Whether a chain of duplicates ties them."""
        first = self.component[self.row[one]]
        second = self.component[self.row[other]]
        return first == second

    def similarity(self, one: str, other: str) -> float:
        first = self.vectors[self.row[one]]
        second = self.vectors[self.row[other]]
        return float(first @ second)


def mine_triplets(
    pairs: Sequence[LabelledPair],
    encoder: Path,
    count: int,
    device: str,
) -> list[Triplet]:
    """(anchor, duplicate, negative) for up to `count` negatives of each duplicate: labelled ones first, then near ones.

    Three rules keep out duplicates that nobody labelled. No chain of duplicates ties a negative to its anchor. A near
    one is less near to the anchor than the duplicate is, by a margin. And it is not nearly equal to it.
    """
    texts = texts_of(pairs)
    row = rows_of(texts)
    vectors = Encoder.open(encoder, device).encode(texts)
    questions = _Questions(texts, row, vectors, _components_of(texts, pairs))
    labelled = _labelled_negatives(pairs, questions)
    duplicates = duplicates_of(pairs)
    anchors = [row[pair.question1] for pair in duplicates]
    looked_at = min(NEIGHBOURS, len(texts))
    near, nearest = _index(vectors).search(vectors[anchors], looked_at)
    triplets: list[Triplet] = []
    for pair, similarities, rows in zip(duplicates, near, nearest, strict=True):
        negatives = dict.fromkeys(labelled.get(pair.question1, []))
        negatives |= dict.fromkeys(_mined(pair, rows, similarities, questions))
        triplets += [(*pair.texts, negative) for negative in islice(negatives, count)]
    return triplets


def _labelled_negatives(
    pairs: Sequence[LabelledPair], questions: _Questions
) -> dict[str, list[str]]:
    """For each question, those that are labelled different from it and that no chain of duplicates ties to it."""
    negatives: dict[str, list[str]] = {}
    for pair in pairs:
        if not pair.is_duplicate and not questions.are_tied(*pair.texts):
            negatives.setdefault(pair.question1, []).append(pair.question2)
            negatives.setdefault(pair.question2, []).append(pair.question1)
    return negatives


def _mined(
    pair: LabelledPair,
    rows: Sequence[int],
    similarities: NDArray[np.float32],
    questions: _Questions,
) -> Iterator[str]:
    """Negatives among the nearest questions of a duplicate's first one, the nearest first."""
    limit = min(MAX_SIMILARITY, questions.similarity(*pair.texts) - MARGIN)
    for row, similarity in zip(rows, similarities, strict=True):
        if row >= 0 and similarity < limit:
            text = questions.texts[row]
            if not questions.are_tied(text, pair.question1):
                yield text


def mine_pairs(
    pairs: Sequence[LabelledPair],
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    count: int,
) -> list[LabelledPair]:
    """Up to `count` near pairs of n texts, with vectors (n, d), that no label names, for a teacher to judge.

    Of each text the nearest other comes first, then the next. Their `is_duplicate` says nothing.
    """
    _, nearest = _index(vectors).search(vectors, min(NEAR, len(texts)))
    own = zip(texts, texts, strict=True)
    known = set(starmap(folded_pair_digest, [*both_texts(pairs), *own]))
    mined: list[LabelledPair] = []
    for column in nearest.T.tolist():
        for row, other in enumerate(column):
            if other < 0 or len(mined) == count:
                continue
            named = folded_pair_digest(texts[row], texts[other])
            if named not in known:
                known.add(named)
                mined.append(LabelledPair(texts[row], texts[other], is_duplicate=False))
    return mined


def _index(vectors: NDArray[np.float32]) -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    return index


def _components_of(texts: Sequence[str], pairs: Sequence[LabelledPair]) -> list[int]:
    """For each text, its component of duplicates; one of its own where it has none."""
    duplicates = duplicates_of(pairs)
    numbers: dict[bytes, int] = {}
    for number, pair in zip(components(duplicates).tolist(), duplicates, strict=True):
        for text in pair.texts:
            numbers[folded_digest(text)] = number
    component = []
    for row, text in enumerate(texts):
        own = -1 - row
        component.append(numbers.setdefault(folded_digest(text), own))
    return component
