"""Texts in, findings out: the work of one request for duplicates, from its look-up to its answer.

The coroutines run in the askers' threads (`app.engine.coroutines`): between two of their awaits they may block.
"""

from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from app.engine.asked import Asked, Near
from app.engine.asking import Models, Phases
from app.engine.findings import Candidate, Finding, Findings
from app.engine.live_release import LiveRelease
from app.engine.query import READ_AT_ONCE, Bounds, Query
from app.engine.rulings import by_other
from app.engine.search import Search
from app.engine.store import Collection, Copies, Question, Store
from app.engine.text import Words
from app.engine.verdicts import Judge, Judgement, Pair, unread
from app.errors import FieldError, InvalidRequest


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
        self._models = Models(live.models, self._phases, bounds.tokens("questions"))
        self._asked: dict[str, Asked] = {}  # by text
        self._excluded: set[int] = set()  # revisions
        self._copies: dict[str, Copies] = {}  # by the text of a candidate

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts and pairs would not fit now."""
        count = len(self._query.texts)
        self._live.models.refuse_if_full(count, count * self._depth)

    async def answer(self) -> Findings:
        """The answer. Raises CollectionNotFound, NotReady, Overloaded, ModelFailing, InvalidRequest."""
        collection = self._look_up()
        thresholds = self._live.thresholds(collection.key)
        self._judge = Judge(self._live.scorer, self._live.reader, thresholds)
        texts = list(self._asked.values())
        open_texts = [asked for asked in texts if not asked.exact]
        revision = await self._offer(collection, texts, open_texts)
        self._refuse_if_large()
        if self._depth:
            await self._read(open_texts)
        self._count_copies(collection.key, texts)
        findings = {asked.words.text: self._finding(asked) for asked in texts}
        return Findings(
            release=self._live.release.name,
            collection=self._query.collection,
            collection_key=collection.key,
            revision=revision,
            results=[findings[text] for text in self._query.texts],
            phases=self._phases,
        )

    # What stands in the collection

    def _look_up(self) -> Collection:
        """Find the collection, and the stored matches of each distinct text, all of one moment."""
        with self._phases.timed("lookup"), self._store.view():
            collection = self._store.collections.get(self._query.collection)
            excluded = self._store.questions.revisions(collection.key, self._query.exclude_ids)
            for number, text in enumerate(self._query.texts):
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
        for question in self._store.questions.with_digests(key, list(askers)):
            if question.revision in self._excluded:
                continue
            for asked in askers[question.digest]:
                taken += asked.add_same_words(question, self._query.top_k)
            if taken >= READ_AT_ONCE:
                taken = 0
                self._refuse_if_large()

    # What the index and labels offer

    async def _offer(
        self, collection: Collection, texts: Sequence[Asked], open_texts: Sequence[Asked]
    ) -> int:
        """Find the questions that each text is judged with; returns the revision of the collection that says so."""
        is_linked = any(asked.linked for asked in texts)
        if open_texts or is_linked:
            self._live.index(collection.key)  # or NotReady
        await self._embed(open_texts)
        search = Search(
            self._store,
            self._live,
            collection.key,
            top_k=self._query.top_k,
            excluded=self._excluded,
            excluded_ids=self._query.exclude_ids,
            bounds=self._bounds,
            phases=self._phases,
        )
        if is_linked:
            search.link(texts)
        if open_texts:
            return search.find_nearest(open_texts)
        return collection.revision

    async def _embed(self, open_texts: Sequence[Asked]) -> None:
        tokens = self._models.tokenize([asked.words.text for asked in open_texts])
        places = [asked.place for asked in open_texts]
        vectors = await self._models.embed(tokens, places)
        for asked, of_text, vector in zip(open_texts, tokens, vectors, strict=True):
            asked.truncated = of_text.truncated
            asked.vector = vector

    def _refuse_if_large(self) -> None:
        """Raise AnswerTooLarge if the candidates' texts are more than an answer may hold."""
        offered: list[Question] = []
        for text in self._query.texts:
            asked = self._asked[text]
            questions = [*asked.exact, *asked.near_questions]
            offered += questions[: self._query.top_k]
        self._bounds.refuse_if_large(offered)

    def _count_copies(self, key: int, texts: Sequence[Asked]) -> None:
        """Look up the questions that each text which is offered stands under."""
        offered: list[Question] = []
        for asked in texts:
            offered += asked.exact[: self._query.top_k]
            offered += asked.near_questions
        with self._phases.timed("read"):
            excluded = set(self._query.exclude_ids)
            self._copies = self._store.questions.copies(key, offered, excluded)

    # What the pair classifier reads

    async def _read(self, open_texts: Sequence[Asked]) -> None:
        """Let the pair classifier read the nearest pairs, or all: never more than the queue was asked about, however
        many labels link or set aside. Each text's nearest come first: of long ones there may be too many tokens."""
        places: list[tuple[bool, int, Asked]] = []
        for asked in open_texts:
            places += [(*of_pair, asked) for of_pair in self._places_to_read(asked)]
        places.sort(key=lambda of_pair: of_pair[:2])
        del places[len(open_texts) * self._depth :]
        pairs = []
        for _, place, asked in places:
            question = asked.near[place].question
            pairs.append((asked.words.text, question.text))
        is_auto = self._query.verify == "auto"
        logits = await self._models.read(pairs, may_leave_some=is_auto)
        for (_, place, asked), logit in zip(places, logits.tolist(), strict=True):
            asked.logits[place] = logit

    def _places_to_read(self, asked: Asked) -> list[tuple[bool, int]]:
        """The places of candidates to read, each behind whether people's word is its verdict. Those come last, as they
        take no other's place."""
        near = [(asked.ruling(one.question) is not None, n) for n, one in enumerate(asked.near)]
        near.sort()
        if self._query.verify == "always":
            return near
        del near[self._depth :]
        similarities = _similarities([asked.near[place] for _, place in near])
        is_open = self._live.scorer.is_open(similarities).tolist()
        return list(compress(near, is_open))

    # What is answered

    def _finding(self, asked: Asked) -> Finding:
        """The best candidates: strongest verdict first, then by probability, then by similarity, then exact matches."""
        candidates = [*self._same_words(asked), *self._judged(asked)]
        candidates.sort(key=lambda candidate: candidate.judgement.rank)
        del candidates[self._query.top_k :]
        best = candidates[0].verdict if candidates else "different"
        verdict = "new" if best == "different" else best
        return Finding(asked.words.text, verdict, asked.truncated, candidates)

    def _same_words(self, asked: Asked) -> list[Candidate]:
        """The exact matches as candidates."""
        questions = asked.exact[: self._query.top_k]
        judge = self._judge.judge_same_words
        judgements = [judge(self._pair(asked, question)) for question in questions]
        return list(map(self._candidate, questions, judgements))

    def _judged(self, asked: Asked) -> list[Candidate]:
        """The near questions as candidates."""
        if not asked.near:
            return []
        questions = asked.near_questions
        pairs = [self._pair(asked, question) for question in questions]
        logits = unread(len(pairs))
        for place, logit in asked.logits.items():
            logits[place] = logit
        judgements = self._judge.judge(pairs, _similarities(asked.near), logits)
        return list(map(self._candidate, questions, judgements))

    def _candidate(self, question: Question, judgement: Judgement) -> Candidate:
        copies = self._copies.get(question.text) or Copies((question.id,), 1)
        return Candidate(question, judgement, copies)

    def _pair(self, asked: Asked, question: Question) -> Pair:
        return Pair(asked.words, question, asked.ruling(question))


def _depth(live: LiveRelease, query: Query, verify_depth: int) -> int:
    """How many candidates of a text the classifier may have to read. Raises InvalidRequest if there is none."""
    if live.models.classifier:
        depths = {"always": query.top_k, "auto": min(query.top_k, verify_depth), "never": 0}
        return depths[query.verify]
    if query.verify == "always":
        why = "is 'always', but the live release has no pair classifier"
        raise InvalidRequest(FieldError("verify", why))
    return 0


def _similarities(near: Sequence[Near]) -> NDArray[np.float32]:
    return np.array([one.similarity for one in near], dtype=np.float32)
