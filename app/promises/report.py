"""What is told of a collection's promise: the evidence, pairs to label, and what another release would change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.engine.collection_thresholds import Point, Promise
from app.engine.scorer import CollectionThresholds, Verdict
from app.engine.store import Collection
from app.promises.labelled import LabelCounts
from app.promises.queue import OfferedPair


@dataclass(frozen=True)
class Report:
    """What a collection's labels support, by the live release."""

    collection: Collection
    release: str
    thresholds: CollectionThresholds
    promise: Promise | None
    promises: Sequence[Promise]
    labels: LabelCounts
    known_pairs: int
    to_read: int
    asked_hours: float
    curve: Sequence[Point]
    volumes: Sequence[float | None]  # questions a day, for each point of the curve
    shortfall: "Shortfall | None"  # of the collection's target, where its labels don't support it


@dataclass(frozen=True)
class Shortfall:
    """Near pairs from the least probability up at which `duplicate` may begin; about how many more labels of these the
    target takes, None where no number would do."""

    least: float
    pairs: int
    labels: int | None


@dataclass(frozen=True)
class Look:
    """A pair to label, with the verdict that it has now."""

    offered: OfferedPair
    verdict: Verdict
    claimed_until: str


@dataclass(frozen=True)
class Offered:
    """Pairs that a person was offered, and how many wait beside them."""

    collection: str
    release: str
    pairs: Sequence[Look]
    waiting: int
    to_read: int


@dataclass(frozen=True)
class PromiseState:
    """A collection's target, for a chart: whether labels support it, how many count, how many are lacking."""

    collection: str
    is_kept: bool
    labels: int
    lacking: int | None


@dataclass(frozen=True)
class Figures:
    """What a scrape reads: verdicts by collection, the promises, and how many labels were given in a day."""

    verdicts: Mapping[tuple[str, str], int]
    promises: Sequence[PromiseState]
    labels_last_day: int


@dataclass(frozen=True)
class Change:
    """What a release would change in a collection's thresholds."""

    collection: str
    live: CollectionThresholds
    shadow: CollectionThresholds
    live_promise: Promise | None
    shadow_promise: Promise | None

    @property
    def is_broken(self) -> bool:
        """Whether a promise that the labels support now would not be supported any more."""
        if self.live_promise is None or not self.live_promise.is_kept:
            return False
        return self.shadow_promise is None or not self.shadow_promise.is_kept
