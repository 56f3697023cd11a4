"""A release at work: its encoder, its scorer and one index for each collection, as one object.

Questions reach an index by one road only: `catch_up` embeds and applies whatever the store holds past the
index's revision. A release is replaced whole, so that no request ever meets one release's model and
another's index.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.batching import Batcher
from app.engine.encoder import PROBE_TEXTS, Encoder, Tokens
from app.engine.index import Index
from app.engine.release import Release
from app.engine.scorer import Scorer, similarity
from app.engine.store import Changes, Store
from app.errors import ModelFailing, NotReady

CATCH_UP_CHUNK = 256  # questions embedded and applied at a time
MAX_BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}

Outcomes = list[NDArray[np.float32] | Exception]


@dataclass(frozen=True)
class Hits:
    """The nearest entries of one query: revisions (k,) and similarities (k,) float32, greatest first."""

    revisions: list[int]
    similarities: NDArray[np.float32]


@dataclass(frozen=True)
class IndexState:
    """The revision an index shows, how many questions it holds, and whether it has ever caught up."""

    revision: int
    size: int
    ready: bool


@dataclass
class _CollectionIndex:
    """An index, the lock that lets one `catch_up` at a time change it, and whether it has ever caught up."""

    index: Index
    catching_up: threading.Lock
    ready: bool = False


class LiveRelease:
    """Release, encoder, scorer and indexes as one; made by `open`, ended by `close`."""

    def __init__(
        self,
        release: Release,
        encoder: Encoder,
        scorer: Scorer,
        store: Store,
        *,
        max_waiting: int,
        max_batch_tokens: int | None = None,
    ) -> None:
        self.release = release
        self.encoder = encoder
        self.scorer = scorer
        self.batcher: Batcher[Tokens, NDArray[np.float32]] = Batcher(
            lambda batch: list(encoder.encode_tokens(batch)),
            cost=lambda tokens: tokens.count,
            probe=encoder.tokenize(PROBE_TEXTS[:1])[0],
            max_waiting=max_waiting,
            max_cost=max_batch_tokens or MAX_BATCH_TOKENS[encoder.device],
        )
        self._store = store
        self._indexes: dict[int, _CollectionIndex] = {}
        self._indexes_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        release: Release,
        store: Store,
        *,
        device: str,
        target_precision: str,
        max_waiting: int,
        max_batch_tokens: int | None = None,
    ) -> "LiveRelease":
        """Load a release's model. Indexes are empty until `catch_up`. Raises ModelRefused."""
        encoder = Encoder.open(release.base.open(), device)
        scorer = release.scorer(target_precision)
        return cls(release, encoder, scorer, store, max_waiting=max_waiting, max_batch_tokens=max_batch_tokens)

    def close(self) -> None:
        """Finish the batch in progress, refuse what waits, and let go of the model and the indexes."""
        self.batcher.close()
        self._indexes.clear()

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is; nothing at all before its first `catch_up`."""
        of = self._indexes.get(collection_key)
        return IndexState(of.index.revision, len(of.index), of.ready) if of else IndexState(0, 0, ready=False)

    def forget(self, collection_key: int) -> None:
        """Let go of the index of a deleted collection."""
        with self._indexes_lock:
            self._indexes.pop(collection_key, None)

    def embed(self, tokens: Sequence[Tokens], *, background: bool = False) -> "Future[Outcomes]":
        """Unit vectors (d,) float32 of tokenised texts, or an exception in a text's place, through the batcher."""
        return self.batcher.submit(tokens, background=background)

    def catch_up(self, collection_key: int) -> int:
        """Bring the collection's index to the store's revision, and return that; 0 if the collection is gone.

        A text that can't be embedded is quarantined and passed over. Raises ModelFailing when the model
        answers nobody; what was applied until then stays applied.
        """
        of = self._of(collection_key)
        with of.catching_up:
            while True:
                changes = self._store.changes_since(collection_key, of.index.revision, CATCH_UP_CHUNK)
                if changes is None:
                    self.forget(collection_key)
                    return 0
                self._apply(collection_key, of.index, changes)
                if changes.complete:
                    of.ready = True
                    return of.index.revision

    def search(self, collection_key: int, queries: NDArray[np.float32], top_k: int) -> tuple[int, list[Hits]]:
        """The `top_k` most similar questions for each of (n, d) unit vectors, and the revision searched.

        Raises NotReady until the index has caught up once.
        """
        of = self._indexes.get(collection_key)
        if of is None or not of.ready:
            raise NotReady("the index of this collection is catching up with the store; see /readyz")
        revision, found = of.index.search(queries, top_k)
        return revision, [_hits(query, n.ids, n.vectors) for query, n in zip(queries, found, strict=True)]

    def _of(self, collection_key: int) -> _CollectionIndex:
        with self._indexes_lock:
            if collection_key not in self._indexes:
                self._indexes[collection_key] = _CollectionIndex(Index(self.encoder.dimension), threading.Lock())
            return self._indexes[collection_key]

    def _apply(self, collection_key: int, index: Index, changes: Changes) -> None:
        outcomes = self.embed(self.encoder.tokenize([q.text for q in changes.added]), background=True).result()
        embedded = [
            (q.revision, o) for q, o in zip(changes.added, outcomes, strict=True) if not isinstance(o, Exception)
        ]
        self._quarantine(collection_key, changes, outcomes)
        vectors = np.stack([v for _, v in embedded]) if embedded else np.empty((0, self.encoder.dimension), np.float32)
        index.apply(changes.revision, [revision for revision, _ in embedded], vectors, changes.removed)

    def _quarantine(self, collection_key: int, changes: Changes, outcomes: Outcomes) -> None:
        reasons: dict[int, str | None] = {}
        for question, outcome in zip(changes.added, outcomes, strict=True):
            if isinstance(outcome, ModelFailing):
                raise outcome
            reason = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
            if reason != question.quarantined:
                reasons[question.revision] = reason
        if reasons:
            self._store.quarantine(collection_key, reasons)


def _hits(query: NDArray[np.float32], ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Hits:
    similarities = similarity(np.broadcast_to(query, vectors.shape), vectors)
    order = np.lexsort((ids, -similarities))
    return Hits([int(i) for i in ids[order]], similarities[order])
