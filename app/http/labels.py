"""`/labels`: what people say of pairs. Their word overrules the model's, for exactly that pair."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.background import to_its_end
from app.engine.store import NAMELESS, NewLabel
from app.engine.store import Label as StoredLabel
from app.errors import (
    CollectionNotFound,
    InvalidRequest,
    LabelNotFound,
    LabelReplaced,
    Overloaded,
    QuestionNotFound,
    SpeaksForItself,
    StorageFull,
)
from app.fields import MAX_NUMBER, CollectionName, GivenId, Limits, Person, Text
from app.http.bodies import Body, FirstErrors, Two, counted
from app.http.dependencies import (
    InCollection,
    Reading,
    TheDetector,
    TheReading,
    TheSettings,
    TheSpeaker,
    may_see_names,
)
from app.http.paging import ThePage
from app.http.parameters import StrictRoute
from app.http.problems import documented

router = APIRouter(route_class=StrictRoute, tags=["labels"])

ThisLabel = Annotated[
    int, Path(ge=1, le=MAX_NUMBER, description="The label's id in its collection.")
]
YesOrNo = Literal["true", "false"]


def _without_default(schema: dict[str, Any]) -> None:
    """Left out, a field of the one way to name a pair means the other: it has no value of its own."""
    del schema["default"]


class PairLabel(BaseModel):
    """What people said of a pair: the latest of its labels. The verdict is theirs, not the model's."""

    id: int = Field(description="By which `DELETE /labels/{id}` undoes it.")
    is_duplicate: bool
    by: str = Field(description="Who said so; `a person` for keys with the scope `ask` alone.")
    at: str
    contradicted: bool = Field(
        description="Whether another person says the opposite; the verdict is `review` then."
    )


class PairToLabel(Body):
    """A pair, by two ids or by two texts, and what somebody says of it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["ids"]}, {"required": ["questions"]}]},
    )

    ids: Annotated[
        list[GivenId],
        Field(
            min_length=2,
            max_length=2,
            description="Two questions of the collection, by their ids.",
            json_schema_extra=_without_default,
        ),
        Two,
    ] = Field([])
    questions: Annotated[
        list[Text],
        Field(
            min_length=2,
            max_length=2,
            description="Two texts; they need not be stored.",
            json_schema_extra=_without_default,
        ),
        Two,
    ] = Field([])
    is_duplicate: Annotated[bool, Field(strict=True, description="Whether the two ask the same.")]
    by: Annotated[
        Person | None,
        Field(
            description="Who says so, in the client's own words. Left out, it is the key's name. A key with a name"
            " speaks for itself alone, unless it has the scope `admin`."
        ),
    ] = None
    note: Annotated[
        Text | None, Field(description="Anything; left out, an earlier note stays.")
    ] = None

    @model_validator(mode="after")
    def _names_one_pair(self) -> Self:
        named = self.model_fields_set & {"ids", "questions"}
        if len(named) != 1:
            raise ValueError("names its pair either by `ids` or by `questions`")
        return self


class Labelling(Body):
    """Pairs to label, all or none. The order of a pair's questions makes no difference."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "labels": [
                        {
                            "questions": [
                                "How can I change my password?",
                                "How do I reset my password?",
                            ],
                            "is_duplicate": True,
                            "by": "anna",
                        },
                        {
                            "questions": ["How do I get a refund?", "How do I give a refund?"],
                            "is_duplicate": False,
                            "by": "anna",
                            "note": "buyer and seller",
                        },
                    ]
                }
            ]
        },
    )

    collection: CollectionName = "default"
    labels: Annotated[list[PairToLabel], Field(min_length=1), FirstErrors()]


class Given(BaseModel):
    """The label that now stands for what was said."""

    id: int
    contradicted: bool = Field(description="Whether another person says the opposite of this pair.")


class Labelled(BaseModel):
    """The outcome of labelling. It is durable, and the next answer keeps to it."""

    collection: str
    added: int
    replaced: int = Field(
        description="Where the same person had said otherwise, or with another note."
    )
    unchanged: int
    labels: list[Given] = Field(description="One for each pair, in the order of the request.")


class Ending(BaseModel):
    """Who ended a label, and when."""

    by: str = Field(description="Another than the asker is `a person` for keys without `read`.")
    at: str
    replaced_by: int | None = Field(
        description="The later label of the same person; null if it was undone."
    )


class Label(BaseModel):
    """What somebody said of a pair."""

    id: int
    questions: list[str] = Field(
        description="The two texts, as they were given or stored; none for keys without `read`."
    )
    is_duplicate: bool
    by: str = Field(description="Another than the asker is `a person` for keys without `read`.")
    at: str
    note: str | None = Field(description="Null for keys without `read`.")
    contradicted: bool = Field(description="Whether another person says the opposite of this pair.")
    ended: Ending | None = Field(description="Null while the label is active.")
    offered_by: Literal["chosen", "random"] | None = Field(
        description="How the review queue came by the pair's stratum; null for a pair that it never drew."
    )
    offered_probability: float | None = Field(description="That the draw took this pair.")


class LabelPage(BaseModel):
    """Labels in the order in which they were given."""

    collection: str
    labels: list[Label]
    next_cursor: str | None


@router.post(
    "/labels",
    response_model=Labelled,
    dependencies=[counted(labels="max_labels")],
    responses=documented(
        CollectionNotFound,
        QuestionNotFound,
        SpeaksForItself,
        InvalidRequest,
        Overloaded,
        StorageFull,
    ),
)
async def label_pairs(
    body: Labelling,
    detector: TheDetector,
    settings: TheSettings,
    speaker: TheSpeaker,
) -> object:
    """Say of pairs whether they ask the same; all of them, or none.

    The next answers of `/duplicates` and `/pair-score` keep to it, for exactly these pairs. A question that is
    called a duplicate is offered even if no search finds it. One that is called different never gets the verdict
    `duplicate`. While people contradict each other, the verdict of their pair is `review`. A pair is known by its
    texts, so a question that is written again under another id keeps its labels. They hold for the same bytes first,
    then for the same visible words (whatever white space, invisible characters and quotes), then for words that differ
    in letter case or end punctuation alone.

    What a person says of a pair replaces what the same person said before; saying it again changes nothing.
    """
    limits = Limits(settings)
    for i, pair in enumerate(body.labels):
        for side, text in enumerate(pair.questions):
            limits.text(f"labels.{i}.questions.{side}", text)
        limits.text(f"labels.{i}.note", pair.note or "")
    limits.check()
    new = [
        _new_label(pair, speaker.name(f"labels.{i}.by", pair.by))
        for i, pair in enumerate(body.labels)
    ]
    labelled = await detector.label(body.collection, new)
    return {
        "collection": body.collection,
        "added": labelled.added,
        "replaced": labelled.replaced,
        "unchanged": labelled.unchanged,
        "labels": labelled.labels,
    }


@router.get("/labels", response_model=LabelPage, responses=documented(CollectionNotFound))
async def list_labels(
    reading: TheReading,
    page: ThePage,
    collection: InCollection = "default",
    is_duplicate: Annotated[YesOrNo | None, Query(description="Those that say so.")] = None,
    by: Annotated[Person | None, Query(description="Those of this person.")] = None,
    contradicted: Annotated[
        YesOrNo | None,
        Query(description="Those of which another person says the opposite, or the others."),
    ] = None,
    history: Annotated[
        YesOrNo, Query(description="Also those that were undone or replaced.")
    ] = "false",
) -> object:
    """List labels in the order in which they were given, a page at a time: the active ones, or all there ever were."""
    items = await reading(
        reading.store.labels.page,
        collection,
        limit=page.wanted,
        max_bytes=page.max_bytes,
        after=page.after_number,
        is_duplicate=_truth(is_duplicate),
        by=by,
        contradicted=_truth(contradicted),
        history=history == "true",
    )
    labels, next_cursor = page.of(items, lambda label: str(label.id))
    documents = await _documents(reading, collection, labels)
    return {"collection": collection, "labels": documents, "next_cursor": next_cursor}


@router.delete(
    "/labels/{id}",
    response_model=Label,
    responses=documented(
        CollectionNotFound,
        LabelNotFound,
        LabelReplaced,
        SpeaksForItself,
        Overloaded,
        StorageFull,
    ),
)
async def undo_label(
    id: ThisLabel,  # noqa: A002
    request: Request,
    detector: TheDetector,
    reading: TheReading,
    speaker: TheSpeaker,
    by: Annotated[
        Person | None, Query(description="Who undoes it; left out, it is the key's name.")
    ] = None,
    collection: InCollection = "default",
) -> object:
    """Undo a label: the next answer is as if it had not been given. It stays readable, with who ended it and when.

    Undoing it twice changes nothing. What it replaced does not come back; say it again. A key with a name undoes its
    own labels alone, unless it has the scope `admin`. To one without `read` the answer tells no text and no other name.
    """
    name = speaker.name("by", by)
    own_only = not speaker.speaks_for_others
    label = await detector.undo_label(collection, id, name, own_only=own_only)
    (document,) = await to_its_end(_documents(reading, collection, [label]))
    return document if may_see_names(request) else _withheld(document, name)


def _withheld(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A label for a key that may not read what is stored; `name` is the asker's."""

    def known(by: str) -> str:
        return by if by == name else NAMELESS

    ended = document["ended"]
    return {
        **document,
        "questions": [],
        "by": known(document["by"]),
        "note": None,
        "ended": replace(ended, by=known(ended.by)),
    }


async def _documents(
    reading: Reading, collection: str, labels: Sequence[StoredLabel]
) -> list[dict[str, Any]]:
    """Labels, and how the review queue drew their pairs."""
    pairs = [label.pair for label in labels]
    offers = await reading(reading.store.offers.in_collection, collection, pairs)
    documents = []
    for label in labels:
        offer = offers.get(label.pair)
        document = dict(vars(label))
        document["offered_by"] = offer.offered_by if offer else None
        document["offered_probability"] = offer.probability if offer else None
        documents.append(document)
    return documents


def _new_label(pair: PairToLabel, by: str) -> NewLabel:
    return NewLabel(
        pair.is_duplicate,
        by,
        pair.note,
        ids=pair.ids or None,
        questions=pair.questions or None,
    )


def _truth(value: YesOrNo | None) -> bool | None:
    return None if value is None else value == "true"
