"""Questions and pairs in, verdicts out: the one object that holds the live release and the store together.

A request reads `self._live` once and uses nothing else below it. That is replaced whole, by a release which shows
every write before it is acknowledged since it joined (`join`, `follow`, `replace`). Blocking work (SQL, tokenising,
search) runs in threads of three pools, for asking, for other reading and for writes, so that none starves another.
"""

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from time import perf_counter
from typing import Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.engine.live_release import NEAR, NEAR_SAMPLE, LiveRelease
from app.engine.models.tokens import Tokens
from app.engine.rulings import Ruling, ruling, rulings
from app.engine.scorer import Verdict, similarity
from app.engine.steps import Steps, run
from app.engine.store import Collection, Label, Labelled, Question, Store, Written
from app.engine.store import (
    NewLabel as NewLabel,
)  # for app.http, which knows nothing below this room
from app.engine.text import digest, normalize
from app.errors import (
    FieldError,
    InvalidRequest,
    ModelFailing,
    NotReady,
    Overloaded,
    SameaskError,
    Unembeddable,
)

P = ParamSpec("P")
T = TypeVar("T")

ASKING_THREADS = min(
    4, max(2, os.cpu_count() or 2)
)  # nobody waits in one; more would but pass the GIL around
READING_THREADS = 16
WRITING_THREADS = 4
RETRY_SECONDS = 1.0
VERDICTS: Sequence[Verdict] = ("duplicate", "review", "different")  # the strongest first

Verify = Literal["auto", "always", "never"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """An indexed question offered for an incoming one."""

    id: str
    text: str
    similarity: float
    probability: float
    verdict: Verdict
    label: Ruling | None  # what people said of this pair; the verdict is theirs then


@dataclass(frozen=True)
class Finding:
    """The answer for one incoming question: its best candidate's verdict, `different` being `new`."""

    question: str
    verdict: Literal["duplicate", "review", "new"]
    truncated: bool
    candidates: list[Candidate]


@dataclass
class Phases:
    """Seconds spent in each phase of one request, for the Server-Timing header."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + perf_counter() - start


@dataclass(frozen=True)
class Findings:
    """The answer of `Detector.find`: one finding for each question, all by one release at one revision."""

    release: str
    collection: str
    revision: int
    results: list[Finding]
    phases: Phases


@dataclass(frozen=True)
class Score:
    """Similarity, probability and verdict of one pair; the order of its questions makes no difference."""

    similarity: float
    probability: float
    verdict: Verdict
    label: Ruling | None = None


@dataclass(frozen=True)
class Scores:
    """The answer of `Detector.score`: one score for each pair."""

    release: str
    scores: list[Score]
    phases: Phases


@dataclass(frozen=True)
class Readiness:
    """Whether questions are answered, and how far the indexes are."""

    ready: bool
    failure: str | None
    release: str
    collections: int
    collections_ready: int
    questions: int
    questions_indexed: int
    recall: float


@dataclass(frozen=True)
class _Asked:
    """A request to `find`, looked up and tokenised: what the model has to see, and what it need not."""

    collection: Collection
    exact: dict[str, list[Question]]
    open_texts: list[str]
    tokens: list[Tokens]
    excluded: set[int]
    rulings: dict[str, dict[bytes, Ruling]]  # by text asked, and the digest of the other text


@dataclass(frozen=True)
class _Hit:
    """A stored question near one that was asked, or linked to it by a label."""

    question: Question
    similarity: np.float32


@dataclass(frozen=True)
class _Ranked:
    """What gets a score, at a revision: the hits of each open text, and those beside the exact matches of a text."""

    revision: int
    of_open: list[list[_Hit]]
    beside_exact: dict[str, list[_Hit]]


class Detector:
    """Finds and scores duplicates, and writes questions so that the next answer knows them."""

    def __init__(
        self, store: Store, live: LiveRelease, *, max_waiting_writes: int, verify_depth: int = 0
    ) -> None:
        """`verify_depth` is how many candidates of a question the pair classifier reads at most, unless told always."""
        self._store = store
        self._verify_depth = verify_depth
        self._live = live
        self._joined: LiveRelease | None = (
            None  # shows what is written, as the live one does, and will replace it
        )
        self._max_waiting_writes = max_waiting_writes
        self._waiting_writes = 0
        self._catching_up: dict[int, asyncio.Lock] = {}
        self._behind: set[int] = set()
        self._askers = ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="ask")
        self._readers = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="read")
        self._writers = ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="write")
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="upkeep")

    @property
    def live(self) -> LiveRelease:
        """The live release, for reports on it."""
        return self._live

    @contextmanager
    def _using(self) -> Iterator[LiveRelease]:
        """The live release, which is not closed before the context ends."""
        with in_use(self._live) as live:
            yield live

    # Replacing the live release

    def join(self, release: LiveRelease) -> None:
        """From now on, no write is acknowledged before this release shows it too."""
        self._joined = release

    def part(self, release: LiveRelease) -> None:
        """End what `join` began."""
        if self._joined is release:
            self._joined = None

    async def follow(self, release: LiveRelease, collection: Collection) -> None:
        """Bring the index of a release that joined to the store's revision.

        Raises ModelFailing, also when a write found that it fails; OSError when the disk is full.
        """
        if not _shows(release, collection.key, collection.revision):
            await self._write(release.reserve, collection.key)
            await self._write(release.catch_up, collection.key)
        self._check_joined(release)

    def _check_joined(self, release: LiveRelease) -> None:
        if self._joined is not release:
            raise ModelFailing("a write found that it fails")

    def replace(self, release: LiveRelease) -> LiveRelease:
        """Make the release that joined the live one, in one assignment; returns what was live.

        Since it joined, each collection has followed once: so it shows every write that was acknowledged.
        Raises ModelFailing if a write found that it fails.
        """
        self._check_joined(release)
        replaced, self._live, self._joined = self._live, release, None
        return replaced

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bring every index up to date, and keep retrying what fell behind, until the context ends."""
        tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._maintain())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for batcher in self._live.batchers:
                batcher.close()
            for pool in (self._askers, self._readers, self._writers, self._upkeep):
                pool.shutdown()
            self._live.close()

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

        A question that stands there word for word (after normalisation) is answered with its exact matches and
        what labels link to it, before any model call. Others get up to `top_k` candidates. The pair classifier
        reads the nearest ones (`auto`), all of them, or none; what it has not read is `review` at most. The strongest
        verdict and the greatest probability come first. What people said of a pair overrules its verdict, and nothing
        else of it; what they call a duplicate is offered even if no search finds it, once it is indexed.

        Raises CollectionNotFound, NotReady, Overloaded, ModelFailing, InvalidRequest (a text that can't be embedded).
        """
        with self._using() as live:
            depth = _depth(live, verify, top_k, self._verify_depth)
            live.refuse_if_full(len(questions), len(questions) * depth)
            found = self._find(
                live, questions, collection, top_k, exclude_ids, depth, every=verify == "always"
            )
            return await asyncio.wrap_future(run(self._askers, found))

    def _find(
        self,
        live: LiveRelease,
        questions: Sequence[str],
        collection: str,
        top_k: int,
        exclude_ids: Sequence[str],
        depth: int,
        *,
        every: bool,
    ) -> Steps[Findings]:
        phases = Phases()
        asked = self._look_up(live, phases, questions, collection, exclude_ids)
        places = [f"questions.{questions.index(text)}" for text in asked.open_texts]
        vectors = yield from self._embed(live, phases, asked.tokens, places)
        ranked = self._rank(live, phases, asked, vectors, top_k)
        logits = yield from self._verify(live, phases, asked, ranked.of_open, depth, every=every)
        open_findings = {
            text: _judge(
                text,
                tokens,
                _candidates(live, of_text, of_logits, asked.rulings.get(text, {}))[:top_k],
            )
            for text, tokens, of_text, of_logits in zip(
                asked.open_texts, asked.tokens, ranked.of_open, logits, strict=True
            )
        }
        beside = {
            text: _candidates(live, hits, _unread(len(hits)), asked.rulings[text])
            for text, hits in ranked.beside_exact.items()
        }
        results = [
            _exact_finding(text, asked.exact[text], beside.get(text, []), top_k)
            if text in asked.exact
            else open_findings[text]
            for text in questions
        ]
        return Findings(live.release.name, collection, ranked.revision, results, phases)

    async def score(self, pairs: Sequence[tuple[str, str]], collection: str) -> Scores:
        """How likely is each pair to be one question asked twice? Symmetric; the collection's labels overrule.

        Raises CollectionNotFound, Overloaded, ModelFailing, InvalidRequest (a text that can't be embedded).
        """
        with self._using() as live:
            different = [
                (i, pair)
                for i, pair in enumerate(pairs)
                if normalize(pair[0]) != normalize(pair[1])
            ]
            places = {
                text: f"pairs.{i}.question{side}"
                for i, pair in reversed(different)
                for side, text in ((2, pair[1]), (1, pair[0]))
            }
            live.refuse_if_full(len(places), len(different))
            scored = self._score(live, len(pairs), different, places, collection)
            return await asyncio.wrap_future(run(self._askers, scored))

    def _score(
        self,
        live: LiveRelease,
        count: int,
        different: Sequence[tuple[int, tuple[str, str]]],
        places: Mapping[str, str],
        collection: str,
    ) -> Steps[Scores]:
        """`different` are the pairs that are not one text twice, by their number; `places` has the fields of their
        texts."""
        phases = Phases()
        ruled = self._look_up_pairs(phases, collection, [pair for _, pair in different])
        tokens = self._tokenize(live, phases, list(places))
        vectors = yield from self._embed(live, phases, tokens, list(places.values()))
        row = {text: i for i, text in enumerate(places)}
        scores = [Score(1.0, 1.0, "duplicate")] * count
        if different:
            similarities = similarity(
                vectors[[row[a] for _, (a, _) in different]],
                vectors[[row[b] for _, (_, b) in different]],
            )
            logits = yield from self._logits(live, phases, [pair for _, pair in different])
            for (i, pair), score in zip(
                different, scores_of(live, similarities, logits), strict=True
            ):
                scores[i] = overruled(score, ruled.get(pair))
        return Scores(live.release.name, scores, phases)

    # Writing

    async def add(self, collection: str, questions: Sequence[tuple[str, str]]) -> Written:
        """Write (id, text) pairs, all or none; done when they are durable and the next `find` sees them.

        Raises CollectionNotFound, Overloaded, StorageFull, ModelFailing (written, but not indexed yet).
        """
        with self._admitted_write():
            return await asyncio.shield(
                self._change(self._store.questions.upsert, collection, questions)
            )

    async def remove(self, collection: str, question_id: str) -> Written:
        """Delete one question. Raises CollectionNotFound, QuestionNotFound, Overloaded, StorageFull."""
        with self._admitted_write():
            return await asyncio.shield(
                self._change(self._store.questions.delete, collection, question_id)
            )

    async def create_collection(self, name: str, max_collections: int) -> tuple[Collection, bool]:
        """The collection of this name, and whether it was made now."""
        with self._admitted_write():
            collection, created = await self._write(
                self._store.collections.create, name, max_collections
            )
            await self._catch_up(collection.key, collection.revision)
            return collection, created

    async def delete_collection(self, name: str) -> None:
        """Delete a collection, its questions and its labels. Raises CollectionNotFound, CollectionProtected."""
        with self._admitted_write():
            collection = await self._write(self._store.collections.delete, name)
            for release in self._followers():
                release.forget(collection.key)
            self._catching_up.pop(collection.key, None)
            self._behind.discard(collection.key)

    async def label(self, collection: str, said: Sequence[NewLabel]) -> Labelled:
        """Write labels, all or none; done when they are durable, and the next answer keeps to them.

        Raises CollectionNotFound, QuestionNotFound, InvalidRequest, Overloaded, StorageFull.
        """
        with self._admitted_write():
            return await asyncio.shield(self._write(self._store.labels.write, collection, said))

    async def undo_label(self, collection: str, label_id: int, by: str) -> Label:
        """End a label. Raises CollectionNotFound, LabelNotFound, LabelReplaced, Overloaded, StorageFull."""
        with self._admitted_write():
            return await asyncio.shield(
                self._write(self._store.labels.undo, collection, label_id, by)
            )

    # Reading

    async def collection(self, name: str) -> Collection:
        """Raises CollectionNotFound."""
        return await self._read(self._store.collections.get, name)

    async def list_collections(self, after: str, limit: int) -> list[Collection]:
        """Collections in the order of their names."""
        return await self._read(self._store.collections.page, after, limit)

    async def question(self, collection: str, question_id: str) -> Question:
        """Raises CollectionNotFound, QuestionNotFound."""
        return await self._read(self._store.questions.get, collection, question_id)

    async def list_questions(
        self, collection: str, after: str | None, limit: int
    ) -> list[Question]:
        """Questions in the order of their ids."""
        return await self._read(self._store.questions.page, collection, after, limit)

    async def list_labels(
        self,
        collection: str,
        after: int,
        limit: int,
        *,
        is_duplicate: bool | None = None,
        by: str | None = None,
        contradicted: bool | None = None,
        history: bool = False,
    ) -> list[Label]:
        """Labels in the order in which they were given; with `history`, those that have ended too."""
        return await self._read(
            self._store.labels.page,
            collection,
            after,
            limit,
            is_duplicate=is_duplicate,
            by=by,
            contradicted=contradicted,
            history=history,
        )

    async def contradicted_labels(self) -> int:
        """How many active labels are contradicted by another."""
        return await self._read(self._store.labels.contradicted)

    async def near_pairs(
        self, collection: str, limit: int
    ) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """((id, text), (id, text)) of the nearest stored pairs that nobody has labelled, most similar first.

        Of a large collection, those that a sample of its questions makes. Raises CollectionNotFound, NotReady.
        """
        with self._using() as live:
            return await self._read(self._unlabelled_near_pairs, live, collection, limit)

    async def quarantined(self) -> int:
        """How many stored questions could not be embedded."""
        return await self._read(self._store.questions.quarantined)

    @property
    def damaged(self) -> int:
        """How many stored rows were found damaged, and are passed over."""
        return self._store.database.damaged

    async def readiness(self) -> Readiness:
        """Whether questions are answered: the model works and every index has caught up since the start."""
        live = self._live
        collections = await self._read(self._store.collections.all)
        states = [live.state(collection.key) for collection in collections]
        failure = live.failure
        ready = failure is None and all(state.ready for state in states)
        return Readiness(
            ready=ready,
            failure=failure,
            release=live.release.name,
            collections=len(collections),
            collections_ready=sum(state.ready for state in states),
            questions=sum(collection.questions for collection in collections),
            questions_indexed=sum(state.size for state in states),
            recall=min((state.recall for state in states), default=1.0),
        )

    # Inside

    def _look_up(
        self,
        live: LiveRelease,
        phases: Phases,
        questions: Sequence[str],
        name: str,
        exclude_ids: Sequence[str],
    ) -> _Asked:
        with phases.timed("lookup"), self._store.view():
            collection = self._store.collections.get(name)
            excluded = set(self._store.questions.revisions(collection.key, exclude_ids).values())
            matches = self._store.questions.exact_matches(collection.key, questions)
            exact = {
                text: kept
                for text, found in matches.items()
                if (kept := [q for q in found if q.revision not in excluded])
            }
            ruled = rulings(self._store.labels.on(collection.key, questions))
        open_texts = [text for text in dict.fromkeys(questions) if text not in exact]
        linked = any(ruling.links for of_text in ruled.values() for ruling in of_text.values())
        if (open_texts or linked) and not live.state(collection.key).ready:
            raise NotReady(
                "the index of this collection is catching up with the store; see /readyz"
            )
        return _Asked(
            collection, exact, open_texts, self._tokenize(live, phases, open_texts), excluded, ruled
        )

    def _look_up_pairs(
        self, phases: Phases, name: str, pairs: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], Ruling]:
        """What people said of these pairs. Raises CollectionNotFound."""
        with phases.timed("lookup"), self._store.view():
            labels = self._store.labels.of(self._store.collections.get(name).key, pairs)
            return {pair: ruling(of_pair) for pair, of_pair in labels.items()}

    def _unlabelled_near_pairs(
        self, live: LiveRelease, name: str, limit: int
    ) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        key = self._store.collections.get(name).key
        found = live.near_pairs(key, NEAR * NEAR_SAMPLE)
        labelled = self._store.labels.of(
            key, [(pair.first.text, pair.second.text) for pair in found]
        )
        open_pairs = (pair for pair in found if (pair.first.text, pair.second.text) not in labelled)
        return [
            ((pair.first.id, pair.first.text), (pair.second.id, pair.second.text))
            for pair in islice(open_pairs, limit)
        ]

    def _tokenize(self, live: LiveRelease, phases: Phases, texts: Sequence[str]) -> list[Tokens]:
        with phases.timed("tokenize"):
            return live.encoder.tokenize(texts)

    def _embed(
        self, live: LiveRelease, phases: Phases, tokens: Sequence[Tokens], places: Sequence[str]
    ) -> Steps[NDArray[np.float32]]:
        """(n, d) unit vectors; a text that can't be embedded is the fault of the field in its place."""
        with phases.timed("encode"):
            outcomes = yield from live.embed_asked(tokens)
        vectors = [o for o in outcomes if not isinstance(o, Exception)]
        if len(vectors) < len(outcomes):
            raise _blame(outcomes, places)
        return np.stack(vectors) if vectors else np.empty((0, live.encoder.dimension), np.float32)

    def _rank(
        self,
        live: LiveRelease,
        phases: Phases,
        asked: _Asked,
        vectors: NDArray[np.float32],
        top_k: int,
    ) -> _Ranked:
        """What is there and not excluded: the nearest of each open text, and what labels link to a text."""
        linked = self._linked(
            live, phases, asked, dict(zip(asked.open_texts, vectors, strict=True))
        )
        beside_exact = {text: hits for text, hits in linked.items() if text in asked.exact}
        if not asked.open_texts:
            return _Ranked(asked.collection.revision, [], beside_exact)
        key = asked.collection.key
        with phases.timed("search"):
            aside = max(map(len, asked.rulings.values()), default=0)  # these take no other's place
            revision, found = live.search(
                key, vectors, top_k + len(asked.excluded) + min(aside, top_k)
            )
        with phases.timed("read"):
            stored = self._store.questions.read(
                key, [revision for hits in found for revision in hits.revisions]
            )
        near = [
            [
                _Hit(stored[revision], similarity)
                for revision, similarity in zip(hits.revisions, hits.similarities, strict=True)
                if revision in stored and revision not in asked.excluded
            ]
            for hits in found
        ]
        of_open = [
            _merged(of_text, linked.get(text, []), asked.rulings.get(text, {}), top_k)
            for text, of_text in zip(asked.open_texts, near, strict=True)
        ]
        return _Ranked(revision, of_open, beside_exact)

    def _linked(
        self,
        live: LiveRelease,
        phases: Phases,
        asked: _Asked,
        vectors: Mapping[str, NDArray[np.float32]],
    ) -> dict[str, list[_Hit]]:
        """For each text, what labels link to it, of what is indexed. A text without a vector of its own here is
        stored word for word: the vector of an exact match does for it, so that the model is not asked."""
        links = {
            text: [other for other, ruling in of_text.items() if ruling.links]
            for text, of_text in asked.rulings.items()
        }
        if not any(links.values()):
            return {}
        key = asked.collection.key
        with phases.timed("read"):
            found = self._store.questions.with_digests(
                key, list({other for others in links.values() for other in others})
            )
            known = (*found.values(), *asked.exact.values())
            indexed = live.vectors(
                key, [question.revision for questions in known for question in questions]
            )
        exact = {
            text: indexed[match.revision]
            for text, matches in asked.exact.items()
            for match in matches
            if match.revision in indexed
        }
        own = {**exact, **vectors}
        return {
            text: [
                _Hit(question, similarity(own[text][None], indexed[question.revision][None])[0])
                for other in others
                for question in found.get(other, ())
                if question.revision in indexed and question.revision not in asked.excluded
            ]
            for text, others in links.items()
            if text in own
        }

    def _verify(
        self,
        live: LiveRelease,
        phases: Phases,
        asked: _Asked,
        hits: Sequence[Sequence[_Hit]],
        depth: int,
        *,
        every: bool,
    ) -> Steps[list[NDArray[np.float32]]]:
        """The pair classifier's logit for each hit, NaN where it has not read the pair."""
        found = [_unread(len(of_text)) for of_text in hits]
        if not depth:
            return found
        places = [
            (i, j)
            for i, of_text in enumerate(hits)
            for j, is_open in enumerate(
                live.scorer.is_open(_similarities(of_text if every else of_text[:depth]))
            )
            if every or is_open
        ][
            : len(hits) * depth
        ]  # no more than the queue was asked about, however many labels link or set aside
        pairs = [(asked.open_texts[i], hits[i][j].question.text) for i, j in places]
        logits = yield from self._logits(live, phases, pairs)
        for (i, j), logit in zip(places, logits, strict=True):
            found[i][j] = logit
        return found

    def _logits(
        self, live: LiveRelease, phases: Phases, pairs: Sequence[tuple[str, str]]
    ) -> Steps[NDArray[np.float32]]:
        """The pair classifier's logits (n,), NaN without a classifier. Raises ModelFailing, Overloaded."""
        if not pairs or not live.classifier:
            return _unread(len(pairs))
        with phases.timed("tokenize"):
            tokens = live.classifier.tokenize(pairs)
        with phases.timed("verify"):
            yield (reading := live.read_pairs(tokens))
        outcomes = reading.result()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome if isinstance(outcome, SameaskError) else ModelFailing(str(outcome))
        return np.array(outcomes, dtype=np.float32)

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

    async def _change(
        self, change: Callable[P, Written], *args: P.args, **kwargs: P.kwargs
    ) -> Written:
        """Commit a change and wait until the index shows it, whether or not the writer still waits."""
        written = await self._write(change, *args, **kwargs)
        await self._catch_up(written.collection.key, written.revision)
        return written

    async def _catch_up(self, collection_key: int, revision: float) -> None:
        """Wait until the index shows `revision`, that of the live release and of one that joined. Of many writers who
        wait, the first catches up for all.

        Which releases these are is asked again after each: the live one may have been replaced meanwhile.
        """
        async with self._catching_up.setdefault(collection_key, asyncio.Lock()):
            tried: list[LiveRelease] = []
            while behind := [
                r
                for r in self._followers()
                if r not in tried and not _shows(r, collection_key, revision)
            ]:
                tried.append(behind[0])
                await self._catch_up_one(behind[0], collection_key)
            self._behind.discard(collection_key)

    async def _catch_up_one(self, release: LiveRelease, collection_key: int) -> None:
        """A failure counts where the release is live; one that joined is left out from then on."""
        try:
            with in_use(release):
                if release is self._joined:
                    await self._write(release.reserve, collection_key)
                await self._write(release.catch_up, collection_key)
        except Exception as error:
            if release is self._live:
                self._behind.add(collection_key)
                raise
            log.warning("%s can't be made live: %s", release.release.name, error)
            self.part(release)

    def _followers(self) -> list[LiveRelease]:
        """Those whose indexes show a write before it is acknowledged."""
        return [self._live, self._joined] if self._joined else [self._live]

    async def _keep_up(self) -> None:
        collections = await self._write(self._store.collections.all)
        self._behind.update(collection.key for collection in collections)
        while True:
            for key in sorted(self._behind):
                try:
                    await self._catch_up(key, math.inf)  # whatever there is
                except SameaskError as error:
                    log.warning("collection %d is behind: %s", key, error)
                except Exception:
                    log.exception("collection %d is behind", key)
            await asyncio.sleep(RETRY_SECONDS)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self._maintain_live()
            except Exception:
                log.exception("the upkeep of the indexes failed; it is tried again")

    async def _maintain_live(self) -> None:
        with self._using() as live:
            await asyncio.get_running_loop().run_in_executor(self._upkeep, live.upkeep)

    async def _read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, lambda: function(*args, **kwargs)
        )

    async def _write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._writers, lambda: function(*args, **kwargs)
        )


@contextmanager
def in_use(release: LiveRelease) -> Iterator[LiveRelease]:
    """The release, counted among those that somebody uses."""
    release.users += 1
    try:
        yield release
    finally:
        release.users -= 1


def _shows(release: LiveRelease, collection_key: int, revision: float) -> bool:
    state = release.state(collection_key)
    return state.ready and state.revision >= revision


def _exact_finding(
    text: str, matches: Sequence[Question], linked: Sequence[Candidate], top_k: int
) -> Finding:
    exact = [
        Candidate(match.id, match.text, 1.0, 1.0, "duplicate", label=None) for match in matches
    ]
    return Finding(text, "duplicate", truncated=False, candidates=[*exact, *linked][:top_k])


def _depth(live: LiveRelease, verify: Verify, top_k: int, auto_depth: int) -> int:
    """How many candidates of a question the classifier may have to read. Raises InvalidRequest if there is none."""
    if not live.classifier:
        if verify == "always":
            raise InvalidRequest(
                FieldError("verify", "is 'always', but the live release has no pair classifier")
            )
        return 0
    return {"always": top_k, "auto": min(top_k, auto_depth), "never": 0}[verify]


def _similarities(hits: Sequence[_Hit]) -> NDArray[np.float32]:
    return np.array([hit.similarity for hit in hits], dtype=np.float32)


def _unread(count: int) -> NDArray[np.float32]:
    """The logits of pairs that the classifier has not read."""
    return np.full(count, np.nan, dtype=np.float32)


def _merged(
    near: Sequence[_Hit], linked: Sequence[_Hit], ruled: Mapping[bytes, Ruling], top_k: int
) -> list[_Hit]:
    """What of an open text gets a score, most similar first: all that labels link to it and the nearest others, up
    to `top_k` together; beside them the nearest that labels call different, so that these take no other's place."""
    if not ruled:
        return list(near[:top_k])
    known = {hit.question.id for hit in linked}
    others = [hit for hit in near if hit.question.id not in known]
    is_labelled = [digest(hit.question.text) in ruled for hit in others]
    unlabelled = [hit for hit, labelled in zip(others, is_labelled, strict=True) if not labelled]
    aside = [hit for hit, labelled in zip(others[:top_k], is_labelled, strict=False) if labelled]
    return sorted(
        [*linked, *unlabelled[: max(top_k - len(linked), 0)], *aside],
        key=lambda hit: -hit.similarity,
    )


def _candidates(
    live: LiveRelease,
    hits: Sequence[_Hit],
    logits: NDArray[np.float32],
    ruled: Mapping[bytes, Ruling],
) -> list[Candidate]:
    """The hits with their scores: strongest verdict first, then by probability, then by similarity."""
    candidates = [
        _candidate(
            hit.question, overruled(score, ruled.get(digest(hit.question.text)) if ruled else None)
        )
        for hit, score in zip(hits, scores_of(live, _similarities(hits), logits), strict=True)
    ]
    return sorted(
        candidates, key=lambda c: (VERDICTS.index(c.verdict), -c.probability, -c.similarity)
    )


def _candidate(question: Question, score: Score) -> Candidate:
    return Candidate(
        question.id, question.text, score.similarity, score.probability, score.verdict, score.label
    )


def overruled(score: Score, ruling: Ruling | None) -> Score:
    """The score with the verdict of what people said, if they said anything."""
    return replace(score, verdict=ruling.verdict, label=ruling) if ruling else score


def scores_of(
    live: LiveRelease, similarities: NDArray[np.float32], logits: NDArray[np.float32]
) -> list[Score]:
    """By similarity alone where the logit is NaN, by both where the classifier has read the pair."""
    judged = zip(similarities, live.scorer.judge(similarities, logits), strict=True)
    return [
        Score(float(similarity), probability, verdict)
        for similarity, (probability, verdict) in judged
    ]


def _judge(text: str, tokens: Tokens, candidates: list[Candidate]) -> Finding:
    best = candidates[0].verdict if candidates else "different"
    return Finding(text, "new" if best == "different" else best, tokens.truncated, candidates)


def _blame(outcomes: Sequence[object], places: Sequence[str]) -> Exception:
    """What to raise for a batch with failures: the texts at fault by their fields, else the model's failure."""
    failures = [
        (place, o) for place, o in zip(places, outcomes, strict=True) if isinstance(o, Exception)
    ]
    for _, failure in failures:
        if isinstance(failure, SameaskError) and not isinstance(failure, Unembeddable):
            return failure
    return InvalidRequest(
        *(FieldError(place, "can't be embedded by the model") for place, _ in failures)
    )
