"""Texts in, findings out; pairs in, judgements out: the work of one request, from its look-up to its answer.

The coroutines run in the askers' threads (`app.engine.coroutines`): between two of their awaits they may block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.asking import Models, Phases, TextPair
from app.engine.index.hit import Hit
from app.engine.live_release import LiveRelease
from app.engine.rulings import Ruling, ruling, rulings
from app.engine.scorer import Verdict, similarity
from app.engine.store import Collection, Question, Store
from app.engine.text import Words
from app.engine.verdicts import Judge, Judgement, Pair, unread
from app.errors import FieldError, InvalidRequest

Verify = Literal["auto", "always", "never"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """An indexed question offered for an incoming one, and the judgement of the two."""

    question: Question
    judgement: Judgement

    @property
    def id(self) -> str:
        return self.question.id

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
    def label(self) -> Ruling | None:
        return self.judgement.label


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


@dataclass(frozen=True)
class Scores:
    """The answer of `Score`: one judgement for each pair."""

    release: str
    scores: list[Judgement]
    phases: Phases


@dataclass(frozen=True)
class Query:
    """Texts to find duplicates of in a collection: at most `top_k` candidates for each.

    `verify` says which candidates the pair classifier reads: the nearest, all, or none.
    """

    texts: Sequence[str]
    collection: str
    top_k: int
    exclude_ids: Sequence[str]
    verify: Verify


@dataclass(eq=False)
class Asked:
    """One distinct text of a request, and all that is known of it by now."""

    words: Words
    place: str  # of the field that holds it
    exact: list[Question]  # stored questions of the same words
    rulings: Mapping[bytes, Ruling]  # on its pairs, by the digest of the other question
    truncated: bool = False
    vector: Vectors | None = None
    hits: list[Hit] = field(default_factory=list)
    logits: NDArray[np.float32] | None = None  # of the hits, if the pair classifier read any

    @property
    def linked(self) -> list[bytes]:
        """The digests of the questions that labels link to it."""
        return [other for other, of_pair in self.rulings.items() if of_pair.links]


class Find:
    """One request for duplicates: texts in, findings out.

    A text that stands in the collection word for word (after normalisation) is answered with its exact matches and
    the questions that labels link to it, before any model call. The others are open: they are embedded and searched.
    """

    def __init__(self, store: Store, live: LiveRelease, query: Query, auto_depth: int) -> None:
        """`auto_depth` is how many candidates of a text are read at most with `auto`. Raises InvalidRequest."""
        self._store = store
        self._live = live
        self._query = query
        self._depth = _depth(live, query, auto_depth)
        self._judge = Judge(live.scorer)
        self._phases = Phases()
        self._models = Models(live, self._phases)
        self._excluded: set[int] = set()  # revisions
        self._stored: dict[int, Question] = {}  # by revision, the questions that hits are of

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts and pairs would not fit now."""
        count = len(self._query.texts)
        self._live.refuse_if_full(count, count * self._depth)

    async def answer(self) -> Findings:
        """The answer. Raises CollectionNotFound, NotReady, Overloaded, ModelFailing, InvalidRequest."""
        collection, asked = self._look_up()
        open_texts = [of_text for of_text in asked.values() if not of_text.exact]
        if open_texts or any(of_text.linked for of_text in asked.values()):
            self._live.index(collection.key)  # it is ready
        await self._embed(open_texts)
        self._link(collection.key, list(asked.values()))
        revision = collection.revision
        if open_texts:
            revision = self._search(collection.key, open_texts)
        await self._read(open_texts)
        findings = {text: self._finding(of_text) for text, of_text in asked.items()}
        results = [findings[text] for text in self._query.texts]
        return Findings(
            self._live.release.name, self._query.collection, revision, results, self._phases
        )

    def _look_up(self) -> tuple[Collection, dict[str, Asked]]:
        """The collection, and each distinct text with what stands there of it, all of one moment."""
        texts, asked = self._query.texts, {}
        with self._phases.timed("lookup"), self._store.view():
            collection = self._store.collection(self._query.collection)
            excluded = self._store.revisions(collection.key, self._query.exclude_ids)
            self._excluded = set(excluded.values())
            words = {text: Words.of(text) for text in texts}
            digests = list({of_text.digest for of_text in words.values()})
            matches = self._store.with_digests(collection.key, digests)
            ruled = rulings(self._store.labels.on(collection.key, texts))
        for text, of_text in words.items():
            exact = self._kept(matches.get(of_text.digest, []))
            place = f"questions.{texts.index(text)}"
            asked[text] = Asked(of_text, place, exact, ruled.get(text, {}))
        return collection, asked

    async def _embed(self, open_texts: Sequence[Asked]) -> None:
        tokens = self._models.tokenize([asked.words.text for asked in open_texts])
        places = [asked.place for asked in open_texts]
        vectors = await self._models.embed(tokens, places)
        for asked, of_text, vector in zip(open_texts, tokens, vectors, strict=True):
            asked.truncated = of_text.truncated
            asked.vector = vector

    def _link(self, key: int, texts: Sequence[Asked]) -> None:
        """Add what labels link to each text, if it is indexed.

        A text that is stored word for word has the vector of an exact match, so that the model is not asked.
        """
        digests = list({other for asked in texts for other in asked.linked})
        if not digests:
            return
        with self._phases.timed("read"):
            found = self._store.with_digests(key, digests)
            questions = [question for of_digest in found.values() for question in of_digest]
            exact = [question for asked in texts for question in asked.exact]
            revisions = [question.revision for question in (*questions, *exact)]
            indexed = self._live.index(key).vectors(revisions)
        for asked in texts:
            own = asked.vector
            for question in asked.exact:
                own = indexed.get(question.revision, own)
            if own is None:
                continue
            linked = [question for other in asked.linked for question in found.get(other, ())]
            for question in self._kept(linked):
                vector = indexed.get(question.revision)
                if vector is not None:
                    near = similarity(own[None], vector[None])[0]
                    asked.hits.append(Hit(question.revision, float(near)))
                    self._stored[question.revision] = question

    def _search(self, key: int, open_texts: Sequence[Asked]) -> int:
        """Add the nearest questions that are there and not excluded to each text; returns the revision searched."""
        vectors = np.stack([asked.vector for asked in open_texts if asked.vector is not None])
        top_k = self._query.top_k
        ruled = max(len(asked.rulings) for asked in open_texts)  # these take no other's place
        with self._phases.timed("search"):
            count = top_k + len(self._excluded) + min(ruled, top_k)
            revision, found = self._live.index(key).search(vectors, count)
        with self._phases.timed("read"):
            self._stored |= self._store.read(key, [hit.revision for hits in found for hit in hits])
        for asked, hits in zip(open_texts, found, strict=True):
            near = [
                hit
                for hit in hits
                if hit.revision in self._stored and hit.revision not in self._excluded
            ]
            asked.hits = self._merged(asked, near)
        return revision

    def _merged(self, asked: Asked, near: Sequence[Hit]) -> list[Hit]:
        """The hits of an open text that are judged, most similar first: all that labels link to it and the nearest
        others, up to `top_k` together.

        Beside them are the nearest that labels call different, so that these take no other's place.
        """
        top_k = self._query.top_k
        if not asked.rulings:
            return list(near[:top_k])
        linked = {self._stored[hit.revision].id for hit in asked.hits}
        others = [hit for hit in near if self._stored[hit.revision].id not in linked]
        aside = [hit for hit in others[:top_k] if self._is_ruled(asked, hit)]
        unlabelled = [hit for hit in others if not self._is_ruled(asked, hit)]
        room = max(top_k - len(asked.hits), 0)
        return sorted([*asked.hits, *unlabelled[:room], *aside], key=lambda hit: -hit.similarity)

    async def _read(self, open_texts: Sequence[Asked]) -> None:
        """Let the pair classifier read the nearest hits, or all: never more than the queue was asked about, however
        many labels link or set aside."""
        if not self._depth:
            return
        for asked in open_texts:
            asked.logits = unread(len(asked.hits))
        rows = [(asked, row) for asked in open_texts for row in self._rows_to_read(asked)]
        del rows[len(open_texts) * self._depth :]
        pairs = [
            (asked.words.text, self._stored[asked.hits[row].revision].text) for asked, row in rows
        ]
        logits = await self._models.read(pairs)
        for (asked, row), logit in zip(rows, logits, strict=True):
            asked.logits[row] = logit

    def _rows_to_read(self, asked: Asked) -> list[int]:
        if self._query.verify == "always":
            return list(range(len(asked.hits)))
        nearest = _similarities(asked.hits[: self._depth])
        return np.flatnonzero(self._live.scorer.is_open(nearest)).tolist()

    def _finding(self, asked: Asked) -> Finding:
        same = []
        for question in asked.exact:
            judgement = self._judge.judge_same_words(Pair(asked.words, question))
            same.append(Candidate(question, judgement))
        candidates = [*same, *self._judged(asked)][: self._query.top_k]
        best = candidates[0].verdict if candidates else "different"
        verdict = "new" if best == "different" else best
        return Finding(asked.words.text, verdict, asked.truncated, candidates)

    def _judged(self, asked: Asked) -> list[Candidate]:
        """The hits as candidates, strongest verdict first, then by probability, then by similarity."""
        if not asked.hits:
            return []
        questions = [self._stored[hit.revision] for hit in asked.hits]
        pairs = [Pair(asked.words, q, self._ruling(asked, q)) for q in questions]
        logits = unread(len(pairs)) if asked.logits is None else asked.logits
        judgements = self._judge.judge(pairs, _similarities(asked.hits), logits)
        candidates = [Candidate(*judged) for judged in zip(questions, judgements, strict=True)]
        return sorted(candidates, key=lambda candidate: candidate.judgement.rank)

    def _ruling(self, asked: Asked, question: Question) -> Ruling | None:
        return asked.rulings.get(question.digest) if asked.rulings else None

    def _is_ruled(self, asked: Asked, hit: Hit) -> bool:
        return self._stored[hit.revision].digest in asked.rulings

    def _kept(self, questions: Sequence[Question]) -> list[Question]:
        return [question for question in questions if question.revision not in self._excluded]


class Score:
    """One request for the scores of pairs: pairs in, judgements out."""

    def __init__(
        self, store: Store, live: LiveRelease, pairs: Sequence[TextPair], collection: str
    ) -> None:
        self._store = store
        self._live = live
        self._collection = collection
        self._phases = Phases()
        self._models = Models(live, self._phases)
        self._pairs = [Pair(Words.of(first), Words.of(second)) for first, second in pairs]
        self._different = [i for i, pair in enumerate(self._pairs) if not pair.is_same_words]
        self._places: dict[str, str] = {}  # the field of each text that has to be embedded
        for i in self._different:
            first, second = pairs[i]
            self._places.setdefault(first, f"pairs.{i}.question1")
            self._places.setdefault(second, f"pairs.{i}.question2")

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts and pairs would not fit now."""
        self._live.refuse_if_full(len(self._places), len(self._different))

    async def answer(self) -> Scores:
        """The answer. Raises CollectionNotFound, Overloaded, ModelFailing, InvalidRequest."""
        texts = [(self._pairs[i].first.text, self._pairs[i].second.text) for i in self._different]
        ruled = self._look_up(texts)
        tokens = self._models.tokenize(list(self._places))
        vectors = await self._models.embed(tokens, list(self._places.values()))
        similarities = np.ones(len(self._pairs), dtype=np.float32)
        logits = unread(len(self._pairs))
        if self._different:
            row = {text: i for i, text in enumerate(self._places)}
            first = vectors[[row[text] for text, _ in texts]]
            second = vectors[[row[text] for _, text in texts]]
            similarities[self._different] = similarity(first, second)
            logits[self._different] = await self._models.read(texts)
        for i, of_pair in zip(self._different, texts, strict=True):
            self._pairs[i] = replace(self._pairs[i], ruling=ruled.get(of_pair))
        scores = Judge(self._live.scorer).judge(self._pairs, similarities, logits)
        return Scores(self._live.release.name, scores, self._phases)

    def _look_up(self, pairs: Sequence[TextPair]) -> dict[TextPair, Ruling]:
        """The rulings on these pairs. Raises CollectionNotFound."""
        with self._phases.timed("lookup"), self._store.view():
            labels = self._store.labels.of(self._store.collection(self._collection).key, pairs)
            return {pair: ruling(of_pair) for pair, of_pair in labels.items()}


def _depth(live: LiveRelease, query: Query, auto_depth: int) -> int:
    """How many candidates of a text the classifier may have to read. Raises InvalidRequest if there is none."""
    if not live.classifier:
        if query.verify == "always":
            raise InvalidRequest(
                FieldError("verify", "is 'always', but the live release has no pair classifier")
            )
        return 0
    depths = {"always": query.top_k, "auto": min(query.top_k, auto_depth), "never": 0}
    return depths[query.verify]


def _similarities(hits: Sequence[Hit]) -> NDArray[np.float32]:
    return np.array([hit.similarity for hit in hits], dtype=np.float32)
