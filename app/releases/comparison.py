"""The live release beside its shadow: over the stored questions' own nearest pairs, which verdicts would change.

Each of a sample of questions makes pairs with the few that are nearest to it by either release. Both releases judge
every pair as `/duplicates` would, their models working in the background. A label overrules both.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.background_reading import read_open
from app.engine.live_release import LiveRelease
from app.engine.scorer import Verdict
from app.engine.store import Question, Store
from app.engine.stored_pairs import NEAR, StoredPair, neighbours, read_pairs, sample, similarities
from app.engine.verdicts import Judge, Judgement

SEED = 0


@dataclass(frozen=True)
class Judged:
    """A stored pair: its judgements by the live release and by the shadow."""

    pair: StoredPair
    live: Judgement
    shadow: Judgement

    @property
    def questions(self) -> tuple[Question, Question]:
        """The two, the older first."""
        return self.pair.first, self.pair.second

    @property
    def change(self) -> float:
        """By how much the probability would change."""
        return abs(self.live.probability - self.shadow.probability)


@dataclass(frozen=True)
class Diff:
    """What would change in a collection. `sampled` of its questions make `pairs` pairs; `labelled` of these follow
    people's word whatever the release. `verdicts` counts the others by the live verdict and the shadow's; `changed`
    are those that differ, the greatest change of probability first."""

    sampled: int
    pairs: int
    labelled: int
    verdicts: Counter[tuple[Verdict, Verdict]]
    changed: list[Judged]


async def compare(
    store: Store, live: LiveRelease, shadow: LiveRelease, collection_key: int, size: int
) -> Diff:
    """Judge the near pairs of `size` questions by both releases. Raises NotReady, ModelFailing."""
    questions = await asyncio.to_thread(sample, live.index(collection_key), size, SEED)
    pairs = await _near_pairs(store, (live, shadow), collection_key, questions)
    by_live = await _judge(live, collection_key, pairs)
    by_shadow = await _judge(shadow, collection_key, pairs)
    both = by_live.keys() & by_shadow.keys()
    indexed = [pair for pair in pairs if pair.revisions in both]
    judged = [Judged(pair, by_live[pair.revisions], by_shadow[pair.revisions]) for pair in indexed]
    unlabelled = [one for one in judged if not one.pair.ruling]
    changed = [one for one in unlabelled if one.live.verdict != one.shadow.verdict]
    return Diff(
        sampled=len(questions),
        pairs=len(judged),
        labelled=len(judged) - len(unlabelled),
        verdicts=Counter((one.live.verdict, one.shadow.verdict) for one in unlabelled),
        changed=sorted(changed, key=lambda one: -one.change),
    )


async def _near_pairs(
    store: Store, releases: Sequence[LiveRelease], collection_key: int, questions: Sequence[int]
) -> list[StoredPair]:
    """The pairs that these questions make with those near to them by any of the releases."""
    near: set[tuple[int, int]] = set()
    for release in releases:
        index = release.index(collection_key)
        near |= await asyncio.to_thread(neighbours, index, questions, NEAR)
    return await asyncio.to_thread(read_pairs, store, collection_key, near)


async def _judge(
    release: LiveRelease, collection_key: int, pairs: Sequence[StoredPair]
) -> dict[tuple[int, int], Judgement]:
    """By their revisions, the judgements of the pairs of which both questions are indexed."""
    index = release.index(collection_key)
    near = await asyncio.to_thread(similarities, index, [pair.revisions for pair in pairs])
    is_indexed = ~np.isnan(near)
    indexed = [pairs[place] for place in np.flatnonzero(is_indexed).tolist()]
    texts = [(pair.first.text, pair.second.text) for pair in indexed]
    logits = await read_open(release, texts, near[is_indexed])
    judge = Judge(release.scorer, release.reader, release.thresholds(collection_key))
    judgements = judge.judge([pair.pair for pair in indexed], near[is_indexed], logits)
    revisions = [pair.revisions for pair in indexed]
    return dict(zip(revisions, judgements, strict=True))
