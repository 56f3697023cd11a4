"""Pairs of stored questions that lie close together, as an index shows them.

Each question of a sample makes a pair with the few that are nearest to it. Releases are compared over such pairs, and
a training takes those that nobody has labelled. A question is known by its revision.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.index.collection_index import CollectionIndex
from app.engine.index.faiss_index import one_thread
from app.engine.rulings import Ruling, ruling
from app.engine.scorer import similarity
from app.engine.store import Question, Store
from app.engine.verdicts import Pair

NEAR = 5  # others that a question makes pairs with
NEAR_SAMPLE = 2000  # questions of a collection whose near pairs are looked for
SEARCH_CHUNK = 64

Revisions = tuple[int, int]  # of a pair, the lesser first


@dataclass(frozen=True)
class StoredPair:
    """Two stored questions of different words, the older first, and what people said of them."""

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
    own = list(index.vectors(questions).items())
    pairs: set[Revisions] = set()
    with one_thread():
        for start in range(0, len(own), SEARCH_CHUNK):
            chunk = own[start : start + SEARCH_CHUNK]
            queries = np.stack([vector for _, vector in chunk])
            _, found = index.search(queries, count + 1)
            for (question, _), hits in zip(chunk, found, strict=True):
                others = [hit.revision for hit in hits if hit.revision != question]
                pairs.update(_ordered(question, other) for other in others[:count])
    return pairs


def similarities(index: CollectionIndex, pairs: Sequence[Revisions]) -> NDArray[np.float32]:
    """Of each pair: (n,) float32, NaN where one of the two is not indexed."""
    vectors = index.vectors([revision for pair in pairs for revision in pair])
    near = np.full(len(pairs), np.nan, dtype=np.float32)
    known = [i for i, pair in enumerate(pairs) if pair[0] in vectors and pair[1] in vectors]
    if known:
        firsts = np.stack([vectors[pairs[i][0]] for i in known])
        seconds = np.stack([vectors[pairs[i][1]] for i in known])
        near[known] = similarity(firsts, seconds)
    return near


def read_pairs(store: Store, collection_key: int, pairs: Iterable[Revisions]) -> list[StoredPair]:
    """The questions of each pair and its labels; without pairs of which one is gone, or that are the same words."""
    wanted = sorted(pairs)
    stored = store.read(collection_key, sorted({revision for pair in wanted for revision in pair}))
    there = [(stored[a], stored[b]) for a, b in wanted if a in stored and b in stored]
    different = [(a, b) for a, b in there if a.digest != b.digest]
    labels = store.labels.of(collection_key, [(a.text, b.text) for a, b in different])
    found = []
    for first, second in different:
        of_pair = labels.get((first.text, second.text))
        found.append(StoredPair(first, second, ruling(of_pair) if of_pair else None))
    return found


def unlabelled_pairs(
    store: Store, collection_key: int, index: CollectionIndex, limit: int
) -> list[StoredPair]:
    """The nearest pairs that nobody has labelled, most similar first, at most `limit`.

    Of a large collection, those that a sample of its questions makes.
    """
    near = neighbours(index, sample(index, NEAR_SAMPLE), NEAR)
    unlabelled = [pair for pair in read_pairs(store, collection_key, near) if not pair.ruling]
    found = similarities(index, [pair.revisions for pair in unlabelled])
    order = np.argsort(-found, kind="stable")
    return [unlabelled[i] for i in order[:limit]]


def _ordered(one: int, other: int) -> Revisions:
    return min(one, other), max(one, other)
