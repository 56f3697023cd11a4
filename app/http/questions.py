"""`/questions`: what a collection holds."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from app.background import to_its_end
from app.errors import (
    CollectionNotFound,
    FieldError,
    InvalidRequest,
    Overloaded,
    QuestionNotFound,
    StorageFull,
)
from app.fields import CollectionName, Limits, QuestionId, StoredId, Text
from app.http.bodies import Body, FirstErrors, counted
from app.http.dependencies import InCollection, TheDetector, TheReading, TheSettings
from app.http.paging import ThePage
from app.http.parameters import StrictRoute
from app.http.problems import documented

router = APIRouter(route_class=StrictRoute, tags=["questions"])

ThisQuestion = Annotated[
    StoredId, Path(description="The client's own id; slashes may stand in it.")
]


class NewQuestion(Body):
    """A question under the client's own id."""

    id: QuestionId
    text: Text


class Upsert(Body):
    """Questions to write: new ids are added, known ids get the new text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"questions": [{"id": "faq-1", "text": "How do I reset my password?"}]}]
        },
    )

    collection: CollectionName = "default"
    questions: Annotated[list[NewQuestion], Field(min_length=1), FirstErrors()]


class Written(BaseModel):
    """What a write did; it is durable, and the next answer knows it."""

    collection: str
    revision: int = Field(description="The collection's revision after the write.")
    added: int
    updated: int
    unchanged: int
    truncated: int = Field(
        description="Texts of the request that the model does not read to their end."
    )
    tokens: int = Field(description="Of the texts of the request, as the model reads them.")
    unknown_tokens: int = Field(
        description="Those of them that stand for characters that it can't read."
    )


class Question(BaseModel):
    """A stored question."""

    id: str
    text: str
    revision: int = Field(description="The revision that wrote this version.")
    quarantined: str | None = Field(
        description="Why the text could not be embedded; null if it was."
    )


class QuestionPage(BaseModel):
    """Questions in the order of their ids."""

    collection: str
    questions: list[Question]
    next_cursor: str | None


class Deleted(BaseModel):
    """A delete that is durable; no later answer offers the question."""

    collection: str
    revision: int


@router.post(
    "/questions",
    response_model=Written,
    dependencies=[counted(questions="max_upsert")],
    responses=documented(CollectionNotFound, Overloaded, StorageFull),
)
async def upsert_questions(body: Upsert, detector: TheDetector, settings: TheSettings) -> Written:
    """Add or update questions, all of them or none. Writing the same again changes nothing."""
    limits = Limits(settings)
    for i, question in enumerate(body.questions):
        limits.text(f"questions.{i}.text", question.text)
    limits.check()
    _refuse_repeated_ids(body.questions)
    texts = [(question.id, question.text) for question in body.questions]
    written = await detector.add(body.collection, texts)
    reading = await to_its_end(detector.reading_of([text for _, text in texts]))
    return Written(
        collection=body.collection,
        revision=written.revision,
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
        truncated=reading.truncated,
        tokens=reading.tokens,
        unknown_tokens=reading.unknown,
    )


@router.get("/questions", response_model=QuestionPage, responses=documented(CollectionNotFound))
async def list_questions(
    reading: TheReading, page: ThePage, collection: InCollection = "default"
) -> object:
    """List questions in the order of their ids, a page at a time. A page of long texts has fewer than `limit`."""
    items = await reading(
        reading.store.questions.page,
        collection,
        limit=page.wanted,
        after=page.after,
        max_bytes=page.max_bytes,
    )
    questions, next_cursor = page.of(items, lambda question: question.id)
    return {"collection": collection, "questions": questions, "next_cursor": next_cursor}


@router.get(
    "/questions/{id:path}",
    response_model=Question,
    responses=documented(CollectionNotFound, QuestionNotFound),
)
async def read_question(
    id: ThisQuestion,  # noqa: A002
    reading: TheReading,
    collection: InCollection = "default",
) -> object:
    """Read one question."""
    return await reading(reading.store.questions.get, collection, id)


@router.delete(
    "/questions/{id:path}",
    response_model=Deleted,
    responses=documented(CollectionNotFound, QuestionNotFound, Overloaded, StorageFull),
)
async def delete_question(
    id: ThisQuestion,  # noqa: A002
    detector: TheDetector,
    collection: InCollection = "default",
) -> object:
    """Delete one question. Its text is erased, save for what labels keep of it; those go with their collection.

    What a training run that is under way was given of it goes when the run ends.
    """
    written = await detector.remove(collection, id)
    return {"collection": collection, "revision": written.revision}


def _refuse_repeated_ids(questions: list[NewQuestion]) -> None:
    counts = Counter(question.id for question in questions)
    errors: list[FieldError] = []
    for i, question in enumerate(questions):
        if counts[question.id] > 1:
            errors.append(FieldError(f"questions.{i}.id", "stands more than once in this request"))
    if errors:
        raise InvalidRequest(*errors)
