"""What a collection's labels support, and which pairs to label next."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import (
    CollectionNotFound,
    ModelFailing,
    NotReady,
    OfferNotFound,
    Overloaded,
    StorageFull,
)
from app.fields import MAX_NUMBER, Person
from app.http.bodies import Body, counted
from app.http.collections import ThisCollection, Thresholds
from app.http.dependencies import ThePromises, TheSpeaker
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.promises.report import Look, Report

router = APIRouter(route_class=StrictRoute, tags=["promises"])

MOST_OFFERED = 20


class PromiseOfTarget(BaseModel):
    """A precision of `duplicate`, and whether the labels support it."""

    target_precision: float
    duplicate: float | None = Field(description="The threshold; null: none is supported.")
    precision_bound: float | None = Field(
        description="Of the precision there, with 95 % confidence."
    )
    recall: float | None = Field(description="An estimate of the duplicates' share that is found.")
    labels: int = Field(description="Labelled pairs at or above the threshold.")
    lacking: int | None = Field(
        description="About how many labels of the queue are lacking; null: no number would do, or pairs are too few."
    )


class Labeller(BaseModel):
    """A person, and how many of the labels are theirs."""

    by: str
    labels: int


class LabelCounts(BaseModel):
    """Which labels count."""

    counted: int = Field(description="Of pairs that the review queue drew by lot.")
    duplicates: int
    skipped: int = Field(description="Pairs that somebody skipped; each counts as no duplicate.")
    contradicted: int = Field(description="Left out while people contradict each other.")
    not_offered: int = Field(
        description="Labelled pairs that the queue has not drawn: their labels hold, and count for no promise."
    )
    by: list[Labeller]


class NearPairs(BaseModel):
    """What the promise is about: pairs of stored questions near each other."""

    known: int
    to_read: int = Field(description="Questions whose near pairs have yet to be looked for.")


class CurvePoint(BaseModel):
    """A threshold: what lies at or above it, and what the labels say of that. Intervals hold 95 % at every look."""

    threshold: float
    pairs: int
    labels: int
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    recall_low: float
    recall_high: float
    volume_a_day: float | None = Field(
        description="Asked questions a day whose best candidate lies there; null before an hour was counted."
    )


class Evidence(BaseModel):
    """What the labels of a collection support."""

    collection: str
    release: str
    target_precision: float | None
    review_recall: float | None
    thresholds: Thresholds
    promise: PromiseOfTarget | None = Field(description="Of `target_precision`; null without one.")
    promises: list[PromiseOfTarget]
    labels: LabelCounts
    near_pairs: NearPairs
    asked_hours: float = Field(description="The hours in which asked questions were counted.")
    curve: list[CurvePoint]


class OfferedQuestion(BaseModel):
    """A question of an offered pair."""

    id: str | None = Field(description="Null for a text that was asked and is not stored.")
    text: str


class OfferedPair(BaseModel):
    """A pair to label, or to skip."""

    id: int = Field(description="Of the offer, for `skip`.")
    questions: list[OfferedQuestion]
    similarity: float
    probability: float
    verdict: Literal["duplicate", "review", "different"]
    offered_by: Literal["chosen", "random"] = Field(
        description="How the stratum of its probability was come by; in it, the pair was drawn by lot."
    )
    offered_probability: float = Field(description="That this draw took this pair.")
    claimed_until: str = Field(description="Until then nobody else is offered it.")


class ReviewQueue(BaseModel):
    """Pairs to label next."""

    collection: str
    release: str
    pairs: list[OfferedPair]
    waiting: int = Field(description="Further pairs that may be drawn.")
    to_read: int = Field(description="Questions whose near pairs have yet to be looked for.")


class Skip(Body):
    """A pair of which a person can't tell."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"by": "anna", "id": 1}]})

    by: Annotated[Person | None, Field(description="Left out, it is the key's name.")] = None
    id: Annotated[int, Field(ge=1, le=MAX_NUMBER, strict=True, description="Of the offer.")]


class Skipped(BaseModel):
    """The pair was skipped, and is offered to nobody any more."""

    collection: str
    id: int


@router.get(
    "/collections/{name}/evidence",
    response_model=Evidence,
    responses=documented(CollectionNotFound, NotReady, ModelFailing),
)
async def read_evidence(name: ThisCollection, promises: ThePromises) -> object:
    """See precision and recall against threshold, where the thresholds stand and by whose labels, and how many labels
    each tighter promise lacks.

    Only labels of pairs that the review queue drew count. The bounds hold although they are looked at at any time.
    """
    return _evidence(await promises.evidence(name))


@router.get(
    "/collections/{name}/review-queue",
    response_model=ReviewQueue,
    responses=documented(CollectionNotFound, NotReady, ModelFailing, Overloaded, StorageFull),
)
async def read_review_queue(
    name: ThisCollection,
    response: Response,
    promises: ThePromises,
    speaker: TheSpeaker,
    by: Annotated[
        Person | None,
        Query(description="Who is going to label them; left out, it is the key's name."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_OFFERED, description="Pairs to look at.")] = 5,
) -> object:
    """Get pairs to label next, by `POST /labels`. For 60 seconds nobody else gets the same.

    Four of five are drawn where a label helps most, a fifth anywhere. Who asks again gets what is not labelled yet. The
    pairs are of stored questions near each other, and of what was asked lately where SAMEASK_REMEMBER_ASKED is on.
    """
    response.headers["Cache-Control"] = "no-store"
    offered = await promises.offer(name, speaker.name("by", by), limit)
    return {**vars(offered), "pairs": [_pair(look) for look in offered.pairs]}


@router.post(
    "/collections/{name}/review-queue/skip",
    response_model=Skipped,
    dependencies=[counted()],
    responses=documented(CollectionNotFound, OfferNotFound, Overloaded, StorageFull),
)
async def skip_pair(
    name: ThisCollection, body: Skip, promises: ThePromises, speaker: TheSpeaker
) -> object:
    """Say of an offered pair that you can't tell. It is offered to nobody any more, and counts as no duplicate for the
    promise until somebody labels it."""
    await promises.skip(name, speaker.name("by", body.by), body.id)
    return {"collection": name, "id": body.id}


@router.delete(
    "/collections/{name}/asked",
    status_code=204,
    responses=documented(CollectionNotFound, Overloaded, StorageFull),
)
async def erase_asked(name: ThisCollection, promises: ThePromises) -> None:
    """Erase what was asked lately (SAMEASK_REMEMBER_ASKED), and the pairs with it that wait to be offered."""
    await promises.erase_asked(name)


def _evidence(report: Report) -> dict[str, Any]:
    points = zip(report.curve, report.volumes, strict=True)
    return {
        "collection": report.collection.name,
        "release": report.release,
        "target_precision": report.collection.target_precision,
        "review_recall": report.collection.review_recall,
        "thresholds": report.thresholds,
        "promise": report.promise,
        "promises": report.promises,
        "labels": {
            **vars(report.labels),
            "by": [{"by": by, "labels": count} for by, count in report.labels.by],
        },
        "near_pairs": {"known": report.known_pairs, "to_read": report.to_read},
        "asked_hours": report.asked_hours,
        "curve": [{**vars(point), "volume_a_day": volume} for point, volume in points],
    }


def _pair(look: Look) -> dict[str, Any]:
    near = look.offered.near
    offer = look.offered.offer
    questions = [{"id": id_, "text": text} for id_, text in zip(near.ids, near.texts, strict=True)]
    return {
        "id": offer.id,
        "questions": questions,
        "similarity": near.similarity,
        "probability": near.probability,
        "verdict": look.verdict,
        "offered_by": offer.offered_by,
        "offered_probability": offer.probability,
        "claimed_until": look.claimed_until,
    }
