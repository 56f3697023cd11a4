"""Vectors by id in, nearest ids out: exact inner product over unit vectors, with FAISS."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Neighbours:
    """The nearest entries of one query, nearest first: ids (k,) int64 and their vectors (k, d) float32."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Index:
    """Unit vectors by int64 id, at some revision of their collection.

    Searches run side by side; a change waits for them and is seen by later ones whole, or not at all.
    """

    def __init__(self, dimension: int) -> None:
        self._vectors = faiss.IndexFlatIP(dimension)
        self._ids = np.empty(0, dtype=np.int64)
        self._revision = 0
        self._lock = ReadWriteLock()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def revision(self) -> int:
        """The revision of the collection that this index shows."""
        return self._revision

    def apply(self, revision: int, ids: Sequence[int], vectors: NDArray[np.float32], removed: Sequence[int]) -> None:
        """Move to `revision`: remove entries, and add `vectors` (n, d) under new `ids`, in one step.

        New ids ascend and are greater than any id ever added. Removing an id that is not there does nothing.
        """
        new = np.asarray(ids, dtype=np.int64)
        if len(new) and (np.any(np.diff(new) <= 0) or (len(self._ids) and new[0] <= self._ids[-1])):
            raise ValueError("new ids must ascend, past every id in the index")
        with self._lock.writing():
            dead = np.isin(self._ids, np.asarray(removed, dtype=np.int64))
            if dead.any():
                self._vectors.remove_ids(faiss.IDSelectorBatch(np.flatnonzero(dead)))
            if len(new):
                self._vectors.add(vectors)
            self._ids = np.concatenate([self._ids[~dead], new])
            self._revision = revision

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[int, list[Neighbours]]:
        """The `k` nearest entries (or all there are) of each of (n, d) unit vectors, and the revision searched."""
        with self._lock.reading():
            if not len(self._ids) or not len(queries):
                empty = np.empty((0, self._vectors.d), dtype=np.float32)
                return self._revision, [Neighbours(np.empty(0, dtype=np.int64), empty) for _ in queries]
            _, positions = self._vectors.search(queries, min(k, len(self._ids)))
            found = [row[row >= 0] for row in positions]
            neighbours = [Neighbours(self._ids[row], self._vectors.reconstruct_batch(row)) for row in found]
            return self._revision, neighbours


class ReadWriteLock:
    """Many readers or one writer; a waiting writer goes before later readers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._changed:
            self._writers_waiting += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
