"""The answers to offers of one collection, with the probabilities of their pairs by one release."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.background_reading import probabilities
from app.engine.collection_thresholds import Drawn, top_of, weights_of
from app.engine.live_release import LiveRelease
from app.engine.store import Answered, Store
from app.promises.pool import Pool

PEOPLE = 20  # that a report names at most
SCORED_AT_ONCE = 64  # pairs


@dataclass(frozen=True)
class LabelCounts:
    """How many labels count, and how many don't and why; who gave most of those that do."""

    counted: int
    duplicates: int
    skipped: int
    contradicted: int
    not_offered: int
    by: Sequence[tuple[str, int]]


class LabelledPairs:
    """What came of the offers of one collection, and what one release says of their pairs. Of one event loop."""

    def __init__(
        self, store: Store, release: LiveRelease, collection_key: int, pool: Pool, since: str = ""
    ) -> None:
        """Labels that were given at `since` or before don't count: the release has learnt from them."""
        self._store = store
        self._release = release
        self._key = collection_key
        self._pool = pool
        self._since = since
        self._answers: dict[bytes, Answered] = {}
        self._scores: dict[bytes, float] = {}

    def use(self, pool: Pool) -> None:
        """Look for words of pairs in another pool from now on."""
        self._pool = pool

    def load(self) -> None:
        """Read all answers, and the scores that this release gave before."""
        with self._store.view():
            self._answers = self._store.offers.answered(self._key)
            self._scores = self._store.derived.scores(self._key, self._release.release.digest)

    def renew(self, pairs: Sequence[bytes]) -> None:
        """Read anew what came of these pairs. Who looks meanwhile sees what was known, or all that is new."""
        asked = set(pairs)
        renewed = self._store.offers.answered(self._key, pairs)
        others = {pair: said for pair, said in self._answers.items() if pair not in asked}
        self._answers = others | renewed

    def is_answered(self, pair: bytes) -> bool:
        """Whether the pair was offered, and labelled or skipped."""
        return pair in self._answers

    def note(self, scores: Mapping[bytes, float]) -> None:
        """Keep what this release says of pairs that are offered."""
        self._store.derived.note_scores(self._key, self._release.release.digest, scores)
        self._scores.update(scores)

    async def score(self) -> None:
        """Let the release read the pairs that it has not scored, where their words are still known.

        Raises ModelFailing.
        """
        missing = [pair for pair in self._answers if pair not in self._scores]
        known = {}
        for pair in missing:
            near = self._pool.get(pair)
            if near:
                known[pair] = near.probability
        texts = await asyncio.to_thread(self._store.offers.texts, self._key, missing)
        unread = [(pair, both) for pair, both in texts.items() if pair not in known]
        for start in range(0, len(unread), SCORED_AT_ONCE):
            some = unread[start : start + SCORED_AT_ONCE]
            read = await probabilities(self._release, [both for _, both in some])
            known.update({pair: read[both] for pair, both in some if both in read})
        if known:
            await asyncio.to_thread(self.note, known)

    def drawn(self) -> Drawn:
        """Those that count: labelled without contradiction, or skipped, which counts as no duplicate.

        Of a pair that was skipped the words are not kept. Where this release never read it, it has the most that the
        one said which offered it: else the hardest pairs would count for nothing by a new release.
        """
        there: list[tuple[Answered, float]] = []
        for pair, answer in self._answers.items():
            score = self._scores.get(pair)
            if score is None and answer.is_duplicate is None:
                score = top_of(int(answer.offer.stratum.rpartition(":")[2]))
            if score is not None and self._counts(answer):
                there.append((answer, score))
        there.sort(key=lambda one: one[0].offer.id)  # as they were drawn, after a restart too
        strata = [answer.offer.stratum for answer, _ in there]
        sizes = [answer.offer.size for answer, _ in there]
        return Drawn(
            np.array([score for _, score in there], dtype=np.float64),
            np.array([bool(answer.is_duplicate) for answer, _ in there], dtype=np.bool_),
            weights_of(strata, sizes),
        )

    def counts(self, labels_in_all: int) -> LabelCounts:
        """How many count, of so many labelled pairs of the collection."""
        answers = list(self._answers.values())
        labelled = [one for one in answers if one.is_duplicate is not None and self._counts(one)]
        contradicted = sum(one.contradicted for one in answers)
        people = Counter(one.by for one in labelled)
        said = sum(one.is_duplicate is not None or one.contradicted for one in answers)
        return LabelCounts(
            counted=len(labelled),
            duplicates=sum(bool(one.is_duplicate) for one in labelled),
            skipped=sum(one.is_duplicate is None and not one.contradicted for one in answers),
            contradicted=contradicted,
            not_offered=max(0, labels_in_all - said),
            by=people.most_common(PEOPLE),
        )

    def _counts(self, answer: Answered) -> bool:
        return not answer.contradicted and answer.at > self._since
