"""A release at work: its models (`ServedModels`), its scorer and one index for each collection, as one object.

Questions reach an index by one road only: `catch_up` embeds and applies whatever the store holds past the index's
revision. A release is replaced whole, so that no request ever meets one release's model and another's index.

A release can be a shadow first. It then follows the store beside the live one, gives way to it, answers nobody, and
notes nothing in the store.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.engine.index.collection_index import CollectionIndex
from app.engine.index.opening import open_indexes
from app.engine.index.tally import IndexState, Totals
from app.engine.models.backends import TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.engine.scorer import CollectionThresholds
from app.engine.served_models import Outcomes, ServedModels
from app.engine.signals import Reader
from app.engine.store import Changes, Collection, Question, Store
from app.errors import ModelFailing, StorageFull

CATCH_UP_CHUNK = 512  # questions applied at a time, while the next as many are being embedded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingOptions:
    """The options of serving a release: the places of its files, its backend, and the bounds of its queues."""

    snapshot_dir: Path  # of all releases' indexes
    target_precision: str
    max_waiting_texts: int
    max_waiting_pairs: int = 0
    max_batch_tokens: int | None = None  # None: by the device
    max_cached_embeddings: int = 0
    device: str = "cpu"
    backend: str = TORCH
    models_dir: Path | None = None  # of converted models; None: they are not kept


class Quarantine:
    """Notes in the store which texts the live release can't embed; of a shadow, when it goes live."""

    def __init__(self, store: Store, *, is_held_back: bool) -> None:
        self._store = store
        self._is_held_back = is_held_back
        self._unnoted: dict[int, dict[int, str | None]] = {}  # collection -> revision -> why

    def compare(
        self, collection_key: int, questions: Sequence[Question], outcomes: Outcomes
    ) -> None:
        """Note what has changed: which can't be embedded any more, and which now can. Raises ModelFailing."""
        changed: dict[int, str | None] = {}
        for question, outcome in zip(questions, outcomes, strict=True):
            if isinstance(outcome, ModelFailing):
                raise outcome
            is_failed = isinstance(outcome, Exception)
            reason = f"{type(outcome).__name__}: {outcome}" if is_failed else None
            if reason != question.quarantined:
                changed[question.revision] = reason
        self.note(collection_key, changed)

    def note(self, collection_key: int, reasons: Mapping[int, str | None]) -> None:
        """Note by revision why a text can't be embedded, or None where it can.

        The questions are durable already, so a full disk puts the note off.
        """
        unnoted = self._unnoted.setdefault(collection_key, {})
        unnoted.update(reasons)
        if self._is_held_back or not unnoted:
            return
        try:
            self._store.revisions.quarantine(collection_key, unnoted)
            unnoted.clear()
        except StorageFull as error:
            log.warning(
                "%d texts can't be embedded, which is not noted yet: %s", len(unnoted), error
            )

    def go_live(self) -> None:
        """Hold no note back from the store from now on."""
        self._is_held_back = False

    def unnoted_keys(self) -> set[int]:
        """The collections of which something is not noted yet."""
        return {key for key, unnoted in self._unnoted.items() if unnoted}

    def forget(self, collection_key: int) -> None:
        """Drop the notes on a deleted collection."""
        self._unnoted.pop(collection_key, None)


class LiveRelease:
    """Release, models, scorer and indexes as one; ended by `close`."""

    def __init__(
        self,
        release: Release,
        encoder: Encoder,
        classifier: PairClassifier | None,
        store: Store,
        options: ServingOptions,
        *,
        is_shadow: bool = False,
        same_vectors: str | None = None,
    ) -> None:
        """`same_vectors` is the digest of a release that has the same bi-encoder, and perhaps indexes."""
        self.release = release
        self.models = ServedModels(
            encoder,
            classifier,
            max_waiting_texts=options.max_waiting_texts,
            max_waiting_pairs=options.max_waiting_pairs,
            max_batch_tokens=options.max_batch_tokens,
            max_cached_embeddings=options.max_cached_embeddings,
        )
        self.scorer = release.scorer(options.target_precision)
        self.reader = Reader(encoder, classifier)
        self.indexes = open_indexes(
            store,
            encoder.dimension,
            options.snapshot_dir,
            release.digest,
            encoder.dtype,
            same_vectors,
        )
        self.users = 0  # requests and catching-up that hold this release; see `in_use`
        self._store = store
        self._thresholds = {  # by collection, where they were derived for it
            key: derived.thresholds
            for key, derived in store.derived.of_release(release.digest).items()
        }
        self._quarantine = Quarantine(store, is_held_back=is_shadow)
        if not is_shadow:
            self.indexes.go_along(self._embed_now)

    @classmethod
    def open(
        cls,
        release: Release,
        store: Store,
        options: ServingOptions,
        *,
        beside: Release | None = None,
    ) -> "LiveRelease":
        """Load a release's models: as the live one, or `beside` that as a shadow. Indexes are opened by `catch_up`.

        Raises ModelRefused, BackendRefused.
        """
        is_same = beside is not None and beside.encoder_digest == release.encoder_digest
        encoder, classifier = open_models(
            release, options.device, options.backend, options.models_dir
        )
        return cls(
            release,
            encoder,
            classifier,
            store,
            options,
            is_shadow=beside is not None,
            same_vectors=beside.digest if beside and is_same else None,
        )

    def close(self) -> None:
        """Finish the batch in progress, refuse the items that wait, save the indexes, and let go of them."""
        self.indexes.end_upkeep()
        self.models.close()
        self.indexes.save_when_due(after=1)
        self.indexes.clear()

    @contextmanager
    def in_use(self) -> Iterator["LiveRelease"]:
        """Count one more user of this release. After it was replaced, it is closed when it has no user. In the event
        loop alone."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1

    # Its thresholds

    def thresholds(self, collection_key: int) -> CollectionThresholds:
        """The thresholds of a collection: those derived for it, or the release's own."""
        return self._thresholds.get(collection_key) or self.scorer.thresholds()

    def hold(self, collection_key: int, thresholds: CollectionThresholds | None) -> None:
        """From now on, let these thresholds hold in a collection, derived by this release's scores; None: its own."""
        if thresholds is None:
            self._thresholds.pop(collection_key, None)
        else:
            self._thresholds[collection_key] = thresholds

    # Its indexes

    def index(self, collection_key: int) -> CollectionIndex:
        """The collection's index. Raises NotReady until it has caught up once."""
        return self.indexes.ready(collection_key)

    def state(self, collection_key: int) -> IndexState:
        """The state of the collection's index; empty before its first `catch_up`."""
        return self.indexes.state(collection_key)

    @property
    def indexed(self) -> Totals:
        """The sums over its indexes."""
        return self.indexes.totals

    def begin(self, collections: Sequence[Collection]) -> list[Collection]:
        """Take note of collections; returns those whose indexes have to catch up.

        The others hold nothing: ten thousand of them cost no more than one look at each.
        """
        empty = {one.key: one.revision for one in collections if not one.questions}
        self.indexes.begin_empty(empty)
        return [one for one in collections if not self.shows(one.key, one.revision)]

    def shows(self, collection_key: int, revision: float) -> bool:
        """Whether the collection's index has caught up, and with this revision."""
        state = self.state(collection_key)
        return state.ready and state.revision >= revision

    def forget(self, collection_key: int) -> None:
        """Let go of the index and the snapshots of a deleted collection."""
        self.indexes.forget(collection_key)
        self._thresholds.pop(collection_key, None)
        self._quarantine.forget(collection_key)

    def catch_up(self, collection_key: int) -> int:
        """Bring the collection's index to the store's revision, and return that; 0 if the collection is gone.

        A text that can't be embedded is quarantined and passed over. Raises ModelFailing when the model
        answers nobody; what was applied until then stays applied.
        """
        index = self.indexes[collection_key]
        with index.catching_up:
            index.open()
            with suppress(OSError):  # a full disk, on which a shadow can't save and purge either
                index.reserve()
            since = index.revision
            chunk = self._embed_changes(collection_key, since)
            while chunk:
                changes, embedding = chunk
                # The model is at work on the next chunk while this one goes into the index.
                chunk = (
                    None
                    if changes.complete
                    else self._embed_changes(collection_key, changes.revision)
                )
                self._apply(collection_key, index, since, changes, embedding.result())
                since = changes.revision
                self.indexes.save_when_due()
                if changes.complete:
                    index.caught_up()
                    return index.revision
            self.forget(collection_key)
            return 0

    def _embed_changes(
        self, collection_key: int, revision: int
    ) -> "tuple[Changes, Future[Outcomes]] | None":
        """The changes after `revision`, and their vectors on the way; None when the collection is gone."""
        changes = self._store.revisions.changes_since(collection_key, revision, CATCH_UP_CHUNK)
        if changes is None:
            return None
        tokens = self.models.encoder.tokenize([question.text for question in changes.added])
        return changes, self.models.embed(tokens, background=True)

    def _embed_now(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of texts, of those that can be embedded; the others are for `catch_up` to tell of."""
        tokens = self.models.encoder.tokenize(texts)
        try:
            outcomes = self.models.embed(tokens, background=True).result()
        except ModelFailing:  # as it was closed
            return {}
        return {
            text: outcome
            for text, outcome in zip(texts, outcomes, strict=True)
            if not isinstance(outcome, Exception)
        }

    def _apply(
        self,
        collection_key: int,
        index: CollectionIndex,
        since: int,
        changes: Changes,
        outcomes: Outcomes,
    ) -> None:
        self._quarantine.compare(collection_key, changes.added, outcomes)
        revisions = []
        vectors = [np.empty((0, self.models.encoder.dimension), np.float32)]
        for question, outcome in zip(changes.added, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                revisions.append(question.revision)
                vectors.append(outcome[None])
        made = np.concatenate(vectors)
        index.apply(changes.revision, revisions, made, changes.removed, since=since)

    # As a shadow

    def follow(self, collection_key: int) -> int:
        """Catch up beside the live release; neither purges what the other has yet to learn of.

        Raises ModelFailing like `catch_up`; OSError when the disk is full.
        """
        index = self.indexes[collection_key]
        with index.catching_up:
            index.open()
            index.reserve()
        return self.catch_up(collection_key)

    def follow_all(self) -> None:
        """Bring every index up to the store. Raises like `follow`."""
        collections = self._store.collections.all()
        self.indexes.keep_only(collection.key for collection in collections)
        for collection in self.begin(collections):
            self.follow(collection.key)
        self.indexes.upkeep()

    def follow_changed(self, collection_keys: set[int]) -> int:
        """Bring these indexes up to the store; returns how many changes have come since. Raises like `follow`."""
        revisions = self._store.collections.revisions(collection_keys)
        for key in collection_keys - revisions.keys():
            self.forget(key)
        for key, revision in revisions.items():
            if not self.shows(key, revision):
                self.follow(key)
        self.indexes.upkeep()
        latest = self._store.collections.revisions(revisions)
        return sum(revision - self.state(key).revision for key, revision in latest.items())

    def go_live(self) -> None:
        """Stop being a shadow: note in the store which texts this release can't embed, and which it can."""
        self._quarantine.go_live()
        self.indexes.go_along(self._embed_now)
        quarantined = self._store.revisions.quarantined()
        for key in quarantined.keys() | self._quarantine.unnoted_keys():
            index = self.indexes[key]
            with index.catching_up:
                embedded = index.vectors(quarantined.get(key, []))
                self._quarantine.note(key, dict.fromkeys(embedded))
