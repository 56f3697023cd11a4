"""Questions and pairs in, verdicts out: the one object that holds the live release and the store together.

A request reads the live release once and uses nothing else below it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from app.background import background_tasks, in_thread, is_cancelled, repeat, to_its_end
from app.engine.asking import Embed, Embeddings
from app.engine.coroutines import run
from app.engine.finding import Find
from app.engine.findings import Findings
from app.engine.following import Following
from app.engine.live_release import LiveRelease
from app.engine.pair_scores import Score, Scores
from app.engine.query import Bounds, Query, Verify
from app.engine.store import Collection, Label, Labelled, NewLabel, Store, Written
from app.engine.stored_pairs import labels_on, unlabelled_pairs
from app.errors import NotReady, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

ASKING_THREADS = min(4, max(2, os.cpu_count() or 2))  # nobody waits in one; see docs/decisions/0017
READING_THREADS = 16
WRITING_THREADS = 4
IMPORTS_AT_ONCE = 8  # each waits for the model, most of the time
EMBEDDING_THREADS = IMPORTS_AT_ONCE + 4  # for what is made, deleted or forgotten meanwhile
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Readiness:
    """Whether questions are answered, and how far the indexes are."""

    ready: bool
    failure: str | None
    refused: str | None  # why the release that was made live last is not the one that answers
    release: str
    languages: Sequence[str]
    collections: int
    collections_ready: int
    questions: int
    questions_indexed: int
    recall: float


@dataclass(frozen=True)
class Reading:
    """The model's reading of some texts."""

    truncated: int = 0  # texts that it does not read to their end
    tokens: int = 0
    unknown: int = 0  # tokens that stand for what it can't read

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(
            self.truncated + other.truncated,
            self.tokens + other.tokens,
            self.unknown + other.unknown,
        )


class Threads:
    """Threads for blocking work (SQL, tokenising, search), in pools by what it is for, so that none starves another."""

    def __init__(self) -> None:
        self.asking = ThreadPoolExecutor(ASKING_THREADS, "ask")
        self.reading = ThreadPoolExecutor(READING_THREADS, "read")
        self.writing = ThreadPoolExecutor(WRITING_THREADS, "write")
        self.embedding = ThreadPoolExecutor(EMBEDDING_THREADS, "embed")  # what was written
        self.upkeep = ThreadPoolExecutor(1, "upkeep")

    def shutdown(self) -> None:
        """Wait for what they are at, and end them."""
        for pool in (self.asking, self.reading, self.writing, self.embedding, self.upkeep):
            pool.shutdown()


class Detector:
    """Finds and scores duplicates, and writes questions so that the next answer knows them."""

    def __init__(
        self,
        store: Store,
        live: LiveRelease,
        *,
        max_waiting_writes: int,
        bounds: Bounds | None = None,
    ) -> None:
        """`bounds` are those of one request for duplicates."""
        self.store = store
        self._bounds = bounds or Bounds()
        self._max_waiting_writes = max_waiting_writes
        self._waiting_writes = 0
        self._threads = Threads()
        self._importing = asyncio.Semaphore(IMPORTS_AT_ONCE)
        self.following = Following(store, live, self._threads.embedding)
        self.on_labels: Callable[[str, Sequence[int]], None] = lambda *_: None  # is told of changes

    @property
    def live(self) -> LiveRelease:
        """The live release, for reports on it."""
        return self.following.live

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bring every index up to date, and keep retrying what fell behind, until the context ends."""
        try:
            upkeep = repeat(self._look_after, RETRY_SECONDS, "the upkeep of the indexes failed")
            async with background_tasks(upkeep), self.following.running(RETRY_SECONDS):
                yield
        finally:
            self.live.indexes.end_upkeep()
            self.live.models.close()
            self._threads.shutdown()
            self.live.close()

    # Asking

    async def find(
        self,
        questions: Sequence[str],
        collection: str,
        top_k: int,
        exclude_ids: Sequence[str] = (),
        verify: Verify = "auto",
    ) -> Findings:
        """Has each of these been asked before in the collection?

        A question whose visible words stand there is answered with its exact matches and what labels link to it, before
        any model call. Others get up to `top_k` candidates. The pair classifier reads the nearest ones (`auto`), all of
        them, or none; what it has not read is `review` at most. The strongest verdict and the greatest probability come
        first. What people said of a pair overrules its verdict, and nothing else of it; what they call a duplicate is
        offered even if no search finds it, once it is indexed.

        Raises CollectionNotFound, NotReady, Overloaded, ModelFailing, InvalidRequest (a text that can't be embedded).
        """
        query = Query(questions, collection, top_k, exclude_ids, verify)
        with self.live.in_use() as live:
            find = Find(self.store, live, query, self._bounds)
            find.refuse_if_full()
            return await asyncio.wrap_future(run(self._threads.asking, find.answer()))

    async def score(self, pairs: Sequence[tuple[str, str]], collection: str) -> Scores:
        """How likely is each pair to be one question asked twice? Symmetric; the collection's labels overrule.

        Raises CollectionNotFound, Overloaded, ModelFailing, InvalidRequest (a text that can't be embedded).
        """
        with self.live.in_use() as live:
            score = Score(self.store, live, pairs, collection, self._bounds)
            score.refuse_if_full()
            return await asyncio.wrap_future(run(self._threads.asking, score.answer()))

    async def embed(self, texts: Sequence[str], release: str | None = None) -> Embeddings:
        """Unit vectors of texts, by the live release, which must be `release` if that is given.

        Raises ReleaseNotLive, Overloaded, ModelFailing, InvalidRequest (a text that can't be embedded).
        """
        with self.live.in_use() as live:
            embed = Embed(live, texts, release, self._bounds)
            embed.refuse_if_full()
            return await asyncio.wrap_future(run(self._threads.asking, embed.answer()))

    async def reading_of(self, texts: Sequence[str]) -> Reading:
        """How the live release reads these texts: which it cuts, and tokens that it can't read."""
        tokens = await self.read(self.live.models.encoder.tokenize, texts) if texts else []
        return Reading(
            sum(text.truncated for text in tokens),
            sum(text.count for text in tokens),
            sum(text.unknown for text in tokens),
        )

    # Writing

    async def add(self, collection: str, questions: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs, all or none; done when they are durable and the next `find` sees them.

        Raises CollectionNotFound, Overloaded, StorageFull; ModelFailing, NotReady (written, but not indexed yet).
        """
        upsert = self.store.questions.upsert  # it may wait for the model, where vectors are stored
        with self._admitted_write():
            async with self._importing:
                return await self._change(
                    in_thread(self._threads.embedding, upsert, collection, questions)
                )

    async def remove(self, collection: str, question_id: str) -> Written:
        """Delete one question. Raises CollectionNotFound, QuestionNotFound, Overloaded, StorageFull, NotReady."""
        with self._admitted_write():
            delete = self.store.questions.delete
            return await self._change(
                in_thread(self._threads.writing, delete, collection, question_id)
            )

    async def create_collection(
        self, name: str, max_collections: int, wishes: Mapping[str, Any] | None = None
    ) -> tuple[Collection, bool]:
        """The collection of this name with these wishes, and whether it was made now."""
        with self._admitted_write():
            collection, created = await self._write(
                self.store.collections.create, name, max_collections, wishes
            )
            await self._shown(collection.key, collection.revision)
            return collection, created

    async def delete_collection(self, name: str) -> None:
        """Delete a collection, its questions and its labels. Raises CollectionNotFound, CollectionProtected."""
        with self._admitted_write():
            collection = await self._write(self.store.collections.delete, name)
            await to_its_end(self.following.forget(collection.key))

    async def label(self, collection: str, labels: Sequence[NewLabel]) -> Labelled:
        """Write labels, all or none; done when they are durable, and the next answer keeps to them.

        Raises CollectionNotFound, QuestionNotFound, InvalidRequest, Overloaded, StorageFull.
        """
        with self._admitted_write():
            labelled = await self._write(self.store.labels.write, collection, labels)
            self.on_labels(collection, [given.id for given in labelled.labels])
            return labelled

    async def undo_label(
        self, collection: str, label_id: int, by: str, *, own_only: bool = False
    ) -> Label:
        """End a label; `own_only`: one that `by` gave.

        Raises CollectionNotFound, LabelNotFound, LabelReplaced, SpeaksForItself, Overloaded, StorageFull.
        """
        with self._admitted_write():
            undo = self.store.labels.undo
            label = await self._write(undo, collection, label_id, by, own_only=own_only)
            self.on_labels(collection, [label.id])
            return label

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that changes the store, and no index has to learn of it. Raises Overloaded, StorageFull."""
        with self._admitted_write():
            return await self._write(function, *args, **kwargs)

    # Reading

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads the store, in a thread that no asker needs."""
        return await in_thread(self._threads.reading, function, *args, **kwargs)

    async def labels_on(
        self, collection: str, pairs: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[Label]]:
        """For each pair of texts, the active labels that decide on it; none: absent. Raises CollectionNotFound."""
        return await self.read(labels_on, self.store, collection, pairs)

    async def near_pairs(
        self, collection: str, limit: int
    ) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """((id, text), (id, text)) of the nearest stored pairs that nobody has labelled, most similar first.

        Of a large collection, those that a sample of its questions makes. Raises CollectionNotFound, NotReady.
        """
        key = (await self.read(self.store.collections.get, collection)).key
        with self.live.in_use() as live:
            pairs = await self.read(unlabelled_pairs, self.store, key, live.index(key), limit)
        return [
            ((pair.first.id, pair.first.text), (pair.second.id, pair.second.text)) for pair in pairs
        ]

    async def readiness(self) -> Readiness:
        """Whether questions are answered: the model works and every index has caught up since the start."""
        live = self.live
        stored = await self.read(self.store.collections.totals)
        indexed = await self.read(live.indexes.look)
        # One that is deleted is forgotten a little later.
        ready = min(indexed.ready, stored.collections)
        failure = live.models.failure
        return Readiness(
            ready=failure is None and ready == stored.collections,
            failure=failure,
            refused=self.following.refused,
            release=live.release.name,
            languages=live.release.languages,
            collections=stored.collections,
            collections_ready=ready,
            questions=stored.questions,
            questions_indexed=indexed.questions,
            recall=indexed.recall,
        )

    # Inside

    @contextmanager
    def _admitted_write(self) -> Iterator[None]:
        if self._waiting_writes >= self._max_waiting_writes:
            raise Overloaded(
                1, f"{self._waiting_writes} writes are under way, the most that may be"
            )
        self._waiting_writes += 1
        try:
            yield
        finally:
            self._waiting_writes -= 1

    async def _change(self, change: Awaitable[Written]) -> Written:
        """Commit a change and wait until the index shows it."""
        written = await to_its_end(change)
        await self._shown(written.collection.key, written.revision)
        return written

    async def _write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Commit a change, and say how that went, even where the server ends meanwhile."""
        return await to_its_end(in_thread(self._threads.writing, function, *args, **kwargs))

    async def _shown(self, collection_key: int, revision: int) -> None:
        """Wait until the indexes show a change that is committed, whether or not the writer still waits.

        Where the server ends meanwhile it is acknowledged all the same: a later one answers nothing before it shows it.
        But other servers over the same store answer already: then it raises NotReady.
        """
        if is_cancelled():
            self.following.put_off(collection_key)
        else:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self.following.show(collection_key, revision))
        if self.store.is_shared and is_cancelled():
            raise NotReady("it is written, but other servers may not find it yet: this one ends")

    async def _look_after(self) -> None:
        with self.live.in_use() as live:
            await in_thread(self._threads.upkeep, live.indexes.upkeep)
