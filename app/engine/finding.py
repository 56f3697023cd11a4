"""Texts in, findings out: the work of one request for duplicates, from its look-up to its answer.

The coroutines run in the askers' threads (`app.engine.coroutines`): between two of their awaits they may block.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.asked import Asked, Vectors
from app.engine.asking import Models, Phases
from app.engine.index.hit import Hit
from app.engine.live_release import LiveRelease
from app.engine.query import READ_AT_ONCE, Bounds, Query
from app.engine.reasons import Reason
from app.engine.rulings import Ruling, by_other
from app.engine.scorer import Verdict, similarity
from app.engine.store import Collection, Copies, Question, Store
from app.engine.text import Words
from app.engine.verdicts import Judge, Judgement, Pair, unread
from app.errors import FieldError, InvalidRequest

MORE = 4  # times as many hits are looked at, where copies of a text take the places of others
MOST_HITS = 2048
LINKED_AT_ONCE = 16  # texts that labels link to one that is asked


@dataclass(frozen=True)
class Candidate:
    """An indexed text offered for an incoming one, the questions that it stands under, and the judgement of the two."""

    question: Question
    judgement: Judgement
    copies: Copies

    @property
    def id(self) -> str:
        return self.copies.ids[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return self.copies.ids

    @property
    def id_count(self) -> int:
        return self.copies.count

    @property
    def text(self) -> str:
        return self.question.text

    @property
    def similarity(self) -> float:
        return self.judgement.similarity

    @property
    def probability(self) -> float:
        return self.judgement.probability

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def read(self) -> bool:
        return self.judgement.is_read

    @property
    def truncated(self) -> bool:
        return self.judgement.truncated2

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.judgement.reasons

    @property
    def label(self) -> Ruling | None:
        return self.judgement.label

    def without_names(self) -> "Candidate":
        """The same, for those who are not to know who labels."""
        return replace(self, judgement=self.judgement.without_names())


@dataclass(frozen=True)
class Finding:
    """The answer for one incoming question: its best candidate's verdict, `different` being `new`."""

    question: str
    verdict: Literal["duplicate", "review", "new"]
    truncated: bool
    candidates: list[Candidate]


@dataclass(frozen=True)
class Findings:
    """The answer of `Find`: one finding for each question, all by one release at one revision."""

    release: str
    collection: str
    revision: int
    results: list[Finding]
    phases: Phases

    def without_names(self) -> "Findings":
        """The same, for those who are not to know who labels."""
        results = []
        for finding in self.results:
            nameless = [candidate.without_names() for candidate in finding.candidates]
            results.append(replace(finding, candidates=nameless))
        return replace(self, results=results)


class Find:
    """One request for duplicates: texts in, findings out.

    A text whose visible words stand in the collection is answered with these questions and what labels link to it,
    before any model call. The others are open: they are embedded and searched.
    """

    def __init__(self, store: Store, live: LiveRelease, query: Query, bounds: Bounds) -> None:
        """Raises InvalidRequest where the query needs a pair classifier and the release has none."""
        self._store = store
        self._live = live
        self._query = query
        self._depth = _depth(live, query, bounds.verify_depth)
        self._bounds = bounds
        self._judge = Judge(live.scorer, live.reader)  # until the collection is looked up
        self._phases = Phases()
        self._models = Models(live, self._phases, bounds.tokens("questions"))
        self._asked: dict[str, Asked] = {}  # by text
        self._excluded: set[int] = set()  # revisions
        self._stored: dict[int, Question] = {}  # by revision, the questions that were hit
        self._copies: dict[str, Copies] = {}  # by the text of a candidate

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts and pairs would not fit now."""
        count = len(self._query.texts)
        self._live.refuse_if_full(count, count * self._depth)

    async def answer(self) -> Findings:
        """The answer. Raises CollectionNotFound, NotReady, Overloaded, ModelFailing, InvalidRequest."""
        collection = self._look_up()
        self._judge = Judge(
            self._live.scorer, self._live.reader, self._live.thresholds(collection.key)
        )
        texts = list(self._asked.values())
        open_texts = [asked for asked in texts if not asked.exact]
        is_linked = any(asked.linked for asked in texts)
        if open_texts or is_linked:
            self._live.index(collection.key)  # or NotReady
        await self._embed(open_texts)
        if is_linked:
            self._link(collection.key, texts)
        revision = collection.revision
        if open_texts:
            revision = self._search(collection.key, open_texts)
        self._refuse_if_large()
        if self._depth:
            await self._read(open_texts)
        self._count_copies(collection.key, texts)
        findings = {asked.words.text: self._finding(asked) for asked in texts}
        return Findings(
            release=self._live.release.name,
            collection=self._query.collection,
            revision=revision,
            results=[findings[text] for text in self._query.texts],
            phases=self._phases,
        )

    def _look_up(self) -> Collection:
        """Find the collection, and what stands there of each distinct text, all of one moment."""
        texts = self._query.texts
        with self._phases.timed("lookup"), self._store.view():
            collection = self._store.collections.get(self._query.collection)
            excluded = self._store.questions.revisions(collection.key, self._query.exclude_ids)
            for number, text in enumerate(texts):
                if text not in self._asked:
                    self._asked[text] = Asked(Words.of(text), f"questions.{number}")
            self._excluded.update(excluded.values())
            words = [asked.words for asked in self._asked.values()]
            labels = self._store.labels.on(collection.key, words)
            for text, asked in self._asked.items():
                asked.labels = by_other(asked.words, labels.get(text, ()))
            self._find_same_words(collection.key)
        return collection

    def _find_same_words(self, key: int) -> None:
        """Give each text its exact matches, as many as it can be answered with. Raises AnswerTooLarge."""
        askers: dict[bytes, list[Asked]] = {}
        for asked in self._asked.values():
            askers.setdefault(asked.words.digest, []).append(asked)
        taken = 0
        for question in self._kept(self._store.questions.with_digests(key, list(askers))):
            for asked in askers[question.digest]:
                taken += asked.add_same_words(question, self._query.top_k)
            if taken >= READ_AT_ONCE:
                taken = 0
                self._refuse_if_large()

    async def _embed(self, open_texts: Sequence[Asked]) -> None:
        tokens = self._models.tokenize([asked.words.text for asked in open_texts])
        places = [asked.place for asked in open_texts]
        vectors = await self._models.embed(tokens, places)
        for asked, of_text, vector in zip(open_texts, tokens, vectors, strict=True):
            asked.truncated = of_text.truncated
            asked.vector = vector

    def _link(self, key: int, texts: Sequence[Asked]) -> None:
        """Add to each text the questions that labels link to it, if they are indexed."""
        with self._phases.timed("read"):
            linked = self._find_linked(key, texts)
            questions = list(chain(*linked.values()))
            for asked in texts:
                questions += asked.exact
            indexed = self._live.index(key).vectors([question.revision for question in questions])
        for asked in texts:
            self._add_links(asked, linked, indexed)
            asked.hits = list(asked.links)

    def _find_linked(self, key: int, texts: Sequence[Asked]) -> dict[bytes, list[Question]]:
        """By loose digest, the questions that labels link to a text: of each text the oldest, no more than may be
        read for an answer."""
        askers: dict[bytes, list[Asked]] = {}
        for asked in texts:
            for other in asked.linked:
                askers.setdefault(other, []).append(asked)
        linked: dict[str, Question] = {}
        for question in self._kept(self._store.questions.with_digests(key, list(askers), "loose")):
            known = linked.get(question.text)
            if known and known.revision < question.revision:
                continue
            rulings = [asked.ruling(question) for asked in askers[question.loose]]
            if any(ruling and ruling.links for ruling in rulings):
                linked[question.text] = question
            if len(linked) % LINKED_AT_ONCE == 0 and not self._bounds.may_read(linked):
                break
        by_digest: dict[bytes, list[Question]] = {}
        for question in linked.values():
            by_digest.setdefault(question.loose, []).append(question)
        return by_digest

    def _add_links(
        self,
        asked: Asked,
        linked: Mapping[bytes, Sequence[Question]],
        indexed: Mapping[int, Vectors],
    ) -> None:
        """A text that is stored word for word has the vector of an exact match: the model is not asked."""
        own = asked.vector
        for question in asked.exact:
            own = indexed.get(question.revision, own)
        if own is None:
            return
        offered = {question.text for question in asked.exact}
        for other in asked.linked:
            for question in self._kept(linked.get(other, ())):
                ruling = asked.ruling(question)
                vector = indexed.get(question.revision)
                is_linked = ruling is not None and ruling.links
                if is_linked and question.text not in offered and vector is not None:
                    offered.add(question.text)
                    near = similarity(own[None], vector[None])
                    asked.links.append(Hit(question.revision, float(near[0])))
                    self._stored[question.revision] = question

    def _search(self, key: int, open_texts: Sequence[Asked]) -> int:
        """Add the nearest texts that are there and not excluded to each text; returns the revision searched.

        Where copies of a text take the places of others, more are searched for.
        """
        ruled = max(len(asked.labels) for asked in open_texts)  # these take no other's place
        count = self._query.top_k + len(self._excluded) + min(ruled, self._query.top_k)
        lacking, revision = self._search_for(key, open_texts, count)
        while lacking and count < MOST_HITS:
            count = min(MORE * count, MOST_HITS)
            lacking, _ = self._search_for(key, lacking, count)
        return revision

    def _search_for(
        self, key: int, open_texts: Sequence[Asked], count: int
    ) -> tuple[list[Asked], int]:
        """Choose among the `count` nearest of each text; those that lack some although there are more, and the
        revision searched."""
        vectors = np.stack([asked.vector for asked in open_texts if asked.vector is not None])
        with self._phases.timed("search"):
            revision, found = self._live.index(key).search(vectors, count)
        near: list[list[Hit]] = []
        for hits in found:
            offered = [hit for hit in hits if hit.revision not in self._excluded]
            near.append(offered[: count - len(self._excluded)])
        with self._phases.timed("read"):
            revisions = [hit.revision for hits in near for hit in hits]
            unread_yet = [revision for revision in revisions if revision not in self._stored]
            self._stored.update(self._bounds.read(self._store, key, unread_yet))
        lacking = []
        for asked, hits, all_hits in zip(open_texts, near, found, strict=True):
            asked.hits, is_filled = self._chosen(asked, hits)
            if not is_filled and len(all_hits) == count:
                lacking.append(asked)
        return lacking, revision

    def _refuse_if_large(self) -> None:
        """Raise AnswerTooLarge if the candidates' texts are more than an answer may hold."""
        offered: list[Question] = []
        for text in self._query.texts:
            asked = self._asked[text]
            questions = [*asked.exact, *(self._stored[hit.revision] for hit in asked.hits)]
            offered += questions[: self._query.top_k]
        self._bounds.refuse_if_large(offered)

    def _chosen(self, asked: Asked, near: Sequence[Hit]) -> tuple[list[Hit], bool]:
        """The hits of an open text that are judged, most similar first, each of another text: all that labels link to
        it and the nearest others, up to `top_k` together; and whether there are as many.

        Beside them are the nearest that labels call different, so that these take no other's place.
        """
        chosen = list(asked.links)
        texts = {self._stored[hit.revision].text for hit in chosen}
        room = self._query.top_k - len(chosen)
        looked_at = 0
        for hit in near:
            question = self._stored.get(hit.revision)
            if question is None or question.text in texts:
                continue
            texts.add(question.text)
            if asked.ruling(question):
                if looked_at < self._query.top_k:
                    chosen.append(hit)
            elif room > 0:
                chosen.append(hit)
                room -= 1
            looked_at += 1
        return sorted(chosen, key=lambda hit: -hit.similarity), room <= 0

    async def _read(self, open_texts: Sequence[Asked]) -> None:
        """Let the pair classifier read the nearest hits, or all: never more than the queue was asked about, however
        many labels link or set aside. Each text's nearest come first: of long ones there may be too many tokens."""
        places: list[tuple[Asked, int]] = []
        for asked in open_texts:
            places += [(asked, place) for place in self._places_to_read(asked)]
        places.sort(key=lambda of_hit: of_hit[1])
        del places[len(open_texts) * self._depth :]
        pairs = []
        for asked, place in places:
            question = self._stored[asked.hits[place].revision]
            pairs.append((asked.words.text, question.text))
        is_auto = self._query.verify == "auto"
        logits = await self._models.read(pairs, may_leave_some=is_auto)
        for (asked, place), logit in zip(places, logits.tolist(), strict=True):
            asked.logits[place] = logit

    def _places_to_read(self, asked: Asked) -> list[int]:
        if self._query.verify == "always":
            return list(range(len(asked.hits)))
        nearest = _similarities(asked.hits[: self._depth])
        return list(np.flatnonzero(self._live.scorer.is_open(nearest)))

    def _finding(self, asked: Asked) -> Finding:
        same = []
        for question in asked.exact[: self._query.top_k]:
            judgement = self._judge.judge_same_words(self._pair(asked, question))
            same.append(self._candidate(question, judgement))
        same.sort(key=lambda candidate: candidate.judgement.rank)
        candidates = [*same, *self._judged(asked)][: self._query.top_k]
        best = candidates[0].verdict if candidates else "different"
        verdict = "new" if best == "different" else best
        return Finding(asked.words.text, verdict, asked.truncated, candidates)

    def _judged(self, asked: Asked) -> list[Candidate]:
        """The hits as candidates, strongest verdict first, then by probability, then by similarity."""
        if not asked.hits:
            return []
        questions = [self._stored[hit.revision] for hit in asked.hits]
        pairs = [self._pair(asked, question) for question in questions]
        logits = unread(len(pairs))
        for place, logit in asked.logits.items():
            logits[place] = logit
        judgements = self._judge.judge(pairs, _similarities(asked.hits), logits)
        candidates = list(map(self._candidate, questions, judgements))
        return sorted(candidates, key=lambda candidate: candidate.judgement.rank)

    def _count_copies(self, key: int, texts: Sequence[Asked]) -> None:
        """Look up the questions that each text which is offered stands under."""
        offered: list[Question] = []
        for asked in texts:
            offered += asked.exact[: self._query.top_k]
            offered += [self._stored[hit.revision] for hit in asked.hits]
        with self._phases.timed("read"):
            self._copies = self._store.questions.copies(key, offered, self._excluded)

    def _candidate(self, question: Question, judgement: Judgement) -> Candidate:
        copies = self._copies.get(question.text) or Copies((question.id,), 1)
        return Candidate(question, judgement, copies)

    def _pair(self, asked: Asked, question: Question) -> Pair:
        return Pair(asked.words, question, asked.ruling(question))

    def _kept(self, questions: Iterable[Question]) -> Iterator[Question]:
        return (question for question in questions if question.revision not in self._excluded)


def _depth(live: LiveRelease, query: Query, verify_depth: int) -> int:
    """How many candidates of a text the classifier may have to read. Raises InvalidRequest if there is none."""
    if not live.classifier:
        if query.verify == "always":
            raise InvalidRequest(
                FieldError("verify", "is 'always', but the live release has no pair classifier")
            )
        return 0
    depths = {"always": query.top_k, "auto": min(query.top_k, verify_depth), "never": 0}
    return depths[query.verify]


def _similarities(hits: Sequence[Hit]) -> NDArray[np.float32]:
    return np.array([hit.similarity for hit in hits], dtype=np.float32)
