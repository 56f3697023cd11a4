"""The live release beside its shadow: over the stored questions' own nearest pairs, which verdicts would change.

Each of a sample of questions makes pairs with the few that are nearest to it by either release. Both releases judge
every pair as `/duplicates` would, their models working in the background. A label overrules both.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.detector import Score, scores_of
from app.engine.live_release import NEAR, LiveRelease
from app.engine.scorer import Verdict
from app.engine.store import Question, Store
from app.engine.text import digest
from app.errors import ModelFailing, SameaskError

SEED = 0
CHUNK = 16  # pairs that wait for a model at once: what else is in the background gets its turn

Pair = tuple[Question, Question]


@dataclass(frozen=True)
class Judged:
    """A stored pair: its scores by the live release and by the shadow."""

    questions: Pair
    live: Score
    shadow: Score


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
    sample = await asyncio.to_thread(live.sample, collection_key, size, SEED)
    near = [
        await asyncio.to_thread(r.neighbours, collection_key, sample, NEAR) for r in (live, shadow)
    ]
    pairs = await asyncio.to_thread(_read_pairs, store, collection_key, sorted(near[0] | near[1]))
    labels = await asyncio.to_thread(
        store.labels.of, collection_key, [(a.text, b.text) for a, b in pairs]
    )
    judged = [await _judge(release, collection_key, pairs) for release in (live, shadow)]
    both = [Judged(pair, a, b) for pair, a, b in zip(pairs, *judged, strict=True) if a and b]
    unlabelled = [
        one for one in both if (one.questions[0].text, one.questions[1].text) not in labels
    ]
    changed = [one for one in unlabelled if one.live.verdict != one.shadow.verdict]
    return Diff(
        sampled=len(sample),
        pairs=len(both),
        labelled=len(both) - len(unlabelled),
        verdicts=Counter((one.live.verdict, one.shadow.verdict) for one in unlabelled),
        changed=sorted(
            changed, key=lambda one: -abs(one.live.probability - one.shadow.probability)
        ),
    )


def _read_pairs(store: Store, collection_key: int, pairs: Sequence[tuple[int, int]]) -> list[Pair]:
    """The questions of each pair of revisions; without those that are gone, or the same words."""
    stored = store.questions.read(
        collection_key, sorted({revision for pair in pairs for revision in pair})
    )
    found = [
        (stored[one], stored[other]) for one, other in pairs if one in stored and other in stored
    ]
    return [(one, other) for one, other in found if digest(one.text) != digest(other.text)]


async def _judge(
    release: LiveRelease, collection_key: int, pairs: Sequence[Pair]
) -> list[Score | None]:
    """The score of each pair; None where a question is not indexed."""
    revisions = [(one.revision, other.revision) for one, other in pairs]
    similarities = await asyncio.to_thread(release.similarities, collection_key, revisions)
    logits = await _logits(release, pairs, similarities)
    scores = scores_of(release, similarities, logits)
    return [
        None if np.isnan(near) else score for near, score in zip(similarities, scores, strict=True)
    ]


async def _logits(
    release: LiveRelease, pairs: Sequence[Pair], similarities: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The pair classifier's logits (n,), NaN where there is none or the pair is not near enough for it."""
    logits = np.full(len(pairs), np.nan, dtype=np.float32)
    if not release.classifier:
        return logits
    read = np.flatnonzero(release.scorer.is_open(similarities))
    for start in range(0, len(read), CHUNK):
        chunk = read[start : start + CHUNK]
        texts = [(pairs[i][0].text, pairs[i][1].text) for i in chunk]
        tokens = await asyncio.to_thread(release.classifier.tokenize, texts)
        outcomes = await asyncio.wrap_future(release.read_pairs(tokens, background=True))
        for i, outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, Exception):
                raise outcome if isinstance(outcome, SameaskError) else ModelFailing(str(outcome))
            logits[i] = outcome
    return logits
