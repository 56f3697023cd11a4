"""The index of a collection in this process: vectors held in memory by FAISS, snapshots of them on disk."""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.engine.index.collection_index import CollectionIndex
from app.engine.index.faiss_index import Index
from app.engine.index.hit import Hit
from app.engine.index.snapshot import Snapshots
from app.engine.index.tally import IndexState, Tally, Totals
from app.engine.store import Store
from app.engine.store.along import Embed
from app.errors import NotReady, ServiceError

SAVE_AFTER = 3584  # changes over all collections, not on disk yet: a restart would embed them again
SAVE_AFTER_SHARE = 0.01  # of all questions, if that is more: each save looks at every one
CHECK_AFTER_SHARE = 0.1  # of an index changed since its recall was last checked
CHECK_SAMPLE = 50
CHECK_K = 10
TELL_FROM = 1000  # questions: to rebuild fewer takes milliseconds, and each delete may ask for it

log = logging.getLogger(__name__)


class IndexInMemory:
    """Unit vectors of one collection's questions, at some revision of the collection."""

    def __init__(
        self,
        collection_key: int,
        dimension: int,
        store: Store,
        snapshots: Snapshots,
        tally: Tally,
        ending: threading.Event,
        *,
        empty_at: int | None = None,
    ) -> None:
        """`ending` ends its upkeep. `empty_at` is the revision at which the collection is known to hold nothing; None:
        `open` finds out."""
        self.key = collection_key
        self._dimension = dimension
        self._store = store
        self._snapshots = snapshots
        self._contents = partial(store.revisions.contents, collection_key)
        self._tally = tally
        self._ending = ending
        self._index = Index(dimension, revision=empty_at or 0)
        self._begun_at = empty_at or 0  # nothing up to there has to be embedded again
        self._is_opened = self._is_ready = empty_at is not None
        self._recall = 1.0
        self._checked_at = 0
        self.catching_up = threading.Lock()  # held by the one thread that may `open` and `apply`

    def __len__(self) -> int:
        return len(self._index)

    @property
    def is_ready(self) -> bool:
        """Whether it has ever caught up with the store."""
        return self._is_ready

    @property
    def revision(self) -> int:
        """The revision of the collection that it shows."""
        return self._index.revision

    @property
    def state(self) -> IndexState:
        """How far it is."""
        return IndexState(self.revision, len(self), self.is_ready, self._recall)

    @property
    def unsaved(self) -> int:
        """How many changes a restart would have to embed again."""
        saved = self._snapshots.saved_revision(self.key)
        return self.revision - max(saved, self._begun_at)

    def open(self) -> None:
        """Take what was saved, the first time that it is called."""
        if self._is_opened:
            return
        latest = self._store.collections.revision(self.key)
        if latest is not None:
            saved = self._snapshots.load(self.key, self._dimension, latest, self._contents)
            self._index = saved or self._index
        self._is_opened = True
        self._note_change()

    def caught_up(self) -> None:
        """From now on it may be asked."""
        self._is_ready = True
        self._note_change()

    def apply(
        self,
        revision: int,
        added: Sequence[int],
        vectors: NDArray[np.float32],
        removed: Sequence[int],
        *,
        since: int | None = None,  # noqa: ARG002 - nobody else moves it
    ) -> None:
        """Move to `revision` in one step: remove questions, and add others with their vectors (n, d)."""
        self._index.apply(revision, added, vectors, removed)
        self._note_change()

    def search(self, queries: NDArray[np.float32], count: int) -> tuple[int, list[list[Hit]]]:
        """The `count` most similar questions of each of (n, d) unit vectors, and the revision searched."""
        return self._index.search(queries, count)

    def vectors(self, revisions: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The unit vectors (d,) of these questions, of those that are indexed."""
        return self._index.vectors(revisions)

    def ids(self) -> NDArray[np.int64]:
        """The revisions of all indexed questions, ascending: (n,) int64."""
        return self._index.ids()

    def upkeep(self) -> None:
        """Rebuild it if it wants that, and check the recall after many changes; from a thread of its own."""
        if not self.is_ready:
            return
        index = self._index
        if index.wants_rebuild:
            level = logging.INFO if len(index) >= TELL_FROM else logging.DEBUG
            log.log(level, "rebuilding the index of collection %d", self.key)
            index.rebuild(self._ending.is_set)
        if index.revision - self._checked_at > len(index) * CHECK_AFTER_SHARE:
            self._checked_at = index.revision
            self._recall = index.recall(CHECK_K, CHECK_SAMPLE)
            self._note()

    def save(self) -> None:
        """Bring the latest changes to disk, and have the store forget what no index needs any more.

        Raises OSError or StorageFull when there is no room; what was on disk before stays good.
        """
        if self.unsaved > 0:
            self._snapshots.save(self.key, self._index, self._contents)
            self._note()
            self._snapshots.remove_unused(self.key)
            self._store.revisions.purge(self.key, self._snapshots.floor(self.key))

    def reserve(self) -> None:
        """Keep other releases from purging what this index has yet to learn of. Raises OSError."""
        self._snapshots.reserve(self.key)

    def _note_change(self) -> None:
        self._note()
        self._tally.changed(self.key)

    def _note(self) -> None:
        self._tally.note(self.key, self.state, self.unsaved)


def faiss_index_of(index: CollectionIndex) -> Index:
    """What FAISS holds; for benchmarks and tests of this kind of index."""
    assert isinstance(index, IndexInMemory)
    return index._index


class IndexesInMemory:
    """The indexes of one release, by collection."""

    def __init__(
        self,
        store: Store,
        dimension: int,
        folder: Path,
        vectors_of: str,
        same_vectors: str | None = None,
    ) -> None:
        """`folder` holds all releases' snapshots; `vectors_of` says which of them hold vectors of this model.

        `same_vectors` says whose vectors are the same, to begin with.
        """
        self.vectors_of = vectors_of
        self._store = store
        self._dimension = dimension
        self._snapshots = Snapshots(folder, vectors_of, same_vectors)
        self._snapshots.begin_use()
        self._indexes: dict[int, IndexInMemory] = {}
        self._empty: dict[
            int, int
        ] = {}  # collections with nothing in them, and since which revision
        self._tally = Tally()
        self._ending = threading.Event()  # set once nobody looks after them any more
        self._lock = threading.Lock()
        self._save_after = SAVE_AFTER

    def __getitem__(self, collection_key: int) -> IndexInMemory:
        """The collection's index, however far it is."""
        with self._lock:
            if collection_key not in self._indexes:
                index = IndexInMemory(
                    collection_key,
                    self._dimension,
                    self._store,
                    self._snapshots,
                    self._tally,
                    self._ending,
                    empty_at=self._empty.pop(collection_key, None),
                )
                self._tally.begin(collection_key, index.state)
                self._indexes[collection_key] = index
            return self._indexes[collection_key]

    @property
    def totals(self) -> Totals:
        """What they add up to."""
        return self._tally.totals

    def look(self) -> Totals:
        """What they add up to: nobody else works on them."""
        return self._tally.totals

    def left_behind(self) -> set[int]:
        """None: nobody else works on them."""
        return set()

    def doubt(self) -> None:
        """Nobody else works on them."""

    def go_along(self, embed: Embed) -> None:
        """No vector is written into the store."""

    def begin_empty(self, revisions: Mapping[int, int]) -> None:
        """Count collections as indexed that hold nothing at these revisions; no index is made before it is needed.

        Those of which this release has a snapshot are left out: that holds what they held before.
        """
        saved = self._snapshots.collection_keys(of_all=False)
        with self._lock:
            for key, revision in revisions.items():
                if key not in self._indexes and key not in saved:
                    self._empty[key] = revision
                    self._tally.begin(key, _empty_state(revision))

    def all(self) -> Sequence[IndexInMemory]:
        """Every index that there is now."""
        return list(self._indexes.values())

    def ready(self, collection_key: int) -> IndexInMemory:
        """The collection's index. Raises NotReady until it has caught up once."""
        with self._lock:
            index = self._indexes.get(collection_key)
            is_empty = collection_key in self._empty
        if is_empty:
            index = self[collection_key]
        if index is None or not index.is_ready:
            raise NotReady(
                "the index of this collection is catching up with the store; see /readyz"
            )
        return index

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is."""
        with self._lock:
            index = self._indexes.get(collection_key)
            empty_at = self._empty.get(collection_key)
        if index is not None:  # one with nothing in it is false
            return index.state
        return IndexState() if empty_at is None else _empty_state(empty_at)

    def forget(self, collection_key: int) -> None:
        """Let go of the index and the snapshots of a deleted collection."""
        with self._lock:
            self._indexes.pop(collection_key, None)
            self._empty.pop(collection_key, None)
            self._tally.end(collection_key)
        self._snapshots.remove(collection_key)

    def keep_only(self, collection_keys: Iterable[int]) -> None:
        """Let go of the indexes of all other collections: they were deleted."""
        known = self._indexes.keys() | self._empty.keys()
        for key in known - set(collection_keys):
            self.forget(key)

    def remove_leftovers(self) -> None:
        """Remove the snapshots of collections that were deleted, where a process died before it did so, and those that
        were long not used."""
        saved = self._snapshots.collection_keys()
        stored = {collection.key for collection in self._store.collections.all()}  # looked up last
        for key in saved - stored:
            self._snapshots.remove(key)
        for key in saved & stored:
            if self._snapshots.remove_unused(key):
                self._store.revisions.purge(key, self._snapshots.floor(key))

    def upkeep(self) -> None:
        """Look after the indexes that have changed and have caught up; from a thread of its own."""
        self._snapshots.keep_in_use()
        changed = self._tally.take_changed()
        while changed and not self._ending.is_set():
            key = changed.pop()
            try:
                self._look_after(key)
            except BaseException:
                self._tally.changed(key, *changed)
                raise

    def end_upkeep(self) -> None:
        """Leave off what `upkeep` is at, and begin no more of it."""
        self._ending.set()

    def save(self) -> None:
        """Bring every index's latest changes to disk. Raises OSError or StorageFull when there is no room.

        One that can't be saved holds up no other.
        """
        failures = []
        for key in self._tally.unsaved_keys():
            index = self._indexes.get(key)
            try:
                if index is not None:  # one with nothing in it is false
                    index.save()
            except (OSError, ServiceError) as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def save_when_due(self, after: int | None = None) -> None:
        """Save once enough has changed. A failure is no failure of the write that made it due: that is durable."""
        by_size = int(self._tally.totals.questions * SAVE_AFTER_SHARE)
        if self._tally.unsaved < (after or max(self._save_after, by_size)):
            return
        try:
            self.save()
            self._save_after = SAVE_AFTER
        except (OSError, ServiceError) as error:
            unsaved = self._tally.unsaved
            self._save_after = unsaved + SAVE_AFTER  # not again with every write
            log.warning(
                "the indexes can't be saved, a restart would embed %d questions again: %s",
                unsaved,
                error,
            )

    def clear(self) -> None:
        """Let go of every index, and leave its snapshots."""
        self._indexes.clear()
        self._empty.clear()
        self._snapshots.end_use()

    def _look_after(self, collection_key: int) -> None:
        index = self._indexes.get(collection_key)
        if index is not None:  # one with nothing in it is false
            index.upkeep()


def _empty_state(revision: int) -> IndexState:
    return IndexState(revision, 0, ready=True)
