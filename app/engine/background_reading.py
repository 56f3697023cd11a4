"""Pairs in, a release's answers out. Its models work in the background: requests go first."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.engine.live_release import LiveRelease
from app.engine.scorer import similarity
from app.engine.served_models import logits_of
from app.engine.text import TextPair
from app.engine.verdicts import unread
from app.errors import ModelFailing

CHUNK = 16  # pairs or texts that wait for a model at once: other background work gets its turn


async def read_open(
    release: LiveRelease, pairs: Sequence[TextPair], near: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The pair classifier's logits (n,) of n pairs with these similarities (n,).

    NaN where there is no classifier, or the pair is not near enough for it. Raises ModelFailing.
    """
    logits = unread(len(pairs))
    if not release.models.classifier:
        return logits
    is_open = np.flatnonzero(release.scorer.is_open(near))
    for start in range(0, len(is_open), CHUNK):
        chunk = is_open[start : start + CHUNK]
        texts = [pairs[i] for i in chunk]
        tokens = await asyncio.to_thread(release.models.classifier.tokenize, texts)
        outcomes = await asyncio.wrap_future(release.models.read_pairs(tokens, background=True))
        logits[chunk] = logits_of(outcomes)
    return logits


async def embed(release: LiveRelease, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The unit vector (d,) of each text that has one. Raises ModelFailing."""
    vectors: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        tokens = await asyncio.to_thread(release.models.encoder.tokenize, chunk)
        outcomes = await asyncio.wrap_future(release.models.embed(tokens, background=True))
        for text, outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, ModelFailing):
                raise outcome
            if not isinstance(outcome, Exception):
                vectors[text] = outcome
    return vectors


async def probabilities(release: LiveRelease, pairs: Sequence[TextPair]) -> dict[TextPair, float]:
    """P(duplicate) of each pair of texts, of those that can be embedded. Raises ModelFailing."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    vectors = await embed(release, texts)
    there = [pair for pair in pairs if pair[0] in vectors and pair[1] in vectors]
    if not there:
        return {}
    first = np.stack([vectors[one] for one, _ in there])
    second = np.stack([vectors[other] for _, other in there])
    near = similarity(first, second)
    logits = await read_open(release, there, near)
    scored = release.scorer.probabilities(near, logits)
    return dict(zip(there, scored.tolist(), strict=True))
