"""Pairs in, judgements out: the work of one request for scores, from its look-up to its answer.

A coroutine of it runs in the askers' threads (`app.engine.coroutines`): between two of its awaits it may block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from app.engine.asking import Models, Phases
from app.engine.live_release import LiveRelease
from app.engine.query import Bounds
from app.engine.rulings import rulings_of_pairs
from app.engine.scorer import similarity
from app.engine.store import Store
from app.engine.text import TextPair, Words
from app.engine.verdicts import Judge, Judgement, Pair, unread


@dataclass(frozen=True)
class Scores:
    """The answer of `Score`: one judgement for each pair."""

    release: str
    scores: list[Judgement]
    phases: Phases

    def without_names(self) -> "Scores":
        """The same, for those who are not to know who labels."""
        return replace(self, scores=[judgement.without_names() for judgement in self.scores])


class Score:
    """One request for the scores of pairs: pairs in, judgements out."""

    def __init__(
        self,
        store: Store,
        live: LiveRelease,
        pairs: Sequence[TextPair],
        collection: str,
        bounds: Bounds,
    ) -> None:
        self._store = store
        self._live = live
        self._collection = collection
        self._phases = Phases()
        self._models = Models(live.models, self._phases, bounds.tokens("pairs"))
        words = {text: Words.of(text) for text in dict.fromkeys(chain(*pairs))}
        self._pairs = [Pair(words[first], words[second]) for first, second in pairs]
        self._different = [i for i, pair in enumerate(self._pairs) if not pair.is_same_words]
        self._places: dict[str, str] = {}  # the field of each text that has to be embedded
        for i in self._different:
            first, second = pairs[i]
            self._places.setdefault(first, f"pairs.{i}.question1")
            self._places.setdefault(second, f"pairs.{i}.question2")

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts and pairs would not fit now."""
        self._live.models.refuse_if_full(len(self._places), len(self._different))

    async def answer(self) -> Scores:
        """The answer. Raises CollectionNotFound, Overloaded, ModelFailing, InvalidRequest."""
        texts = [(pair.first.text, pair.second.text) for pair in self._pairs]
        different = [texts[i] for i in self._different]
        key = self._look_up()
        tokens = self._models.tokenize(list(self._places))
        vectors = await self._models.embed(tokens, list(self._places.values()))
        similarities = np.ones(len(texts), dtype=np.float32)
        logits = unread(len(texts))
        if different:
            row = {text: i for i, text in enumerate(self._places)}
            first = vectors[[row[text] for text, _ in different]]
            second = vectors[[row[text] for _, text in different]]
            similarities[self._different] = similarity(first, second)
        if self._live.models.classifier:
            near = self._live.scorer.is_open(similarities)
            read = [i for i in self._different if near[i]]
            logits[read] = await self._models.read([texts[i] for i in read])
        live = self._live
        judge = Judge(live.scorer, live.reader, live.thresholds(key))
        judgements = judge.judge(self._pairs, similarities, logits)
        return Scores(self._live.release.name, judgements, self._phases)

    def _look_up(self) -> int:
        """Add the rulings on these pairs; the collection's key. Raises CollectionNotFound."""
        words = [(pair.first, pair.second) for pair in self._pairs]
        with self._phases.timed("lookup"), self._store.view():
            key = self._store.collections.get(self._collection).key
            labels = self._store.labels.of(key, words)
        rulings = rulings_of_pairs(words, labels)
        for i, (first, second) in enumerate(words):
            ruling = rulings.get((first.text, second.text))
            self._pairs[i] = replace(self._pairs[i], ruling=ruling)
        return key
