"""A release at work: its encoder, its scorer and one index for each collection, as one object.

Questions reach an index by one road only: `catch_up` embeds and applies whatever the store holds past the
index's revision. A release is replaced whole, so that no request ever meets one release's model and
another's index.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.engine.backends import TORCH, device_for, run_on
from app.engine.batching import Batcher
from app.engine.encoder import PROBE_TEXTS, Encoder
from app.engine.index import Index
from app.engine.model_cache import ModelCache
from app.engine.pair_classifier import PROBE_PAIR, PairClassifier
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.engine.scorer import Scorer, similarity
from app.engine.snapshot import Snapshots
from app.engine.store import Changes, Store
from app.engine.tokens import Tokens
from app.errors import ModelFailing, NotReady, ServiceError, StorageFull

CATCH_UP_CHUNK = 512  # questions embedded and applied at a time, while the next as many are on their way
SAVE_AFTER = 3584  # changes over all collections that are not on disk yet: what a restart would embed again
CHECK_AFTER_SHARE = 0.1  # of an index changed since its recall was last checked
CHECK_SAMPLE, CHECK_K = 50, 10
MAX_BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}

log = logging.getLogger(__name__)

Outcomes = list[NDArray[np.float32] | Exception]


@dataclass(frozen=True)
class Hits:
    """The nearest entries of one query: revisions (k,) and similarities (k,) float32, greatest first."""

    revisions: list[int]
    similarities: NDArray[np.float32]


@dataclass(frozen=True)
class IndexState:
    """How far an index is: its revision, its questions, whether it has ever caught up, its recall when last checked."""

    revision: int
    size: int
    ready: bool
    recall: float


class _CollectionIndex:
    """An index, the lock that lets one `catch_up` at a time change it, and what is known of it."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.catching_up = threading.Lock()
        self.opened = False  # from its snapshot, if there was one
        self.ready = False
        self.recall = 1.0
        self.checked_at = 0
        self.unnoted: dict[int, str | None] = {}  # why texts can't be embedded, for want of room not in the store yet


class LiveRelease:
    """Release, encoder, scorer and indexes as one; made by `open`, ended by `close`."""

    def __init__(
        self,
        release: Release,
        encoder: Encoder,
        scorer: Scorer,
        store: Store,
        *,
        snapshot_dir: Path,
        max_waiting: int,
        classifier: PairClassifier | None = None,
        max_waiting_pairs: int = 0,
        max_batch_tokens: int | None = None,
    ) -> None:
        self.release = release
        self.encoder = encoder
        self.classifier = classifier
        self.scorer = scorer
        self.pair_batcher = _pair_batcher(classifier, max_waiting_pairs, max_batch_tokens) if classifier else None
        self.batcher: Batcher[Tokens, NDArray[np.float32]] = Batcher(
            lambda batch: list(encoder.encode_tokens(batch)),
            cost=lambda tokens: tokens.count,
            probe=encoder.tokenize(PROBE_TEXTS[:1])[0],
            max_waiting=max_waiting,
            max_cost=max_batch_tokens or MAX_BATCH_TOKENS[encoder.device],
        )
        self._store = store
        self._snapshots = Snapshots(snapshot_dir, _vectors_of(release, encoder))
        self._snapshots.keep_only([collection.key for collection in store.list_collections()])
        self._indexes: dict[int, _CollectionIndex] = {}
        self._indexes_lock = threading.Lock()
        self._save_after = SAVE_AFTER

    @classmethod
    def open(
        cls,
        release: Release,
        store: Store,
        *,
        snapshot_dir: Path,
        device: str,
        target_precision: str,
        max_waiting: int,
        max_waiting_pairs: int = 0,
        max_batch_tokens: int | None = None,
        backend: str = TORCH,
        models_dir: Path | None = None,
    ) -> "LiveRelease":
        """Load a release's models. Indexes are opened by `catch_up`. Raises ModelRefused, BackendRefused."""
        encoder, classifier = open_models(release, device, backend, models_dir)
        return cls(
            release,
            encoder,
            release.scorer(target_precision),
            store,
            snapshot_dir=snapshot_dir,
            max_waiting=max_waiting,
            classifier=classifier,
            max_waiting_pairs=max_waiting_pairs,
            max_batch_tokens=max_batch_tokens,
        )

    def close(self) -> None:
        """Finish the batch in progress, refuse what waits, save the indexes, and let go of them."""
        self.batcher.close()
        if self.pair_batcher:
            self.pair_batcher.close()
        self._save_when_due(after=1)
        self._indexes.clear()

    @property
    def failure(self) -> str | None:
        """Why a model answers nobody, or None while they work."""
        return self.batcher.failure or (self.pair_batcher.failure if self.pair_batcher else None)

    def refuse_if_full(self, texts: int, pairs: int) -> None:
        """Raise Overloaded if so many more would not fit now: a refusal before any work."""
        self.batcher.refuse_if_full(texts)
        if self.pair_batcher:
            self.pair_batcher.refuse_if_full(pairs)

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is; nothing at all before its first `catch_up`."""
        of = self._indexes.get(collection_key)
        if of is None:
            return IndexState(0, 0, ready=False, recall=1.0)
        return IndexState(of.index.revision, len(of.index), of.ready, of.recall)

    def index(self, collection_key: int) -> Index:
        """The collection's index, for maintenance and tests; empty before its first `catch_up`."""
        return self._of(collection_key).index

    def forget(self, collection_key: int) -> None:
        """Let go of the index and the snapshots of a deleted collection."""
        with self._indexes_lock:
            self._indexes.pop(collection_key, None)
        self._snapshots.remove(collection_key)

    def embed(self, tokens: Sequence[Tokens], *, background: bool = False) -> "Future[Outcomes]":
        """Unit vectors (d,) float32 of tokenised texts, or an exception in a text's place, through the batcher."""
        return self.batcher.submit(tokens, background=background)

    def read_pairs(self, tokens: Sequence[Tokens]) -> "Future[list[np.float32 | Exception]]":
        """Logits of tokenised pairs, or an exception in a pair's place. The release has a pair classifier."""
        assert self.pair_batcher
        return self.pair_batcher.submit(tokens)

    def catch_up(self, collection_key: int) -> int:
        """Bring the collection's index to the store's revision, and return that; 0 if the collection is gone.

        A text that can't be embedded is quarantined and passed over. Raises ModelFailing when the model
        answers nobody; what was applied until then stays applied.
        """
        of = self._of(collection_key)
        with of.catching_up:
            self._open_index(collection_key, of)
            chunk = self._embed_changes(collection_key, of.index.revision)
            while chunk:
                changes, embedding = chunk
                # The model is at work on the next chunk while this one goes into the index.
                chunk = None if changes.complete else self._embed_changes(collection_key, changes.revision)
                self._apply(collection_key, of, changes, embedding.result())
                self._save_when_due()
                if changes.complete:
                    of.ready = True
                    return of.index.revision
            self.forget(collection_key)
            return 0

    def save(self) -> None:
        """Bring every index's latest changes to disk, and forget what no index needs any more.

        Raises OSError or StorageFull when there is no room; what was on disk before stays good.
        """
        for key, of in list(self._indexes.items()):
            if of.index.revision > self._snapshots.saved_revision(key):
                self._snapshots.save(key, of.index, partial(self._store.contents, key))
                self._store.purge(key, self._snapshots.floor(key))

    def upkeep(self) -> None:
        """Rebuild indexes that want it and check the recall of those that changed much; from a thread of its own."""
        for key, of in list(self._indexes.items()):
            if of.ready and of.index.wants_rebuild:
                log.info("rebuilding the index of collection %d", key)
                of.index.rebuild()
            if of.ready and of.index.revision - of.checked_at > len(of.index) * CHECK_AFTER_SHARE:
                of.checked_at = of.index.revision
                of.recall = of.index.recall(CHECK_K, CHECK_SAMPLE)

    def search(self, collection_key: int, queries: NDArray[np.float32], top_k: int) -> tuple[int, list[Hits]]:
        """The `top_k` most similar questions for each of (n, d) unit vectors, and the revision searched.

        Raises NotReady until the index has caught up once.
        """
        revision, found = self._ready_index(collection_key).search(queries, top_k)
        return revision, [_hits(query, n.ids, n.vectors) for query, n in zip(queries, found, strict=True)]

    def vectors(self, collection_key: int, revisions: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The unit vectors (d,) of these questions, of those that are indexed. Raises NotReady like `search`."""
        return self._ready_index(collection_key).vectors(revisions)

    def _ready_index(self, collection_key: int) -> Index:
        of = self._indexes.get(collection_key)
        if of is None or not of.ready:
            raise NotReady("the index of this collection is catching up with the store; see /readyz")
        return of.index

    def _of(self, collection_key: int) -> _CollectionIndex:
        with self._indexes_lock:
            if collection_key not in self._indexes:
                self._indexes[collection_key] = _CollectionIndex(Index(self.encoder.dimension))
            return self._indexes[collection_key]

    def _open_index(self, collection_key: int, of: _CollectionIndex) -> None:
        """Take the index from its snapshot, the first time."""
        if of.opened:
            return
        collections = {collection.key: collection for collection in self._store.list_collections()}
        if collection_key in collections:
            latest = collections[collection_key].revision
            contents = partial(self._store.contents, collection_key)
            loaded = self._snapshots.load(collection_key, self.encoder.dimension, latest, contents)
            of.index = loaded or of.index
        of.opened = True

    def _save_when_due(self, after: int = 0) -> None:
        """Save once enough has changed. Failing to is no failure of the write that made it due: it is durable."""
        unsaved = sum(
            of.index.revision - self._snapshots.saved_revision(key) for key, of in list(self._indexes.items())
        )
        if unsaved < (after or self._save_after):
            return
        try:
            self.save()
            self._save_after = SAVE_AFTER
        except (OSError, ServiceError) as error:
            self._save_after = unsaved + SAVE_AFTER  # not again with every write
            log.warning("the indexes can't be saved, a restart would embed %d questions again: %s", unsaved, error)

    def _embed_changes(self, collection_key: int, revision: int) -> "tuple[Changes, Future[Outcomes]] | None":
        """What comes after `revision`, on its way through the model; None when the collection is gone."""
        changes = self._store.changes_since(collection_key, revision, CATCH_UP_CHUNK)
        if changes is None:
            return None
        return changes, self.embed(self.encoder.tokenize([q.text for q in changes.added]), background=True)

    def _apply(self, collection_key: int, of: _CollectionIndex, changes: Changes, outcomes: Outcomes) -> None:
        embedded = [
            (q.revision, o) for q, o in zip(changes.added, outcomes, strict=True) if not isinstance(o, Exception)
        ]
        self._quarantine(collection_key, of, changes, outcomes)
        vectors = np.stack([v for _, v in embedded]) if embedded else np.empty((0, self.encoder.dimension), np.float32)
        of.index.apply(changes.revision, [revision for revision, _ in embedded], vectors, changes.removed)

    def _quarantine(self, collection_key: int, of: _CollectionIndex, changes: Changes, outcomes: Outcomes) -> None:
        """Note why texts can't be embedded. The writes are durable already: a full disk puts the note off."""
        for question, outcome in zip(changes.added, outcomes, strict=True):
            if isinstance(outcome, ModelFailing):
                raise outcome
            reason = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
            if reason != question.quarantined:
                of.unnoted[question.revision] = reason
        if of.unnoted:
            try:
                self._store.quarantine(collection_key, of.unnoted)
                of.unnoted.clear()
            except StorageFull as error:
                log.warning("%d texts can't be embedded, which is not noted yet: %s", len(of.unnoted), error)


def open_models(
    release: Release, device: str, backend: str = TORCH, models_dir: Path | None = None
) -> tuple[Encoder, PairClassifier | None]:
    """A release's bi-encoder, and its pair classifier if it has one, run by `backend`.

    Models converted for it are kept in `models_dir`, if there is one. Raises ModelRefused, BackendRefused.
    """
    device = device_for(device, backend)
    encoder_files, classifier_files = release.model(ENCODER), release.model(CLASSIFIER)
    assert encoder_files
    (folder, difference) = encoder_files
    encoder, classifier = Encoder.open(folder, device, difference), None
    if classifier_files:
        (folder, difference) = classifier_files
        classifier = PairClassifier.open(folder, device, difference)
    return run_on(backend, encoder, classifier, ModelCache(models_dir, release.digest))


def _vectors_of(release: Release, encoder: Encoder) -> str:
    """What an index's vectors are bound to: the release, and int8 where that made them, as it makes them a little
    different (a cosine of 0.998, where halves have 0.99999)."""
    return f"int8-{release.digest}" if encoder.dtype == "int8" else release.digest


def _pair_batcher(
    classifier: PairClassifier, max_waiting: int, max_batch_tokens: int | None
) -> Batcher[Tokens, np.float32]:
    return Batcher(
        lambda batch: list(classifier.score_tokens(batch)),
        cost=lambda tokens: tokens.count,
        probe=classifier.tokenize([PROBE_PAIR])[0],
        max_waiting=max_waiting,
        max_cost=max_batch_tokens or MAX_BATCH_TOKENS[classifier.device],
    )


def _hits(query: NDArray[np.float32], ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> Hits:
    similarities = similarity(np.broadcast_to(query, vectors.shape), vectors)
    order = np.lexsort((ids, -similarities))
    return Hits([int(i) for i in ids[order]], similarities[order])
