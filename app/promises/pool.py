"""The near pairs of a collection with what a release says of them: what is drawn from, and what a promise is about.

Questions are taken in an order that was drawn by lot; each makes pairs with the few that are nearest to it. So the
pairs known by now are a fair sample of all, however far the pool has come.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.background_reading import embed, read_open
from app.engine.collection_thresholds import stratum_of
from app.engine.live_release import LiveRelease
from app.engine.store import Question, Store
from app.engine.stored_pairs import NEAR, neighbours, read_pairs, similarities
from app.engine.text import Words, digest, pair_digest

AT_ONCE = 32  # questions whose pairs are looked for at a time
GROWTH = 1000  # questions that the pool takes in at first, and whenever hardly any good pair is left in it
MOST_PAIRS = 20_000
SEED = 24


@dataclass(frozen=True)
class NearPair:
    """Two texts near each other, the second a stored question; the first one too, or a text that was asked."""

    ids: tuple[str | None, str]
    texts: tuple[str, str]
    similarity: float
    logit: float  # NaN where the pair classifier has not read it
    probability: float
    digest: bytes

    def read(self, logit: float, probability: float) -> "NearPair":
        """The same with what a release says of it."""
        return NearPair(self.ids, self.texts, self.similarity, logit, probability, self.digest)

    @property
    def questions(self) -> list[str]:
        """The ids of those that are stored."""
        return [id_ for id_ in self.ids if id_ is not None]


class Pool:
    """Near pairs of one collection, by one release. Of one event loop."""

    def __init__(
        self,
        store: Store,
        release: LiveRelease,
        collection_key: int,
        before: "Pool | None" = None,
    ) -> None:
        """`before` is the pool whose place it takes: pairs that it knows are not read again."""
        self._store = store
        self._release = release
        self._key = collection_key
        self._pairs: dict[bytes, NearPair] = {}
        self._read_before = before._pairs if before else {}
        self._order: list[int] = []
        self._done = 0
        self._wanted = 0
        self._indexed = 0  # questions that were indexed when the order was drawn
        self._asked: list[str] = []
        self._times_forgotten = 0

    @property
    def pairs(self) -> list[NearPair]:
        """All that are known by now."""
        return list(self._pairs.values())

    @property
    def size(self) -> int:
        """How many are known by now."""
        return len(self._pairs)

    @property
    def to_read(self) -> int:
        """How many questions' pairs have yet to be looked for."""
        stored = min(self._wanted, len(self._order)) - self._done
        return max(0, stored) + len(self._asked)

    @property
    def is_outdated(self) -> bool:
        """Whether so much has changed that another pool should take its place."""
        size = self._release.state(self._key).size
        return abs(size - self._indexed) * 10 > self._indexed

    def probabilities(self) -> NDArray[np.float64]:
        """P(duplicate) (m,) of all pairs."""
        return np.array([pair.probability for pair in self._pairs.values()], dtype=np.float64)

    def get(self, pair: bytes) -> NearPair | None:
        """The pair of this digest."""
        return self._pairs.get(pair)

    def remove(self, pair: bytes) -> None:
        """Let go of a pair of which a question is gone."""
        self._pairs.pop(pair, None)

    def forget_asked(self) -> None:
        """Let go of all pairs with a text that nobody stored."""
        self._asked = []
        self._times_forgotten += 1
        self._drop_asked()

    def _drop_asked(self) -> None:
        for pairs in (self._pairs, self._read_before):
            for gone in [pair.digest for pair in pairs.values() if None in pair.ids]:
                del pairs[gone]

    def begin(self, asked: Sequence[str] = ()) -> None:
        """Draw the order of the questions. `asked` are texts that were asked lately. Raises NotReady."""
        ids = self._release.index(self._key).ids()
        lots = np.random.default_rng([SEED, self._key])
        self._order = lots.permutation(ids).tolist()
        self._indexed = len(ids)
        self._asked = list(asked)
        self.grow()

    def grow(self) -> bool:
        """Let it take in more questions; whether there are any."""
        if self._wanted >= len(self._order) or len(self._pairs) >= MOST_PAIRS:
            return False
        self._wanted += GROWTH
        return True

    async def advance(self) -> bool:
        """Take in a few more questions; whether there were any. Raises NotReady, ModelFailing."""
        if self._done < min(self._wanted, len(self._order)):
            some = self._order[self._done : self._done + AT_ONCE]
            await self._take_stored(some)
            self._done += len(some)
            return True
        if self._asked:
            some_asked = self._asked[:AT_ONCE]
            times_forgotten = self._times_forgotten
            await self._take_asked(some_asked)
            self._asked = self._asked[AT_ONCE:]
            if self._times_forgotten != times_forgotten:
                self._drop_asked()
            return True
        return False

    async def _take_stored(self, questions: Sequence[int]) -> None:
        index = self._release.index(self._key)
        near = await asyncio.to_thread(neighbours, index, questions, NEAR)
        stored = await asyncio.to_thread(read_pairs, self._store, self._key, near)
        new = [pair for pair in stored if pair_digest(pair.first, pair.second) not in self._pairs]
        revisions = [pair.revisions for pair in new]
        likeness = await asyncio.to_thread(similarities, index, revisions)
        there = np.flatnonzero(~np.isnan(likeness)).tolist()
        couples = []
        for place in there:
            first = new[place].first
            couples.append(((first.id, first.text), new[place].second))
        await self._keep(couples, likeness[there])

    async def _take_asked(self, texts: Sequence[str]) -> None:
        vectors = await embed(self._release, texts)
        if not vectors:
            return
        index = self._release.index(self._key)
        queries = np.stack(list(vectors.values()))
        _, found = await asyncio.to_thread(index.search, queries, NEAR)
        revisions = [hit.revision for hits in found for hit in hits]
        stored = await asyncio.to_thread(self._store.questions.read, self._key, revisions)
        couples: list[tuple[tuple[str | None, str], Question]] = []
        likeness: list[float] = []
        for text, hits in zip(vectors, found, strict=True):
            for hit in hits:
                question = stored.get(hit.revision)
                if question and question.digest != digest(text):
                    couples.append(((None, text), question))
                    likeness.append(hit.similarity)
        await self._keep(couples, np.array(likeness, dtype=np.float32))

    async def _keep(
        self,
        couples: Sequence[tuple[tuple[str | None, str], Question]],
        likeness: NDArray[np.float32],
    ) -> None:
        """Add pairs of (id, text) and a stored question, with their similarities (n,)."""
        new: list[NearPair] = []
        for (first, second), near in zip(couples, likeness.tolist(), strict=True):
            pair = _pair(first, second, near)
            known = self._read_before.get(pair.digest)
            if known and known.ids == pair.ids:
                self._pairs.setdefault(pair.digest, known)
            elif pair.digest not in self._pairs:
                new.append(pair)
        await self._read(new)

    async def _read(self, pairs: Sequence[NearPair]) -> None:
        """Let the release read pairs, and keep them."""
        near = np.array([pair.similarity for pair in pairs], dtype=np.float32)
        logits = await read_open(self._release, [pair.texts for pair in pairs], near)
        scored = self._release.scorer.probabilities(near, logits)
        for pair, logit, probability in zip(pairs, logits, scored, strict=True):
            self._pairs.setdefault(pair.digest, pair.read(float(logit), float(probability)))


def _pair(first: tuple[str | None, str], second: Question, near: float) -> NearPair:
    """A pair that nobody has read."""
    texts = first[1], second.text
    return NearPair(
        ids=(first[0], second.id),
        texts=texts,
        similarity=near,
        logit=float("nan"),
        probability=0.0,
        digest=pair_digest(Words.of(first[1]), second),
    )


def strata(pairs: Sequence[NearPair]) -> NDArray[np.int64]:
    """The stratum (n,) of each pair."""
    return stratum_of(np.array([pair.probability for pair in pairs], dtype=np.float64))
