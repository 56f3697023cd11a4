"""Vectors by id in, nearest ids out, with FAISS: exact up to a size, through a graph (HNSW) above it.

The graph can neither remove nor replace: entries die in place, and searches select the living. `rebuild`
copies those into a fresh body when too many have died, or when the size asks for the other kind.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.index.hit import Hit, hits_of

EXACT_LIMIT = 5_000  # vectors; see docs/decisions/0004
MAX_DEAD_SHARE = 0.2
GRAPH = "HNSW32_SQfp16"
EF_CONSTRUCTION = 80
EF_SEARCH = 192
FREE_LIVING_SHARE = (
    0.7  # with 30 % dead, recall is still what it was; from there on searches look further
)
ADD_CHUNK = 64  # entries added while searches wait
COPY_CHUNK = 1024  # entries copied while changes wait


class Body:
    """Vectors at positions, the ids that stand there in ascending order, and which of them live.

    Not for use by many threads; `Index` sees to that.
    """

    def __init__(
        self, vectors: faiss.Index, ids: NDArray[np.int64], live: NDArray[np.bool_]
    ) -> None:
        self.vectors = vectors
        self._ids = ids
        self._live = live
        self._count = len(ids)
        self.living = int(live.sum())
        self._select()

    @classmethod
    def empty(cls, dimension: int, *, graph: bool) -> "Body":
        """A body of either kind with nothing in it."""
        if graph:
            vectors = faiss.index_factory(dimension, GRAPH, faiss.METRIC_INNER_PRODUCT)
            vectors.hnsw.efConstruction = EF_CONSTRUCTION
        else:
            vectors = faiss.IndexFlatIP(dimension)
        return cls(vectors, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_))

    def __len__(self) -> int:
        return self._count

    @property
    def is_graph(self) -> bool:
        """Whether search goes through a graph; otherwise it is exact."""
        return isinstance(self.vectors, faiss.IndexHNSW)

    @property
    def ids(self) -> NDArray[np.int64]:
        """(n,) int64, ascending: the id at each position, dead ones included."""
        return self._ids[: self._count]

    @property
    def live(self) -> NDArray[np.bool_]:
        """(n,) bool: whether the entry at each position lives."""
        return self._live[: self._count]

    def append(self, ids: NDArray[np.int64], vectors: NDArray[np.float32], *, live: bool) -> None:
        """Add entries under ids greater than any here."""
        end = self._count + len(ids)
        if end > len(self._ids):
            room = max(end, 2 * len(self._ids), 64)
            self._live = np.resize(self._live, room)
            self._ids = np.resize(self._ids, room)
        self._ids[self._count : end] = ids
        self._live[self._count : end] = live
        self.vectors.add(vectors)
        self._count = end
        self.living += len(ids) * live
        self._select()

    def set_live(self, ids: NDArray[np.int64], live: bool) -> NDArray[np.int64]:
        """Let entries live or die; returns those that changed. Ids that are not here are passed over."""
        positions = self.positions(ids)
        positions = positions[self.live[positions] != live]
        self.live[positions] = live
        self.living += len(positions) * (1 if live else -1)
        self._select()
        return np.asarray(self.ids[positions], dtype=np.int64)

    def positions(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these ids stand, dead ones included; ids that are not here are passed over."""
        positions = np.searchsorted(self.ids, ids)
        known = positions < self._count
        known[known] = self.ids[positions[known]] == ids[known]
        return np.asarray(positions[known], dtype=np.int64)

    def living_after(self, last: int, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The first `limit` living entries with ids greater than `last`, and their vectors (n, d) float32."""
        start = int(np.searchsorted(self.ids, last, side="right"))
        positions = start + np.flatnonzero(self.live[start:])[:limit]
        return self.ids[positions], self.reconstruct(positions)

    def search(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """Positions of the `k` nearest living entries of each query (or of all there are), nearest first."""
        k = min(k, self.living)
        if not k:
            return [np.empty(0, dtype=np.int64) for _ in queries]
        # Parameters are made for each call: one object shared between threads has crashed FAISS.
        if self.is_graph:
            effort = max(1.0, FREE_LIVING_SHARE * self._count / self.living)
            ef = int(max(EF_SEARCH, 2 * k) * effort)
            parameters = faiss.SearchParametersHNSW(efSearch=ef, sel=self._selector)
        else:
            parameters = faiss.SearchParameters(sel=self._selector)
        _, positions = self.vectors.search(queries, k, params=parameters)
        return [row[row >= 0] for row in positions]

    def reconstruct(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors at these positions: (n, d) float32."""
        if not len(positions):
            return np.empty((0, self.vectors.d), dtype=np.float32)
        return np.asarray(self.vectors.reconstruct_batch(positions), dtype=np.float32)

    def _select(self) -> None:
        """What searches select the living by; nothing when all live."""
        if self.living == self._count:
            self._bits = None
            self._selector = None
        else:
            self._bits = np.packbits(
                self.live, bitorder="little"
            )  # kept: the selector only points at it
            self._selector = faiss.IDSelectorBitmap(self._bits)


class Index:
    """Unit vectors by int64 id, at some revision of their collection.

    Searches run side by side, with each other and with a rebuild; a change is seen by later searches whole,
    or not at all.
    """

    def __init__(
        self,
        dimension: int,
        *,
        exact_limit: int | None = None,
        body: Body | None = None,
        revision: int = 0,
    ) -> None:
        self._exact_limit = EXACT_LIMIT if exact_limit is None else exact_limit
        self._body = (
            Body.empty(dimension, graph=False) if body is None else body
        )  # one with nothing in it is false
        self._dimension = dimension
        self._revision = revision
        self._lock = ReadWriteLock()
        self._changing = threading.Lock()  # a change from begin to end, and the end of a rebuild
        self._is_half_changed = False  # as a change failed, and left entries that are not seen
        self._rebuilding = threading.Lock()

    def __len__(self) -> int:
        return self._body.living

    @property
    def revision(self) -> int:
        """The revision of the collection that this index shows."""
        return self._revision

    @property
    def dead_share(self) -> float:
        """The share of entries that have died and still take part in searches."""
        count = len(self._body)
        return 1 - self._body.living / count if count else 0.0

    @property
    def wants_rebuild(self) -> bool:
        """Whether too many entries have died, or the size asks for the other kind of body."""
        living = len(self)
        if self._body.is_graph:
            return self.dead_share > MAX_DEAD_SHARE or living < self._exact_limit // 2
        return self.dead_share > MAX_DEAD_SHARE or living > self._exact_limit

    def ids(self) -> NDArray[np.int64]:
        """Every living id, ascending: (n,) int64."""
        with self._lock.reading():
            return self._body.ids[self._body.live]

    def apply(
        self,
        revision: int,
        ids: Sequence[int],
        vectors: NDArray[np.float32],
        removed: Sequence[int],
    ) -> None:
        """Move to `revision`: remove entries, and add `vectors` (n, d) under new `ids`, in one step.

        New ids ascend and are greater than any id ever added. Removing an id that is not there does nothing. What a
        change left that failed, as memory was short, is removed before the next one.
        """
        new = np.asarray(ids, dtype=np.int64)
        with self._holding_whole():
            body = self._body
            count = len(body)
            last = body.ids[-1:]  # none of an empty index
            if np.any(np.diff(np.concatenate((last, new))) <= 0):
                raise ValueError("new ids must ascend, past every id in the index")
            try:
                self._change(body, revision, new, vectors, removed)
            except BaseException:
                with self._lock.writing():
                    body.live[count:] = False  # though memory was short only after they lived
                self._is_half_changed = True
                raise

    def _change(
        self,
        body: Body,
        revision: int,
        new: NDArray[np.int64],
        vectors: NDArray[np.float32],
        removed: Sequence[int],
    ) -> None:
        """What is added is not seen before the last step, and searches go on in between."""
        for start in range(0, len(new), ADD_CHUNK):
            chunk = slice(start, start + ADD_CHUNK)
            with self._lock.writing():
                body.append(new[chunk], vectors[chunk], live=False)
        with self._lock.writing():
            body.set_live(np.unique(np.asarray(removed, dtype=np.int64)), live=False)
            body.set_live(new, live=True)
            self._revision = revision

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[int, list[list[Hit]]]:
        """The `k` most similar entries (or all there are) of each of (n, d) unit vectors, most similar first, and the
        revision searched."""
        with self._lock.reading():
            revision = self._revision
            body = self._body
            found = [(body.ids[row], body.reconstruct(row)) for row in body.search(queries, k)]
        return revision, [
            hits_of(query, ids, vectors)
            for query, (ids, vectors) in zip(queries, found, strict=True)
        ]

    def vectors(self, ids: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """By id, the vectors (d,) float32 of those that live here."""
        with self._lock.reading():
            body = self._body
            positions = body.positions(np.unique(np.asarray(ids, dtype=np.int64)))
            positions = positions[body.live[positions]]
            return dict(zip(body.ids[positions].tolist(), body.reconstruct(positions), strict=True))

    def rebuild(self, is_ending: Callable[[], bool] = lambda: False) -> None:
        """Copy the living entries into a fresh body of the kind their number asks for, and use that.

        Searches and changes go on meanwhile; what they change is brought over before the bodies are exchanged. Once
        `is_ending` says so, the fresh body is left, and the old one stays.
        """
        with self._rebuilding, one_thread():
            new = Body.empty(self._dimension, graph=len(self) > self._exact_limit)
            while self._copy(new, COPY_CHUNK) == COPY_CHUNK:
                if is_ending():
                    return
            with self._changing:
                while self._copy(new, ADD_CHUNK):
                    pass
                dead = np.setdiff1d(new.ids, self.ids(), assume_unique=True)
                new.set_live(dead, live=False)
                with self._lock.writing():
                    self._body = new
                self._is_half_changed = False

    def recall(self, k: int, sample: int, seed: int = 0) -> float:
        """The share of the `k` exactly nearest entries that `search` finds, over a sample of the entries."""
        ids = self.ids()
        if not self._body.is_graph or not len(ids):
            return 1.0
        chosen = np.sort(
            np.random.default_rng(seed).choice(ids, min(sample, len(ids)), replace=False)
        )
        with self._lock.reading():
            queries = self._body.reconstruct(np.searchsorted(self._body.ids, chosen))
        exact = self._search_exactly(queries, k)
        _, found = self.search(queries, k)
        shares = []
        for nearest, hits in zip(exact, found, strict=True):
            common = np.intersect1d(nearest, [hit.revision for hit in hits])
            shares.append(len(common) / len(nearest))
        return float(np.mean(shares))

    @contextmanager
    def reading(self) -> Iterator[tuple[int, Body]]:
        """The revision and the body as they are, unchanged until the context ends; searches go on."""
        with self._holding_whole():
            yield self._revision, self._body

    @contextmanager
    def _holding_whole(self) -> Iterator[None]:
        """Nobody else changes the body, which holds nothing that a failed change left: else what is seen is copied."""
        while True:
            with self._changing:
                if not self._is_half_changed:
                    yield
                    return
            self.rebuild()

    def _copy(self, new: Body, limit: int) -> int:
        """Bring the next living entries over into a fresh body; returns how many there were."""
        last = int(new.ids[-1]) if len(new) else -1
        with self._lock.reading():
            ids, vectors = self._body.living_after(last, limit)
        if len(ids):
            new.append(ids, vectors, live=True)
        return len(ids)

    def _search_exactly(self, queries: NDArray[np.float32], k: int) -> list[NDArray[np.int64]]:
        """Ids of the `k` nearest living entries by comparing with every one, a chunk at a time."""
        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        last = -1
        while True:
            with self._lock.reading():
                ids, vectors = self._body.living_after(last, COPY_CHUNK)
            if not len(ids):
                break
            similarities = queries @ vectors.T
            top = np.argsort(-similarities, axis=1)[:, :k]
            heap.add_result(np.take_along_axis(similarities, top, axis=1), ids[top])
            last = int(ids[-1])
        heap.finalize()
        return [row[row >= 0] for row in heap.I]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep FAISS, in this thread, to one core: the others belong to searches and to the model."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


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
