"""Labelled pairs in; out come triplets, with questions that are near and ask something else, and near pairs that nobody
labelled."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.text import digest, pair_digest
from training.pairs import LabelledPair
from training.splits import components

NEIGHBOURS = 50  # of each question that are looked at
MARGIN = 0.05  # by which a negative must be farther from the anchor than its duplicate: nearer ones may be duplicates
MAX_SIMILARITY = 0.95
NEAR = 6  # of each question that are looked at, itself among them, for pairs to judge


def mine_triplets(
    pairs: Sequence[LabelledPair], encoder: Path, count: int, device: str
) -> list[tuple[str, str, str]]:
    """(anchor, duplicate, negative) for up to `count` negatives of each duplicate: labelled ones first, then the
    nearest of all questions.

    Guarded against duplicates that nobody labelled: a negative is no question that duplicates tie to the
    anchor over any chain, none that is nearly as near as the duplicate itself, and none that is nearly equal.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.question1, pair.question2)))
    row = {text: i for i, text in enumerate(texts)}
    tied = _tied(pairs, texts)
    labelled: dict[str, list[str]] = {}
    for pair in pairs:
        if not pair.is_duplicate and tied[row[pair.question1]] != tied[row[pair.question2]]:
            labelled.setdefault(pair.question1, []).append(pair.question2)
            labelled.setdefault(pair.question2, []).append(pair.question1)
    vectors = Encoder.open(encoder, device).encode(texts)
    duplicates = [pair for pair in pairs if pair.is_duplicate]
    anchors = np.array([row[pair.question1] for pair in duplicates])
    near, nearest = _index(vectors).search(vectors[anchors], min(NEIGHBOURS, len(texts)))
    found = []
    for pair, anchor, similarities, neighbours in zip(
        duplicates, anchors, near, nearest, strict=True
    ):
        limit = min(MAX_SIMILARITY, float(vectors[anchor] @ vectors[row[pair.question2]]) - MARGIN)
        mined = [
            texts[i]
            for i, similarity in zip(neighbours, similarities, strict=True)
            if i >= 0 and similarity < limit and tied[i] != tied[anchor]
        ]
        negatives = list(dict.fromkeys([*labelled.get(pair.question1, []), *mined]))[:count]
        found += [(pair.question1, pair.question2, negative) for negative in negatives]
    return found


def mine_pairs(
    pairs: Sequence[LabelledPair], texts: Sequence[str], vectors: NDArray[np.float32], count: int
) -> list[LabelledPair]:
    """Up to `count` near pairs of n texts, with their vectors (n, d), that no label names, for a teacher to judge: of
    each text the nearest other first, then the next. Their `is_duplicate` says nothing."""
    _, nearest = _index(vectors).search(vectors, min(NEAR, len(texts)))
    known = {pair_digest(pair.question1, pair.question2) for pair in pairs}
    known |= {digest(text) * 2 for text in texts}  # of a text with itself
    found: list[LabelledPair] = []
    for i, j in ((i, j) for column in nearest.T.tolist() for i, j in enumerate(column)):
        if (
            len(found) < count
            and j >= 0
            and (named := pair_digest(texts[i], texts[j])) not in known
        ):
            known.add(named)
            found.append(LabelledPair(texts[i], texts[j], is_duplicate=False))
    return found


def _index(vectors: NDArray[np.float32]) -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    return index


def _tied(pairs: Sequence[LabelledPair], texts: Sequence[str]) -> list[int]:
    """For each text the number of the set that duplicates close it into; a set of its own where none does."""
    duplicates = [pair for pair in pairs if pair.is_duplicate]
    numbers = {
        digest(text): int(number)
        for number, pair in zip(components(duplicates), duplicates, strict=True)
        for text in (pair.question1, pair.question2)
    }
    return [numbers.setdefault(digest(text), -1 - i) for i, text in enumerate(texts)]
