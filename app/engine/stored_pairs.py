"""Pairs of stored questions that lie close together, as an index shows them.

Each question of a sample makes a pair with the few that are nearest to it. Releases are compared over such pairs, and
a training takes those that nobody has labelled. A question is known by its revision.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from app.engine.index.collection_index import CollectionIndex
from app.engine.index.faiss_index import one_thread
from app.engine.index.hit import Hit
from app.engine.rulings import Ruling, deciding_labels, rulings_of_pairs
from app.engine.scorer import similarity
from app.engine.store import Label, Question, Store
from app.engine.text import TextPair, Words
from app.engine.verdicts import Pair

NEAR = 5  # others that a question makes pairs with
NEAR_SAMPLE = 2000  # questions of a collection whose near pairs are looked for
SEARCH_CHUNK = 64

Revisions = tuple[int, int]  # of a pair, the lesser first


@dataclass(frozen=True)
class StoredPair:
    """Two stored questions of different words, the older first, and people's ruling on them."""

    first: Question
    second: Question
    ruling: Ruling | None

    @property
    def revisions(self) -> Revisions:
        """The questions' revisions."""
        return self.first.revision, self.second.revision

    @property
    def pair(self) -> Pair:
        """The pair, to be judged."""
        return Pair(self.first, self.second, self.ruling)


def sample(index: CollectionIndex, size: int, seed: int = 0) -> list[int]:
    """At most `size` indexed questions, the same for the same index and seed; ascending."""
    ids = index.ids()
    chosen = np.random.default_rng(seed).choice(ids, min(size, len(ids)), replace=False)
    return sorted(chosen.tolist())


def neighbours(index: CollectionIndex, questions: Sequence[int], count: int) -> set[Revisions]:
    """Each of these questions with the `count` indexed ones nearest to it."""
    vectors = index.vectors(questions)
    indexed = list(vectors)
    pairs: set[Revisions] = set()
    with one_thread():
        for start in range(0, len(indexed), SEARCH_CHUNK):
            chunk = indexed[start : start + SEARCH_CHUNK]
            queries = np.stack([vectors[question] for question in chunk])
            _, answers = index.search(queries, count + 1)
            for question, hits in zip(chunk, answers, strict=True):
                pairs.update(_pairs_with(question, hits, count))
    return pairs


def similarities(index: CollectionIndex, pairs: Sequence[Revisions]) -> NDArray[np.float32]:
    """Of each pair: (n,) float32, NaN where one of the two is not indexed."""
    near = np.full(len(pairs), np.nan, dtype=np.float32)
    vectors = index.vectors(list(chain(*pairs)))
    firsts = []
    seconds = []
    places = []
    for place, (first, second) in enumerate(pairs):
        if first in vectors and second in vectors:
            firsts.append(vectors[first])
            seconds.append(vectors[second])
            places.append(place)
    if places:
        near[places] = similarity(np.stack(firsts), np.stack(seconds))
    return near


def read_pairs(store: Store, collection_key: int, pairs: Collection[Revisions]) -> list[StoredPair]:
    """The questions of each pair and its labels; without pairs of which one is gone, or that are the same words."""
    stored = store.questions.read(collection_key, sorted(set(chain(*pairs))))
    there = []
    for revisions in sorted(pairs):
        first, second = map(stored.get, revisions)
        if first and second and first.digest != second.digest:
            there.append((first, second))
    ruled = rulings_of_pairs(there, store.labels.of(collection_key, there))
    rulings = [ruled.get((first.text, second.text)) for first, second in there]
    return [StoredPair(*both, ruling) for both, ruling in zip(there, rulings, strict=True)]


def unlabelled_pairs(
    store: Store, collection_key: int, index: CollectionIndex, limit: int
) -> list[StoredPair]:
    """The nearest pairs that nobody has labelled, most similar first, at most `limit`.

    Of a large collection, those that a sample of its questions makes.
    """
    near = neighbours(index, sample(index, NEAR_SAMPLE), NEAR)
    unlabelled = [pair for pair in read_pairs(store, collection_key, near) if not pair.ruling]
    likeness = similarities(index, [pair.revisions for pair in unlabelled])
    order = np.argsort(-likeness, kind="stable")
    return [unlabelled[place] for place in order[:limit]]


def _pairs_with(question: int, hits: Sequence[Hit], count: int) -> list[Revisions]:
    others = [hit.revision for hit in hits if hit.revision != question]
    return [(min(question, other), max(question, other)) for other in others[:count]]


def labels_on(
    store: Store, collection: str, pairs: Sequence[TextPair]
) -> dict[TextPair, list[Label]]:
    """For each pair of texts, the active labels that decide on it; none: absent. Raises CollectionNotFound."""
    worded = [(Words.of(one), Words.of(other)) for one, other in pairs]
    with store.view():
        key = store.collections.get(collection).key
        alike = store.labels.of(key, worded)
    deciding: dict[TextPair, list[Label]] = {}
    for one, other in worded:
        texts = one.text, other.text
        labels = deciding_labels(one, other, alike.get(texts, ()))
        if labels:
            deciding[texts] = labels
    return deciding
