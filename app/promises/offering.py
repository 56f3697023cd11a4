"""Offers pairs of one collection to a person: drawn by lot, checked to be there still, noted, and claimed."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from app.detector import Detector
from app.engine.drawing import Plan
from app.engine.store import Offer, Store
from app.engine.text import Words
from app.engine.verdicts import Judge, Pair
from app.errors import NotReady
from app.promises.kept import Kept
from app.promises.pool import NearPair
from app.promises.queue import CLAIM_SECONDS, DrawnPair, OfferedPair
from app.promises.report import Look

PATIENCE_SECONDS = 5.0  # for the first near pairs of a collection
LOOK_SECONDS = 0.025
DRAWS = 100  # in one request: those of pairs that somebody labelled elsewhere need nobody's look


class Offering:
    """Draws and claims pairs for people."""

    def __init__(self, store: Store, detector: Detector) -> None:
        self._store = store
        self._detector = detector

    async def offer(self, kept: Kept, plan: Plan, by: str, limit: int) -> tuple[list[Look], bool]:
        """Up to `limit` pairs for a person, and whether pairs were drawn that somebody had labelled elsewhere.

        Those that were offered before and got no answer come first. Else those that are labelled elsewhere would be
        counted as the lot falls on them, and the others left out, which nobody cared to answer.

        Raises NotReady, StorageFull.
        """
        await self._first_pairs(kept)
        await self._see_claims(kept)
        held = await self._still_there(kept, kept.queue.held_by(by)[:limit])
        offered = await self._hold(kept, held, by)
        left = await self._unanswered(kept, limit - len(offered))
        offered += await self._hold(kept, left, by)
        has_counted = False
        for _ in range(DRAWS):
            if len(offered) == limit:
                break
            drawn = kept.queue.draw(plan, kept.queue.waiting(), kept.release.release.digest)
            if drawn is None:
                break
            if not await self._still_there(kept, [drawn.near]):
                continue
            offer = await self._detector.write(self._note, kept, drawn)
            if kept.labelled.is_answered(drawn.near.digest):
                has_counted = True
            else:
                offered += await self._claim(kept, {drawn.near: offer}, by)
        return [self._look(kept, one) for one in offered], has_counted

    async def offer_again(self, kept: Kept, by: str, pair: bytes) -> Look | None:
        """The pair of this digest, if it was offered before, is there still, and nobody has answered it."""
        near = kept.pool.get(pair)
        if near is None or kept.labelled.is_answered(pair):
            return None
        there = await self._still_there(kept, [near])
        await self._see_claims(kept)
        offered = await self._hold(kept, there, by, first=True)
        return self._look(kept, offered[0]) if offered else None

    async def _unanswered(self, kept: Kept, count: int) -> list[NearPair]:
        """So many of the pairs that were offered, and that nobody has answered or looks at now."""
        if not count:
            return []
        unanswered = await self._detector.read(self._store.offers.unanswered, kept.key)
        waiting = {near.digest: near for near in kept.queue.waiting()}
        left = [waiting[pair] for pair in unanswered if pair in waiting]
        return await self._still_there(kept, left[:count])

    async def _see_claims(self, kept: Kept) -> None:
        kept.queue.see(await self._detector.read(self._store.claims.held, kept.key))

    async def _hold(
        self, kept: Kept, pairs: Sequence[NearPair], by: str, *, first: bool = False
    ) -> list[OfferedPair]:
        """Claim pairs that were offered before; those that were, and that nobody else holds."""
        if not pairs:
            return []
        digests = [near.digest for near in pairs]
        in_collection = self._store.offers.in_collection
        offers = await self._detector.read(in_collection, kept.collection.name, digests)
        known = {near: offers[near.digest] for near in pairs if near.digest in offers}
        return await self._claim(kept, known, by, first=first)

    async def _claim(
        self, kept: Kept, offers: Mapping[NearPair, Offer], by: str, *, first: bool = False
    ) -> list[OfferedPair]:
        """Claim offered pairs; those that nobody else holds."""
        by_pair = {near.digest: near for near in offers}
        take = self._store.claims.take
        taken = await self._detector.write(
            take, kept.key, list(by_pair), by, CLAIM_SECONDS, first=first
        )
        kept.queue.note(taken)
        if len(taken) < len(offers):
            await self._see_claims(kept)  # another replica was faster
        nears = [(by_pair[claim.pair], claim) for claim in taken]
        return [OfferedPair(near, offers[near], claim) for near, claim in nears]

    async def _first_pairs(self, kept: Kept) -> None:
        """Wait for the first near pairs, if there will be any. Raises NotReady after a while."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not kept.pool.pairs and kept.pool.to_read:
            if asyncio.get_running_loop().time() > deadline:
                raise NotReady("the near pairs of this collection are being looked for")
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, kept: Kept, drawn: DrawnPair) -> Offer:
        (offer,) = self._store.offers.write(kept.collection, [drawn.new])
        kept.labelled.note({offer.pair: drawn.near.probability})
        kept.labelled.renew([offer.pair])
        return offer

    async def _still_there(self, kept: Kept, pairs: Sequence[NearPair]) -> list[NearPair]:
        """The pairs whose questions stand under their ids with these texts, or are remembered as asked; the pool lets
        go of the others. Any replica may have erased a text."""
        if not pairs:
            return []
        there = await self._detector.read(self._there, kept.key, pairs)
        for near in set(pairs) - set(there):
            kept.pool.remove(near.digest)
        return there

    def _there(self, collection_key: int, pairs: Sequence[NearPair]) -> list[NearPair]:
        ids = [id_ for near in pairs for id_ in near.questions]
        asked = [near.texts[0] for near in pairs if near.ids[0] is None]
        with self._store.view():
            texts = self._store.questions.texts(collection_key, ids)
            remembered = self._store.asked.among(collection_key, asked) if asked else set()
        there = []
        for near in pairs:
            both = zip(near.ids, near.texts, strict=True)
            if all(
                text in remembered if id_ is None else texts.get(id_) == text for id_, text in both
            ):
                there.append(near)
        return there

    def _look(self, kept: Kept, one: OfferedPair) -> Look:
        release = kept.release
        judge = Judge(release.scorer, release.reader, release.thresholds(kept.key))
        first, second = one.near.texts
        pair = Pair(Words.of(first), Words.of(second))
        similarity = np.array([one.near.similarity], dtype=np.float32)
        logit = np.array([one.near.logit], dtype=np.float32)
        (judgement,) = judge.judge([pair], similarity, logit)
        return Look(one, judgement.verdict, one.claimed_until)
