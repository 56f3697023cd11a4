"""Vectors in, figures of three indexes over them out: exact, FAISS's graph as it comes, and ours.

*Exact* is `IndexFlatIP` behind an id map, which can delete. *HNSW* is `IndexHNSWFlat` with M 32 and the library's own
efConstruction and efSearch; it can't delete, so what died is left out by a selector at each search. *Ours* is the
`Index` of the service, its vectors copied out with every answer as the service needs them. Each has a process of its
own. They are built with all threads, a write's worth of vectors at a time, and searched with one thread.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.index.faiss_index import Body, Index
from benchmarks.processes import memory_mb

SEED = 20
QUERIES, TOP_K, BATCH = 1000, 10, 64
DELETED_SHARE = 0.3
ROWS = 4096  # vectors that are added, or made, at a time
LATENT = 48  # dimensions that clustered vectors vary in
CLUSTER_MEDIAN, CLUSTER_SIGMA = 8, 1.2  # of the log-normal sizes
SPREAD, NOISE = 0.5, 0.1  # within a cluster, and outside of the latent dimensions

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]


class Contender(Protocol):
    """An index by row numbers."""

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add (n, d) vectors under ids that ascend."""

    def remove(self, ids: Ids) -> None:
        """Let these not be found again."""

    def finish(self) -> None:
        """Build what is better built at once, of all that was added."""

    def search(self, queries: Vectors, k: int) -> list[Ids]:
        """The ids of the nearest of each query."""


class Exact:
    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexIDMap(faiss.IndexFlatIP(dimension))

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self._index.add_with_ids(vectors, ids)

    def remove(self, ids: Ids) -> None:
        self._index.remove_ids(ids)

    def finish(self) -> None:
        pass

    def search(self, queries: Vectors, k: int) -> list[Ids]:
        return list(self._index.search(queries, k)[1])


class Hnsw:
    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexHNSWFlat(dimension, 32, faiss.METRIC_INNER_PRODUCT)
        self._bits: NDArray[np.uint8] | None = None

    def add(self, ids: Ids, vectors: Vectors) -> None:
        assert ids[0] == self._index.ntotal  # it numbers them itself
        self._index.add(vectors)

    def remove(self, ids: Ids) -> None:
        live = np.ones(self._index.ntotal, dtype=np.bool_)
        live[ids] = False
        self._bits = np.packbits(live, bitorder="little")  # kept: the selector only points at it

    def finish(self) -> None:
        pass

    def search(self, queries: Vectors, k: int) -> list[Ids]:
        selector = None if self._bits is None else faiss.IDSelectorBitmap(self._bits)
        parameters = faiss.SearchParametersHNSW(efSearch=self._index.hnsw.efSearch, sel=selector)
        return list(self._index.search(queries, k, params=parameters)[1])


class Ours:
    def __init__(self, dimension: int) -> None:
        self._index = Index(dimension, body=Body.empty(dimension, graph=True))
        self._none = np.empty((0, dimension), dtype=np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self._index.apply(self._index.revision + 1, ids.tolist(), vectors, [])

    def remove(self, ids: Ids) -> None:
        self._index.apply(self._index.revision + 1, [], self._none, ids.tolist())

    def finish(self) -> None:
        pass

    def search(self, queries: Vectors, k: int) -> list[Ids]:
        _, found = self._index.search(queries, k)
        return [np.array([hit.revision for hit in hits], dtype=np.int64) for hits in found]


CONTENDERS: dict[str, Callable[[int], Contender]] = {"exact": Exact, "hnsw": Hnsw, "sameask": Ours}


def compare(
    vectors: Path, names: Iterable[str] = CONTENDERS
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The figures of each contender over a .npy file of (n, d) unit vectors, of which the last 1,000 are asked."""
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            yield name, child.submit(_measure, name, vectors).result()


def _measure(name: str, file: Path) -> dict[str, Any]:
    return measure(CONTENDERS[name], file)


def measure(make: Callable[[int], Contender], file: Path) -> dict[str, Any]:
    """The figures of what `make` makes for a dimension, in this process."""
    stored = np.load(file, mmap_mode="r")
    count = len(stored) - QUERIES
    queries = np.ascontiguousarray(stored[count:])
    gone = np.sort(np.random.default_rng(SEED).permutation(count)[: int(count * DELETED_SHARE)])
    before, started, cpu = (
        memory_mb(os.getpid(), "RssAnon"),
        time.perf_counter(),
        time.process_time(),
    )
    index = make(stored.shape[1])
    for start in range(0, count, ROWS):
        rows = np.arange(start, min(start + ROWS, count))
        index.add(rows, np.ascontiguousarray(stored[rows]))
    index.finish()
    figures = {
        "vectors": count,
        "build_s": time.perf_counter() - started,
        "build_cpu_s": time.process_time() - cpu,
    }
    gc.collect()
    figures["memory_mb"] = memory_mb(os.getpid(), "RssAnon") - before
    figures |= _searched(
        index, queries, _nearest(stored, count, queries, np.empty(0, dtype=np.int64))
    )
    started = time.perf_counter()
    index.remove(gone)
    figures["remove_s"] = time.perf_counter() - started
    after = _searched(index, queries, _nearest(stored, count, queries, gone))
    return figures | {f"{figure}_after_deletes": value for figure, value in after.items()}


def _nearest(stored: Vectors, count: int, queries: Vectors, gone: Ids) -> Ids:
    """The exactly nearest of each query among the first `count` rows but those that are gone."""
    heap = faiss.ResultHeap(len(queries), TOP_K, keep_max=True)
    for start in range(0, count, 16 * ROWS):
        rows = np.setdiff1d(
            np.arange(start, min(start + 16 * ROWS, count)), gone, assume_unique=True
        )
        similarities, nearest = faiss.knn(
            queries, stored[rows], TOP_K, metric=faiss.METRIC_INNER_PRODUCT
        )
        heap.add_result(similarities, rows[nearest])
    heap.finalize()
    return np.asarray(heap.I)


def _searched(index: Contender, queries: Vectors, nearest: Ids) -> dict[str, float]:
    """Queries a second by one thread, one at a time and in batches, the time of one, and recall."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    for query in queries[:100]:
        index.search(query[None], TOP_K)
    times, found = [], []
    for query in queries:
        started = time.perf_counter()
        found += index.search(query[None], TOP_K)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    for start in range(0, len(queries), BATCH):
        index.search(queries[start : start + BATCH], TOP_K)
    batched = time.perf_counter() - started
    faiss.omp_set_num_threads(threads)
    right = sum(
        len(np.intersect1d(of, expected)) for of, expected in zip(found, nearest, strict=True)
    )
    return {
        "per_s": len(queries) / sum(times),
        "p50_ms": 1000 * median(times),
        "batches_per_s": len(queries) / batched,
        "recall_at_10": right / nearest.size,
    }


def write_clustered(file: Path, count: int, dimension: int) -> None:
    """Write (count + 1,000, dimension) float32 unit vectors as .npy, in clusters, in no order; some at a time.

    Sizes of clusters are log-normal (median 8, sigma 1.2: most questions have few near ones, some have hundreds). A
    centre is normal in 48 dimensions, a member its centre and half as much of its own; an orthonormal map takes them to
    all dimensions, where a little noise is added. Embeddings vary in about so few dimensions, and a graph over
    noise in all of them would be harder than any over texts.
    """
    chance = np.random.default_rng(SEED)
    total = count + QUERIES
    sizes = np.maximum(
        1, chance.lognormal(np.log(CLUSTER_MEDIAN), CLUSTER_SIGMA, total).astype(np.int64)
    )
    cluster_of = chance.permutation(np.repeat(np.arange(total), sizes)[:total])
    basis, _ = np.linalg.qr(chance.normal(size=(dimension, LATENT)))
    centres = chance.normal(size=(cluster_of.max() + 1, LATENT)).astype(np.float32)
    vectors = np.lib.format.open_memmap(file, "w+", np.float32, (total, dimension))
    for start in range(0, total, ROWS):
        of = cluster_of[start : start + ROWS]
        latent = centres[of] + SPREAD * chance.normal(size=(len(of), LATENT))
        scale = NOISE * np.sqrt(LATENT / dimension)  # so that noise is so long, against a centre
        rows = latent @ basis.T + scale * chance.normal(size=(len(of), dimension))
        vectors[start : start + ROWS] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    vectors.flush()
