"""The models of the live release in the hands of one request, and the time of each of its phases.

A request for vectors alone is made here, since it needs nothing else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from app.engine.coroutines import Awaited
from app.engine.live_release import LiveRelease
from app.engine.models.tokens import Tokens
from app.engine.query import Bounds, TokenBudget
from app.engine.served_models import ServedModels, logits_of
from app.engine.text import TextPair
from app.engine.verdicts import unread
from app.errors import FieldError, InvalidRequest, ReleaseNotLive, SameaskError, Unembeddable


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


class Models:
    """The models of the live release, as one request asks them."""

    def __init__(self, models: ServedModels, phases: Phases, budget: TokenBudget) -> None:
        self._models = models
        self._phases = phases
        self._budget = budget

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The encoder's tokens of each text. Raises InvalidRequest for more than one request may have."""
        with self._phases.timed("tokenize"):
            tokens = self._models.encoder.tokenize(texts)
        self._budget.spend(tokens)
        return tokens

    async def embed(self, tokens: Sequence[Tokens], places: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit vectors. A text that can't be embedded is the fault of the field in its place."""
        with self._phases.timed("encode"):
            outcomes = await self._models.embed_asked(tokens)
        vectors = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        if len(vectors) < len(outcomes):
            raise _blame(outcomes, places)
        if not vectors:
            return np.empty((0, self._models.encoder.dimension), np.float32)
        return np.stack(vectors)

    async def read(
        self, pairs: Sequence[TextPair], *, may_leave_some: bool = False
    ) -> NDArray[np.float32]:
        """The pair classifier's logits (n,), NaN without a classifier.

        Pairs past the tokens of one request are left unread, if they may be: then they are NaN, too. Raises
        InvalidRequest if they may not; ModelFailing, Overloaded.
        """
        logits = unread(len(pairs))
        if not pairs or not self._models.classifier:
            return logits
        with self._phases.timed("tokenize"):
            tokens = self._models.classifier.tokenize(pairs)
        if may_leave_some:
            tokens = tokens[: self._budget.spend_on_first(tokens)]
        else:
            self._budget.spend(tokens)
        with self._phases.timed("verify"):
            outcomes = await Awaited(self._models.read_pairs(tokens))
        logits[: len(tokens)] = logits_of(outcomes)
        return logits


@dataclass(frozen=True)
class Embeddings:
    """The answer of `Embed`: (n, d) float32 unit vectors by one release, and the tokens that its model read."""

    release: str
    vectors: NDArray[np.float32]
    tokens: int
    phases: Phases


class Embed:
    """One request for vectors: texts in, unit vectors out, in their order."""

    def __init__(
        self, live: LiveRelease, texts: Sequence[str], release: str | None, bounds: Bounds
    ) -> None:
        """`release`: the one that is asked for; None: whichever is live. Raises ReleaseNotLive."""
        if release not in (None, live.release.name):
            raise ReleaseNotLive(release, live.release.name)
        self._live = live
        self._texts = texts
        self._phases = Phases()
        self._models = Models(live.models, self._phases, bounds.tokens("input"))

    def refuse_if_full(self) -> None:
        """Raise Overloaded if its texts would not fit now."""
        self._live.models.refuse_if_full(len(self._texts), 0)

    async def answer(self) -> Embeddings:
        """The answer. Raises Overloaded, ModelFailing, InvalidRequest."""
        tokens = self._models.tokenize(self._texts)
        places = [f"input.{number}" for number in range(len(tokens))]
        vectors = await self._models.embed(tokens, places)
        count = sum(of_text.count for of_text in tokens)
        return Embeddings(self._live.release.name, vectors, count, self._phases)


def _blame(outcomes: Sequence[object], places: Sequence[str]) -> Exception:
    """The error of a batch with failures: the texts at fault by their fields, else the model's failure."""
    fields = []
    for place, outcome in zip(places, outcomes, strict=True):
        if isinstance(outcome, SameaskError) and not isinstance(outcome, Unembeddable):
            return outcome
        if isinstance(outcome, Exception):
            fields.append(FieldError(place, "can't be embedded by the model"))
    return InvalidRequest(*fields)
