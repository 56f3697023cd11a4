"""`/questions`: what a collection holds."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from app.errors import (
    CollectionNotFound,
    FieldError,
    InvalidRequest,
    Overloaded,
    QuestionNotFound,
    StorageFull,
)
from app.http.dependencies import Cursor, InCollection, Limit, TheDetector, TheSettings
from app.http.fields import (
    CollectionName,
    Limits,
    QuestionId,
    Text,
    decode_cursor,
    encode_cursor,
    page_size,
)
from app.http.links import link, links
from app.http.problems import documented

router = APIRouter(tags=["questions"])

ThisQuestion = Annotated[
    QuestionId, Path(description="The client's own id; slashes may stand in it.")
]

COLLECTION = "$response.body#/collection"
FIRST_ID = "$request.body#/questions/0/id"


class NewQuestion(BaseModel):
    """A question under the client's own id."""

    model_config = ConfigDict(extra="forbid")

    id: QuestionId
    text: Text


class Upsert(BaseModel):
    """Questions to write: new ids are added, known ids get the new text."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"questions": [{"id": "faq-1", "text": "How do I reset my password?"}]}]
        },
    )

    collection: CollectionName = "default"
    questions: Annotated[list[NewQuestion], Field(min_length=1)]


class Written(BaseModel):
    """What a write did; it is durable, and the next answer knows it."""

    collection: str
    revision: int = Field(description="The collection's revision after the write.")
    added: int
    updated: int
    unchanged: int


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
    responses=documented(
        CollectionNotFound,
        Overloaded,
        StorageFull,
        also={
            200: links(
                read_question=link("Read the first of them.", id=FIRST_ID, collection=COLLECTION),
                delete_question=link(
                    "Delete the first of them.", id=FIRST_ID, collection=COLLECTION
                ),
                find_duplicates=link(
                    "Ask for the first of them; the answer knows it.",
                    {"collection": COLLECTION, "questions": ["$request.body#/questions/0/text"]},
                ),
                label_pairs=link(
                    "Say that the first of them asks something else than another question.",
                    {
                        "collection": COLLECTION,
                        "labels": [
                            {
                                "questions": [
                                    "$request.body#/questions/0/text",
                                    "Is this another question?",
                                ],
                                "is_duplicate": False,
                                "by": "anna",
                            }
                        ],
                    },
                ),
            ),
            404: links(
                create_collection=link("Make the collection.", name="$request.body#/collection")
            ),
        },
    ),
)
async def upsert_questions(body: Upsert, detector: TheDetector, settings: TheSettings) -> Written:
    """Add or update questions, all of them or none. Writing the same again changes nothing."""
    Limits(settings).count("questions", body.questions, "max_upsert").texts(
        (f"questions.{i}.text", question.text) for i, question in enumerate(body.questions)
    ).check()
    _refuse_repeated_ids(body.questions)
    written = await detector.add(
        body.collection, [(question.id, question.text) for question in body.questions]
    )
    return Written(
        collection=body.collection,
        revision=written.revision,
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
    )


@router.get(
    "/questions",
    response_model=QuestionPage,
    responses=documented(
        CollectionNotFound,
        also={
            200: links(
                list_questions=link(
                    "The next page, unless null.",
                    cursor="$response.body#/next_cursor",
                    collection=COLLECTION,
                )
            ),
            404: links(
                create_collection=link("Make the collection.", name="$request.query.collection")
            ),
        },
    ),
)
async def list_questions(
    detector: TheDetector,
    settings: TheSettings,
    collection: InCollection = "default",
    cursor: Cursor = None,
    limit: Limit = None,
) -> object:
    """List questions in the order of their ids, a page at a time."""
    size = page_size(limit, settings)
    found = await detector.list_questions(collection, decode_cursor(cursor), size + 1)
    next_cursor = encode_cursor(found[size - 1].id) if len(found) > size else None
    return {"collection": collection, "questions": found[:size], "next_cursor": next_cursor}


@router.get(
    "/questions/{id:path}",
    response_model=Question,
    responses=documented(CollectionNotFound, QuestionNotFound),
)
async def read_question(
    id: ThisQuestion, detector: TheDetector, collection: InCollection = "default"
) -> object:  # noqa: A002
    """Read one question."""
    return await detector.question(collection, id)


@router.delete(
    "/questions/{id:path}",
    response_model=Deleted,
    responses=documented(CollectionNotFound, QuestionNotFound, Overloaded, StorageFull),
)
async def delete_question(
    id: ThisQuestion, detector: TheDetector, collection: InCollection = "default"
) -> object:  # noqa: A002
    """Delete one question. Its text is erased, save for what labels keep of it; those go with their collection."""
    written = await detector.remove(collection, id)
    return {"collection": collection, "revision": written.revision}


def _refuse_repeated_ids(questions: list[NewQuestion]) -> None:
    counts = Counter(question.id for question in questions)
    errors = [
        FieldError(f"questions.{i}.id", "stands more than once in this request")
        for i, question in enumerate(questions)
        if counts[question.id] > 1
    ]
    if errors:
        raise InvalidRequest(*errors)
