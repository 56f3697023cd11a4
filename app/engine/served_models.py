"""The models of a release at work: tokens in, vectors and logits out, in batches that many requests share."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine.batching import Batcher
from app.engine.coroutines import Awaited
from app.engine.models.embedding_cache import RecentVectors
from app.engine.models.encoder import PROBE_TEXTS, Encoder
from app.engine.models.pair_classifier import PROBE_PAIR, PairClassifier
from app.engine.models.tokens import Tokens
from app.errors import ModelFailing, SameaskError

MAX_BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}

Outcomes = list[NDArray[np.float32] | Exception]


class TokenCount:
    """The number of tokens read of asked texts, and of those for characters that can't be read. Safe from many
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.tokens = self.unknown = 0

    def add(self, tokens: Sequence[Tokens]) -> None:
        """Count the tokens of some texts."""
        read = sum(of_text.count for of_text in tokens)
        unknown = sum(of_text.unknown for of_text in tokens)
        with self._lock:
            self.tokens += read
            self.unknown += unknown


class ServedModels:
    """The encoder and, if there is one, the pair classifier, each behind its batcher; ended by `close`."""

    def __init__(
        self,
        encoder: Encoder,
        classifier: PairClassifier | None,
        *,
        max_waiting_texts: int,
        max_waiting_pairs: int,
        max_batch_tokens: int | None,
        max_cached_embeddings: int,
    ) -> None:
        """`max_batch_tokens`: None: by the device."""
        self.encoder = encoder
        self.classifier = classifier
        self.asked = TokenCount()
        self.recent = RecentVectors(max_cached_embeddings)
        self.batcher = Batcher(
            lambda batch: list(encoder.encode_tokens(batch)),
            cost=_token_count,
            probe=encoder.tokenize(PROBE_TEXTS[:1])[0],
            max_waiting=max_waiting_texts,
            max_cost=max_batch_tokens or MAX_BATCH_TOKENS[encoder.device],
        )
        self.pair_batcher: Batcher[Tokens, np.float32] | None = None
        if classifier:
            self.pair_batcher = Batcher(
                lambda batch: list(classifier.score_tokens(batch)),
                cost=_token_count,
                probe=classifier.tokenize([PROBE_PAIR])[0],
                max_waiting=max_waiting_pairs,
                max_cost=max_batch_tokens or MAX_BATCH_TOKENS[classifier.device],
                noun="pairs",
            )

    def close(self) -> None:
        """Finish the batch in progress, and refuse the items that wait."""
        for batcher in self.batchers:
            batcher.close()

    @property
    def batchers(self) -> Sequence[Batcher[Tokens, Any]]:
        """Of the encoder, and of the pair classifier if there is one."""
        return [self.batcher, self.pair_batcher] if self.pair_batcher else [self.batcher]

    @property
    def failure(self) -> str | None:
        """The reason why a model answers nobody; None while they work."""
        return next((batcher.failure for batcher in self.batchers if batcher.failure), None)

    def refuse_if_full(self, texts: int, pairs: int) -> None:
        """Raise Overloaded if so many more would not fit now: a refusal before any work."""
        self.batcher.refuse_if_full(texts)
        if self.pair_batcher:
            self.pair_batcher.refuse_if_full(pairs)

    def give_way(self, other: "ServedModels | None") -> None:
        """From now on, let the other models go first; None: take turns with everybody."""
        for batcher in self.batchers:
            batcher.give_way(other.batchers if other else ())

    def embed(self, tokens: Sequence[Tokens], *, background: bool = False) -> "Future[Outcomes]":
        """Unit vectors (d,) float32 of tokenised texts, or an exception in a text's place, through the batcher."""
        return self.batcher.submit(tokens, background=background)

    async def embed_asked(self, tokens: Sequence[Tokens]) -> Outcomes:
        """Like `embed`, but the vectors of texts that were asked lately are kept, and given again to the bit."""
        self.asked.add(tokens)
        known = self.recent.get(tokens)
        missing = [of_text for of_text, vector in zip(tokens, known, strict=True) if vector is None]
        outcomes = await Awaited(self.embed(missing))
        self._keep(missing, outcomes)
        embedded = iter(outcomes)
        return [next(embedded) if vector is None else vector for vector in known]

    def read_pairs(
        self, tokens: Sequence[Tokens], *, background: bool = False
    ) -> "Future[list[np.float32 | Exception]]":
        """Logits of tokenised pairs, or an exception in a pair's place. The release has a pair classifier."""
        assert self.pair_batcher
        return self.pair_batcher.submit(tokens, background=background)

    def _keep(self, tokens: Sequence[Tokens], outcomes: Outcomes) -> None:
        texts = []
        vectors = []
        for of_text, outcome in zip(tokens, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                texts.append(of_text)
                vectors.append(outcome)
        self.recent.keep(texts, vectors)


def logits_of(outcomes: Sequence[np.float32 | Exception]) -> NDArray[np.float32]:
    """The logits (n,) of pairs that were all read. Raises the error of one that failed: ModelFailing, Overloaded."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome if isinstance(outcome, SameaskError) else ModelFailing(str(outcome))
    return np.array(outcomes, dtype=np.float32)


def _token_count(tokens: Tokens) -> int:
    return tokens.count
