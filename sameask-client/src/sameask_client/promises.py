"""What a collection's labels support, and which pairs to label next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sameask_client.asking import Verdict
from sameask_client.collections import Thresholds
from sameask_client.operation import Operation, get, in_path, post


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A precision of `duplicate`, and whether the labels support it.

    `duplicate`: the threshold, None where none is supported. `precision_bound`: with 95 % confidence. `labels`: at or
    above the threshold. `lacking`: about how many more it takes; None where no number would do, as it looks now.
    """

    target_precision: float
    duplicate: float | None
    precision_bound: float | None
    recall: float | None
    labels: int
    lacking: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labeller:
    """A person, and how many of the labels are theirs."""

    by: str
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """Which labels count: those of pairs that the review queue drew. `contradicted` and `not_offered` do not."""

    counted: int
    duplicates: int
    skipped: int
    contradicted: int
    not_offered: int
    by: tuple[Labeller, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPairs:
    """Pairs of stored questions near each other. `to_read`: questions whose near pairs have yet to be looked for."""

    known: int
    to_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A threshold, the near pairs at or above it, and the labels' evidence on these, with intervals of 95 %.

    `volume_a_day`: asked questions whose best candidate lies there; None before an hour was counted.
    """

    threshold: float
    pairs: int
    labels: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    recall_low: float
    recall_high: float
    volume_a_day: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the labels of a collection support. `promise`: of its own target; `promises`: of the usual ones."""

    collection: str
    release: str
    target_precision: float | None
    review_recall: float | None
    thresholds: Thresholds
    promise: Promise | None
    promises: tuple[Promise, ...]
    labels: LabelCounts
    near_pairs: NearPairs
    asked_hours: float
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedQuestion:
    """A question of an offered pair. `id`: None for a text that was asked and is not stored."""

    id: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedPair:
    """A pair to label by `label_pairs`, or to skip by `skip_pair`. Until `claimed_until` nobody else is offered it."""

    id: int
    questions: tuple[OfferedQuestion, ...]
    similarity: float
    probability: float
    verdict: Verdict
    offered_by: Literal["chosen", "random"]
    offered_probability: float
    claimed_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewQueue:
    """Pairs to label next. `waiting`: further ones. `to_read`: questions whose near pairs are yet to be looked for."""

    collection: str
    release: str
    pairs: tuple[OfferedPair, ...]
    waiting: int
    to_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A pair that is offered to nobody any more."""

    collection: str
    id: int


def read_evidence(name: str) -> Operation[Evidence]:
    """See precision and recall against threshold, and how many labels each promise lacks."""
    return get(Evidence, f"/collections/{in_path(name)}/evidence")


def read_review_queue(
    name: str, *, by: str | None = None, limit: int | None = None
) -> Operation[ReviewQueue]:
    """Get pairs to label next. For 60 seconds they are those of `by` (None: the key's name), who gets them again."""
    return get(ReviewQueue, f"/collections/{in_path(name)}/review-queue", by=by, limit=limit)


def skip_pair(name: str, id: int, *, by: str | None = None) -> Operation[Skipped]:  # noqa: A002
    """Say of an offered pair, by the offer's id, that `by` can't tell."""
    path = f"/collections/{in_path(name)}/review-queue/skip"
    fields: dict[str, object] = {"id": id} if by is None else {"by": by, "id": id}
    return post(Skipped, path, fields, is_repeatable=False)
