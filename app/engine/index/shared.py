"""The index of a collection in PostgreSQL: replicas of the service share its vectors, and what one of them writes all
of them find.

What a replica knows of an index may be older than the index, never newer: an index only moves on. So what is known to
show a revision shows it, and whoever needs a later one looks.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.engine.index.collection_index import CollectionIndex
from app.engine.index.hit import Hit, hits_of
from app.engine.index.known_states import KnownStates
from app.engine.index.tally import IndexState, Totals
from app.engine.store import Store
from app.engine.store.along import Embed
from app.engine.store.replicas import Replicas
from app.engine.store.vector_tables import VectorTables
from app.engine.store.vectors import VectorTable
from app.errors import NotReady, ServiceError

EXACT_LIMIT = (
    5_000  # questions of a collection that are searched without a graph; see docs/decisions/0029
)
PURGE_AFTER = (
    3584  # changes by this process, before replaced versions that no index needs are forgotten
)
CHECK_AFTER_SHARE = 0.1  # of an index changed since its recall was last checked
CHECK_SAMPLE = 50
CHECK_K = 10
CATCHING_UP = "the index of this collection is catching up with the store; see /readyz"

log = logging.getLogger(__name__)


class SharedIndex:
    """Unit vectors of one collection's questions in a table that other replicas read and write, too."""

    def __init__(
        self, collection_key: int, table: VectorTable, known: KnownStates, replicas: Replicas
    ) -> None:
        self.key = collection_key
        self._replicas = replicas
        self.unpurged = 0  # changes since replaced versions were last forgotten here, about
        self._table = table
        self._known = known
        self._lock = threading.Lock()  # before the one that all replicas share

    @property
    def is_ready(self) -> bool:
        """Whether it is known to have ever caught up with the store."""
        return self._known.state(self.key).ready

    @property
    def revision(self) -> int:
        """The revision of the collection that it is known to show."""
        return self._known.state(self.key).revision

    @property
    def catching_up(self) -> AbstractContextManager[object]:
        """Held by the one thread of the one replica that may `open` and `apply`."""
        return self._catching_up()

    def look(self) -> bool:
        """See how far it is; False where it is not there: nobody began it, or its collection was deleted."""
        doubts = self._known.doubts
        row = self._table.state(self.key)
        if row:
            self._known.note(row, doubts)
        return row is not None

    def open(self) -> None:
        """See how far it is; begin it where nobody has."""
        self._table.begin({self.key: 0})
        self.look()

    def apply(
        self,
        revision: int,
        added: Sequence[int],
        vectors: NDArray[np.float32],
        removed: Sequence[int],
        *,
        since: int | None = None,
    ) -> None:
        """Move to `revision` in one transaction. Raises NotReady where another replica is at work on it, which can only
        be if this one lost its connection. Of a collection that was deleted meanwhile nothing is kept."""
        begins_at = self.revision if since is None else since
        if self._table.apply(self.key, begins_at, revision, added, vectors, removed):
            self.unpurged += revision - begins_at
        if self.look() and self.revision < revision:
            raise NotReady("another replica is changing the index of this collection")

    def caught_up(self) -> None:
        """Nothing is to be said: `apply` has seen it."""

    def search(self, queries: NDArray[np.float32], count: int) -> tuple[int, list[list[Hit]]]:
        """The `count` most similar questions of each of (n, d) unit vectors, and the revision searched."""
        lease = self._replicas.lease(self._table.vectors_of)
        if not self.is_ready:
            self.look()
        if lease is None or not self.is_ready:
            raise NotReady(CATCHING_UP)
        found = self._search(queries, count)
        if self._replicas.lease(self._table.vectors_of) != lease:
            raise NotReady(CATCHING_UP)
        return found

    def vectors(self, revisions: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The unit vectors (d,) of these questions, of those that are indexed."""
        ids, vectors = self._table.vectors(self.key, revisions)
        return dict(zip(ids.tolist(), vectors, strict=True))

    def ids(self) -> NDArray[np.int64]:
        """The revisions of all indexed questions, ascending: (n,) int64."""
        return self._table.revisions(self.key)

    def reserve(self) -> None:
        """Keep other releases from purging what this index has yet to learn of: being there, it does."""

    def recall(self, k: int, sample: int, seed: int = 0) -> float:
        """The share of the `k` exactly nearest questions that `search` finds, over a sample of the questions."""
        ids = self.ids()
        chosen = np.random.default_rng(seed).choice(ids, min(sample, len(ids)), replace=False)
        queries = self.vectors(chosen.tolist())
        if not queries:
            return 1.0
        asked = np.stack(list(queries.values()))
        _, exact = self._search(asked, k, exactly=True)
        _, found = self.search(asked, k)
        shares = []
        for nearest, hits in zip(exact, found, strict=True):
            common = {hit.revision for hit in nearest} & {hit.revision for hit in hits}
            shares.append(len(common) / max(1, len(nearest)))
        return float(np.mean(shares))

    @contextmanager
    def _catching_up(self) -> Iterator[None]:
        with self._lock, self._table.catching_up(self.key):
            yield

    def _search(
        self, queries: NDArray[np.float32], count: int, *, exactly: bool = False
    ) -> tuple[int, list[list[Hit]]]:
        revision, found = self._table.search(self.key, queries, count, exactly=exactly)
        return revision, [hits_of(query, *of) for query, of in zip(queries, found, strict=True)]


class SharedIndexes:
    """The indexes of one release, by collection, in one table."""

    def __init__(
        self,
        store: Store,
        tables: VectorTables,
        dimension: int,
        vectors_of: str,
        same_vectors: str | None = None,
    ) -> None:
        """`vectors_of` names the table of this model's vectors; `same_vectors`, one of the same to begin with."""
        assert store.replicas
        self.vectors_of = vectors_of
        self._store = store
        self._replicas = store.replicas
        self._table = tables.open(vectors_of, dimension, same_vectors)
        self._known = KnownStates()
        self._indexes: dict[int, SharedIndex] = {}
        self._behind: dict[int, int] = {}  # at the last look, by collection: its index's revision
        self._checked_at: dict[int, int] = {}
        self._purge_after = PURGE_AFTER
        self._is_ending = False

    def __getitem__(self, collection_key: int) -> SharedIndex:
        """The collection's index, however far it is."""
        index = SharedIndex(collection_key, self._table, self._known, self._replicas)
        return self._indexes.setdefault(collection_key, index)

    @property
    def totals(self) -> Totals:
        """What they are known to add up to. None is ready while nobody would wait for this replica's answers."""
        totals = self._known.totals
        may_answer = self._replicas.lease(self.vectors_of) is not None
        return totals if may_answer else replace(totals, ready=0)

    def look(self) -> Totals:
        """What they add up to, with what other replicas did."""
        doubts = self._known.doubts
        rows = self._table.states()
        for row in rows:
            self._known.note(row, doubts)
        for key in self._known.keys() - {row.collection_key for row in rows}:
            self._let_go(key)
        return self.totals

    def all(self) -> Sequence[SharedIndex]:
        """Every index that was asked for."""
        return list(self._indexes.values())

    def begin_empty(self, revisions: Mapping[int, int]) -> None:
        """Begin the indexes of collections that hold nothing at these revisions, and see how far all are."""
        self._table.begin(revisions)
        self.look()

    def ready(self, collection_key: int) -> CollectionIndex:
        """The collection's index. Raises NotReady until it has caught up once, here or in another replica."""
        index = self[collection_key]
        if not index.is_ready:
            index.look()
        if not index.is_ready:
            raise NotReady(CATCHING_UP)
        return index

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is known to be."""
        return self._known.state(collection_key)

    def left_behind(self) -> set[int]:
        """The collections that were behind at the last look already, and have not moved since: whoever changed them
        has died, or fails."""
        behind = self._table.behind()
        stuck = self._behind.items() & behind.items()
        self._behind = behind
        return {key for key, _ in stuck}

    def doubt(self) -> None:
        """Take no index for ready before another look."""
        self._known.doubt()

    def forget(self, collection_key: int) -> None:
        """Let go of the index of a deleted collection: its vectors went with it."""
        self._let_go(collection_key)

    def keep_only(self, collection_keys: Iterable[int]) -> None:
        """Let go of the indexes of all other collections: they were deleted."""
        for key in self._known.keys() - set(collection_keys):
            self._let_go(key)

    def remove_leftovers(self) -> None:
        """Have `upkeep` look at every graph, those of deleted collections too."""
        self._known.changed(self._table.graphs())

    def upkeep(self) -> None:
        """See what other replicas did; forget replaced versions once they are many; build and drop graphs, unless
        another one does. From a thread of its own."""
        self.look()
        self.save_when_due()
        changed = self._known.take_changed()
        if not changed:
            return
        try:
            with self._table.looking_after() as is_ours:
                if is_ours:
                    self._look_after(changed)
                    changed = set()
        finally:
            self._known.changed(changed)

    def end_upkeep(self) -> None:
        """Leave off what `upkeep` is at, and begin no more of it. A graph that is half built is dropped before the next
        one is built, by whichever replica."""
        self._is_ending = True
        self._table.end_building()

    def save(self) -> None:
        """Have the store forget what no index needs any more: vectors are on disk already.

        A collection where that fails holds up no other. Raises DataDamaged, DatabaseUnavailable.
        """
        failures = []
        for index in list(self._indexes.values()):
            try:
                if index.unpurged:
                    self._purge(index.key)
                    index.unpurged = 0
            except ServiceError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def save_when_due(self, after: int | None = None) -> None:
        """Do so once enough has changed. A failure is no failure of the write that made it due."""
        if self._unpurged() < (after or self._purge_after):
            return
        try:
            self.save()
            self._purge_after = PURGE_AFTER
        except ServiceError as error:
            self._purge_after = self._unpurged() + PURGE_AFTER  # not again with every write
            log.warning("replaced versions can't be forgotten yet: %s", error)

    def clear(self) -> None:
        """Let go of every index; the table stays."""
        self._indexes.clear()

    # Along with questions

    def go_along(self, embed: Embed) -> None:
        """From now on, vectors that this model makes are written along with questions."""
        self._store.questions.along.begin(self._table, embed, self._written)

    # Inside

    def _written(self, collection_key: int) -> None:
        """See what was written along; `upkeep` forgets the versions that it replaced."""
        index = self[collection_key]
        before = index.revision
        index.look()
        index.unpurged += index.revision - before

    def _unpurged(self) -> int:
        return sum(index.unpurged for index in list(self._indexes.values()))

    def _purge(self, collection_key: int) -> None:
        if self._store.revisions.purge(collection_key, self._table.floor(collection_key)):
            self._table.forget_purged(collection_key)

    def _let_go(self, collection_key: int) -> None:
        self._indexes.pop(collection_key, None)
        self._checked_at.pop(collection_key, None)
        self._known.forget(collection_key)

    def _look_after(self, collection_keys: set[int]) -> None:
        graphs = self._table.graphs()
        for key in sorted(collection_keys):
            if self._is_ending:
                return
            state = self._known.state(key)
            has_graph = key in graphs
            is_broken = has_graph and not graphs[key]  # as nobody else builds one now
            if is_broken or (has_graph and state.size < EXACT_LIMIT // 2):
                self._table.drop_graph(key)
                has_graph = False
            if state.size > EXACT_LIMIT and not has_graph:
                log.info("building the graph of collection %d", key)
                self._table.build_graph(key, state.size)
            self._check(key, state)

    def _check(self, collection_key: int, state: IndexState) -> None:
        """Check the recall after many changes."""
        changed = state.revision - self._checked_at.get(collection_key, 0)
        is_due = state.size > EXACT_LIMIT and changed > state.size * CHECK_AFTER_SHARE
        if is_due and state.ready:
            self._checked_at[collection_key] = state.revision
            recall = self[collection_key].recall(CHECK_K, CHECK_SAMPLE)
            self._known.note_recall(collection_key, recall)
