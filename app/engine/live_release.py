"""A release at work: its encoder, its scorer and one index for each collection, as one object.

Questions reach an index by one road only: `catch_up` embeds and applies whatever the store holds past the
index's revision. A release is replaced whole, so that no request ever meets one release's model and
another's index.

A release can be a shadow first: it follows the store beside the live one, gives way to it, answers nobody, and notes
nothing in the store.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine.batching import Batcher
from app.engine.index.faiss_index import Index, one_thread
from app.engine.index.snapshot import Snapshots
from app.engine.models.backends import TORCH
from app.engine.models.embedding_cache import RecentVectors
from app.engine.models.encoder import PROBE_TEXTS, Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PROBE_PAIR, PairClassifier
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.scorer import Scorer, similarity
from app.engine.steps import Steps
from app.engine.store import Changes, Question, Store
from app.engine.text import digest
from app.errors import ModelFailing, NotReady, ServiceError, StorageFull

CATCH_UP_CHUNK = (
    512  # questions embedded and applied at a time, while the next as many are on their way
)
SAVE_AFTER = (
    3584  # changes over all collections that are not on disk yet: what a restart would embed again
)
CHECK_AFTER_SHARE = 0.1  # of an index changed since its recall was last checked
CHECK_SAMPLE, CHECK_K = 50, 10
NEAR = 5  # others of a question that make near pairs with it
NEAR_SAMPLE = 2000  # questions of a collection whose near pairs are looked for
SEARCH_CHUNK = 64
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


@dataclass(frozen=True)
class NearPair:
    """Two stored questions that are not the same words, the older first."""

    first: Question
    second: Question
    similarity: float


class _CollectionIndex:
    """An index, the lock that lets one `catch_up` at a time change it, and what is known of it."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.catching_up = threading.Lock()
        self.opened = False  # from its snapshot, if there was one
        self.ready = False
        self.recall = 1.0
        self.checked_at = 0
        self.unnoted: dict[
            int, str | None
        ] = {}  # why texts can't be embedded, for want of room not in the store yet


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
        max_cached_embeddings: int = 0,
        is_shadow: bool = False,
    ) -> None:
        self.release = release
        self.users = (
            0  # requests and catching-up that hold this release; counted by whoever replaces it
        )
        self._is_shadow = is_shadow
        self.encoder = encoder
        self.classifier = classifier
        self.scorer = scorer
        self.pair_batcher = (
            _pair_batcher(classifier, max_waiting_pairs, max_batch_tokens) if classifier else None
        )
        self.batcher: Batcher[Tokens, NDArray[np.float32]] = Batcher(
            lambda batch: list(encoder.encode_tokens(batch)),
            cost=lambda tokens: tokens.count,
            probe=encoder.tokenize(PROBE_TEXTS[:1])[0],
            max_waiting=max_waiting,
            max_cost=max_batch_tokens or MAX_BATCH_TOKENS[encoder.device],
        )
        self.recent = RecentVectors(max_cached_embeddings)
        self._store = store
        self._snapshots = Snapshots(snapshot_dir, _vectors_of(release, encoder))
        self._snapshots.keep_only([collection.key for collection in store.collections.all()])
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
        max_cached_embeddings: int = 0,
        is_shadow: bool = False,
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
            max_cached_embeddings=max_cached_embeddings,
            is_shadow=is_shadow,
        )

    def close(self) -> None:
        """Finish the batch in progress, refuse what waits, save the indexes, and let go of them."""
        for batcher in self.batchers:
            batcher.close()
        self._save_when_due(after=1)
        self._indexes.clear()

    @property
    def batchers(self) -> Sequence[Batcher[Tokens, Any]]:
        """Of the encoder, and of the pair classifier if there is one."""
        return [self.batcher, self.pair_batcher] if self.pair_batcher else [self.batcher]

    def give_way(self, other: "LiveRelease | None") -> None:
        """From now on, let the other release's models go first; None: take turns with everybody."""
        for batcher in self.batchers:
            batcher.give_way(other.batchers if other else ())

    def go_live(self) -> None:
        """Stop being a shadow: note in the store which texts this release can't embed, and which it can."""
        self._is_shadow = False
        for key, of in list(self._indexes.items()):
            with of.catching_up:
                embedded = of.index.vectors(self._store.questions.quarantined_revisions(key))
                of.unnoted.update(dict.fromkeys(embedded))
                self._note(key, of)

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

    def keep_only(self, collection_keys: Sequence[int]) -> None:
        """Let go of the indexes of all other collections: they were deleted."""
        for key in set(self._indexes) - set(collection_keys):
            self.forget(key)

    def forget(self, collection_key: int) -> None:
        """Let go of the index and the snapshots of a deleted collection."""
        with self._indexes_lock:
            self._indexes.pop(collection_key, None)
        self._snapshots.remove(collection_key)

    def embed(self, tokens: Sequence[Tokens], *, background: bool = False) -> "Future[Outcomes]":
        """Unit vectors (d,) float32 of tokenised texts, or an exception in a text's place, through the batcher."""
        return self.batcher.submit(tokens, background=background)

    def embed_asked(self, tokens: Sequence[Tokens]) -> Steps[Outcomes]:
        """Like `embed`, but for texts that were asked lately: their vectors are kept, and given again to the bit."""
        known = self.recent.get(tokens)
        missing = [of_text for of_text, vector in zip(tokens, known, strict=True) if vector is None]
        yield (embedding := self.embed(missing))
        outcomes = embedding.result()
        new = [
            (of_text, o)
            for of_text, o in zip(missing, outcomes, strict=True)
            if not isinstance(o, Exception)
        ]
        self.recent.keep([of_text for of_text, _ in new], [vector for _, vector in new])
        embedded = iter(outcomes)
        return [next(embedded) if vector is None else vector for vector in known]

    def read_pairs(
        self, tokens: Sequence[Tokens], *, background: bool = False
    ) -> "Future[list[np.float32 | Exception]]":
        """Logits of tokenised pairs, or an exception in a pair's place. The release has a pair classifier."""
        assert self.pair_batcher
        return self.pair_batcher.submit(tokens, background=background)

    def reserve(self, collection_key: int) -> None:
        """Open the collection's index, and keep other releases from purging what it has yet to learn of.

        Needed of one that catches up while another is live. Raises OSError.
        """
        of = self._of(collection_key)
        with of.catching_up:
            self._open_index(collection_key, of)
            self._snapshots.reserve(collection_key)

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
                chunk = (
                    None
                    if changes.complete
                    else self._embed_changes(collection_key, changes.revision)
                )
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
                self._snapshots.save(key, of.index, partial(self._store.questions.contents, key))
                self._store.questions.purge(key, self._snapshots.floor(key))

    def upkeep(self) -> None:
        """Rebuild indexes that want it and check the recall of those that changed much; from a thread of its own."""
        for key, of in list(self._indexes.items()):
            if of.ready and of.index.wants_rebuild:
                log.info("rebuilding the index of collection %d", key)
                of.index.rebuild()
            if of.ready and of.index.revision - of.checked_at > len(of.index) * CHECK_AFTER_SHARE:
                of.checked_at = of.index.revision
                of.recall = of.index.recall(CHECK_K, CHECK_SAMPLE)

    def search(
        self, collection_key: int, queries: NDArray[np.float32], top_k: int
    ) -> tuple[int, list[Hits]]:
        """The `top_k` most similar questions for each of (n, d) unit vectors, and the revision searched.

        Raises NotReady until the index has caught up once.
        """
        revision, found = self._ready_index(collection_key).search(queries, top_k)
        return revision, [
            _hits(query, n.ids, n.vectors) for query, n in zip(queries, found, strict=True)
        ]

    def vectors(
        self, collection_key: int, revisions: Sequence[int]
    ) -> dict[int, NDArray[np.float32]]:
        """The unit vectors (d,) of these questions, of those that are indexed. Raises NotReady like `search`."""
        return self._ready_index(collection_key).vectors(revisions)

    def sample(self, collection_key: int, size: int, seed: int = 0) -> list[int]:
        """Revisions of indexed questions, at most `size`, the same for the same index and seed; ascending."""
        ids = self._ready_index(collection_key).ids()
        chosen = np.random.default_rng(seed).choice(ids, min(size, len(ids)), replace=False)
        return [int(i) for i in np.sort(chosen)]

    def neighbours(
        self, collection_key: int, revisions: Sequence[int], count: int
    ) -> set[tuple[int, int]]:
        """Each of these questions with the `count` indexed ones nearest to it: pairs of revisions, the lesser first."""
        index = self._ready_index(collection_key)
        own = list(index.vectors(revisions).items())
        pairs: set[tuple[int, int]] = set()
        with one_thread():
            for start in range(0, len(own), SEARCH_CHUNK):
                chunk = own[start : start + SEARCH_CHUNK]
                _, found = index.search(np.stack([vector for _, vector in chunk]), count + 1)
                for (revision, _), near in zip(chunk, found, strict=True):
                    others = [int(other) for other in near.ids if other != revision]
                    pairs.update(
                        (min(revision, other), max(revision, other)) for other in others[:count]
                    )
        return pairs

    def similarities(
        self, collection_key: int, pairs: Sequence[tuple[int, int]]
    ) -> NDArray[np.float32]:
        """Of each pair of revisions: (n,) float32, NaN where one of them is not indexed."""
        found = self.vectors(collection_key, [revision for pair in pairs for revision in pair])
        nowhere = np.full(self.encoder.dimension, np.nan, dtype=np.float32)
        sides = (
            [np.stack([found.get(pair[side], nowhere) for pair in pairs]) for side in (0, 1)]
            if pairs
            else []
        )
        return similarity(*sides) if sides else np.empty(0, dtype=np.float32)

    def near_pairs(self, collection_key: int, limit: int) -> list[NearPair]:
        """The nearest pairs among the stored questions, most similar first, at most `limit`, none of them the same
        words. Of a large collection, those that a sample of its questions makes. Raises NotReady."""
        pairs = sorted(
            self.neighbours(collection_key, self.sample(collection_key, NEAR_SAMPLE), NEAR)
        )
        stored = self._store.questions.read(
            collection_key, sorted({revision for pair in pairs for revision in pair})
        )
        similarities = self.similarities(collection_key, pairs)
        found = [
            NearPair(stored[one], stored[other], float(near))
            for (one, other), near in zip(pairs, similarities, strict=True)
            if one in stored
            and other in stored
            and digest(stored[one].text) != digest(stored[other].text)
        ]
        return sorted(found, key=lambda pair: -pair.similarity)[:limit]

    def _ready_index(self, collection_key: int) -> Index:
        of = self._indexes.get(collection_key)
        if of is None or not of.ready:
            raise NotReady(
                "the index of this collection is catching up with the store; see /readyz"
            )
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
        collections = {collection.key: collection for collection in self._store.collections.all()}
        if collection_key in collections:
            latest = collections[collection_key].revision
            contents = partial(self._store.questions.contents, collection_key)
            loaded = self._snapshots.load(collection_key, self.encoder.dimension, latest, contents)
            of.index = loaded or of.index
        of.opened = True

    def _save_when_due(self, after: int = 0) -> None:
        """Save once enough has changed. Failing to is no failure of the write that made it due: it is durable."""
        unsaved = sum(
            of.index.revision - self._snapshots.saved_revision(key)
            for key, of in list(self._indexes.items())
        )
        if unsaved < (after or self._save_after):
            return
        try:
            self.save()
            self._save_after = SAVE_AFTER
        except (OSError, ServiceError) as error:
            self._save_after = unsaved + SAVE_AFTER  # not again with every write
            log.warning(
                "the indexes can't be saved, a restart would embed %d questions again: %s",
                unsaved,
                error,
            )

    def _embed_changes(
        self, collection_key: int, revision: int
    ) -> "tuple[Changes, Future[Outcomes]] | None":
        """What comes after `revision`, on its way through the model; None when the collection is gone."""
        changes = self._store.questions.changes_since(collection_key, revision, CATCH_UP_CHUNK)
        if changes is None:
            return None
        return changes, self.embed(
            self.encoder.tokenize([q.text for q in changes.added]), background=True
        )

    def _apply(
        self, collection_key: int, of: _CollectionIndex, changes: Changes, outcomes: Outcomes
    ) -> None:
        embedded = [
            (q.revision, o)
            for q, o in zip(changes.added, outcomes, strict=True)
            if not isinstance(o, Exception)
        ]
        self._quarantine(collection_key, of, changes, outcomes)
        vectors = (
            np.stack([v for _, v in embedded])
            if embedded
            else np.empty((0, self.encoder.dimension), np.float32)
        )
        of.index.apply(
            changes.revision, [revision for revision, _ in embedded], vectors, changes.removed
        )

    def _quarantine(
        self, collection_key: int, of: _CollectionIndex, changes: Changes, outcomes: Outcomes
    ) -> None:
        """Note why texts can't be embedded. The writes are durable already: a full disk puts the note off."""
        for question, outcome in zip(changes.added, outcomes, strict=True):
            if isinstance(outcome, ModelFailing):
                raise outcome
            reason = (
                f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
            )
            if reason != question.quarantined:
                of.unnoted[question.revision] = reason
        if not self._is_shadow:
            self._note(collection_key, of)

    def _note(self, collection_key: int, of: _CollectionIndex) -> None:
        if of.unnoted:
            try:
                self._store.questions.quarantine(collection_key, of.unnoted)
                of.unnoted.clear()
            except StorageFull as error:
                log.warning(
                    "%d texts can't be embedded, which is not noted yet: %s", len(of.unnoted), error
                )


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
