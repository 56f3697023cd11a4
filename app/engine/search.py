"""Asked texts in, the stored questions to judge them with out: those that labels link to a text, and the nearest."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from app.engine.asked import Asked, Near, Vectors
from app.engine.asking import Phases
from app.engine.index.hit import Hit
from app.engine.live_release import LiveRelease
from app.engine.query import Bounds
from app.engine.scorer import similarity
from app.engine.store import Question, Store

MORE = 4  # times as many hits are looked at, where copies of a text take the places of others
MOST_HITS = 2048
LINKED_AT_ONCE = 16  # texts that labels link to one that is asked


class Search:
    """The look-up of one request's candidates in the index of its collection, without excluded questions."""

    def __init__(
        self,
        store: Store,
        live: LiveRelease,
        key: int,
        *,
        top_k: int,
        excluded: set[int],
        excluded_ids: Sequence[str],
        bounds: Bounds,
        phases: Phases,
    ) -> None:
        """`key` is the collection's; `excluded` are revisions of `excluded_ids`, some of which may have newer ones by
        now."""
        self._store = store
        self._live = live
        self._key = key
        self._top_k = top_k
        self._excluded = excluded
        self._excluded_ids = set(excluded_ids)
        self._bounds = bounds
        self._phases = phases
        self._stored: dict[int, Question] = {}  # by revision, the questions that were read

    # Links

    def link(self, texts: Sequence[Asked]) -> None:
        """Add to each text the questions that labels link to it, if they are indexed. Raises NotReady."""
        with self._phases.timed("read"):
            linked = self._find_linked(texts)
            questions = list(chain(*linked.values()))
            for asked in texts:
                questions += asked.exact
            revisions = [question.revision for question in questions]
            indexed = self._live.index(self._key).vectors(revisions)
        for asked in texts:
            self._add_links(asked, linked, indexed)
            asked.near = list(asked.links)

    def _find_linked(self, texts: Sequence[Asked]) -> dict[bytes, list[Question]]:
        """By loose digest, the questions that labels link to a text: of each text the oldest, no more than may be
        read for an answer."""
        askers: dict[bytes, list[Asked]] = {}
        for asked in texts:
            for other in asked.linked:
                askers.setdefault(other, []).append(asked)
        linked: dict[str, Question] = {}
        for question in self._store.questions.with_digests(self._key, list(askers), "loose"):
            known = linked.get(question.text)
            has_older = known is not None and known.revision < question.revision
            if has_older or question.id in self._excluded_ids:
                continue
            if any(asked.is_linked_to(question) for asked in askers[question.loose]):
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
            for question in linked.get(other, ()):
                vector = indexed.get(question.revision)
                if vector is None or question.text in offered:
                    continue
                if asked.is_linked_to(question):
                    offered.add(question.text)
                    likeness = similarity(own[None], vector[None])
                    asked.links.append(Near(question, float(likeness[0])))
                    self._stored[question.revision] = question

    # Nearest texts

    def find_nearest(self, open_texts: Sequence[Asked]) -> int:
        """Add the nearest texts that are there and not excluded to each text; returns the revision searched.

        Where copies of a text take the places of others, more are searched for. Raises NotReady, AnswerTooLarge.
        """
        ruled = max(len(asked.labels) for asked in open_texts)  # these take no other's place
        count = self._top_k + len(self._excluded) + min(ruled, self._top_k)
        lacking, revision = self._choose_among(open_texts, count)
        while lacking and count < MOST_HITS:
            count = min(MORE * count, MOST_HITS)
            lacking, _ = self._choose_among(lacking, count)
        return revision

    def _choose_among(self, open_texts: Sequence[Asked], count: int) -> tuple[list[Asked], int]:
        """Choose among the `count` nearest of each text; those that lack some although there are more, and the
        revision searched."""
        vectors = np.stack([asked.vector for asked in open_texts if asked.vector is not None])
        with self._phases.timed("search"):
            revision, found = self._live.index(self._key).search(vectors, count)
        kept = [self._without_excluded(hits, count) for hits in found]
        with self._phases.timed("read"):
            self._read_questions(kept)
        lacking = []
        for asked, hits, all_hits in zip(open_texts, kept, found, strict=True):
            is_filled = self._choose(asked, hits)
            if not is_filled and len(all_hits) == count:
                lacking.append(asked)
        return lacking, revision

    def _without_excluded(self, hits: Sequence[Hit], count: int) -> list[Hit]:
        offered = [hit for hit in hits if hit.revision not in self._excluded]
        return offered[: count - len(self._excluded)]

    def _read_questions(self, hits_of_each: Sequence[Sequence[Hit]]) -> None:
        """Read the questions that were hit, but for those that were read before."""
        unread: list[int] = []
        for hits in hits_of_each:
            unread += [hit.revision for hit in hits if hit.revision not in self._stored]
        questions = self._bounds.read(self._store, self._key, unread)
        self._stored.update(questions)

    def _choose(self, asked: Asked, hits: Sequence[Hit]) -> bool:
        """Choose the questions that an open text is judged with, most similar first, each of another text: all that
        labels link to it and the nearest others, up to `top_k` together; whether there are as many.

        Beside them are the nearest that labels call different, so that these take no other's place.
        """
        chosen = list(asked.links)
        texts = {near.question.text for near in chosen}
        room = self._top_k - len(chosen)
        looked_at = 0
        for hit in hits:
            question = self._stored.get(hit.revision)
            if question is None or question.text in texts or question.id in self._excluded_ids:
                continue
            texts.add(question.text)
            near = Near(question, hit.similarity)
            if asked.ruling(question):
                if looked_at < self._top_k:
                    chosen.append(near)
            elif room > 0:
                chosen.append(near)
                room -= 1
            looked_at += 1
        chosen.sort(key=lambda near: near.similarity, reverse=True)
        asked.near = chosen
        return room <= 0
