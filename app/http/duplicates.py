"""`POST /duplicates`: has this been asked before?"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import CollectionNotFound, Overloaded
from app.fields import CollectionName, GivenId, Limits, Text
from app.http.bodies import Body, FirstErrors, counted
from app.http.dependencies import (
    TheActivity,
    TheDetector,
    TheSettings,
    may_see_names,
    report,
)
from app.http.labels import PairLabel
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.http.reasons import PairReason
from app.leaving import while_connected
from app.settings import Settings

router = APIRouter(route_class=StrictRoute, tags=["asking"])


class DuplicatesQuery(Body):
    """Questions to look for in a collection."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"questions": ["How can I change my password?"], "top_k": 3}]
        },
    )

    questions: Annotated[list[Text], Field(min_length=1), FirstErrors()]
    collection: CollectionName = "default"
    top_k: Annotated[
        int,
        Field(
            ge=1, strict=True, description="Most candidates, each another text, for each question."
        ),
    ] = 5
    verify: Annotated[
        Literal["auto", "always", "never"],
        Field(
            description="Which candidates the release's pair classifier reads, if it has one: the nearest, all, or"
            " none. What it has not read is `review` at most."
        ),
    ] = "auto"
    exclude_ids: Annotated[
        list[GivenId],
        Field(description="Never offer these; ask so for a question that is stored itself."),
        FirstErrors(),
    ] = Field([])


class Candidate(BaseModel):
    """An indexed text offered for an incoming one."""

    id: str = Field(description="Of the oldest question with this text.")
    ids: list[str] = Field(
        description="Of the questions with this text, the oldest first; 20 at most."
    )
    id_count: int = Field(description="How many questions have this text.")
    text: str
    truncated: bool = Field(
        description="Whether the text was longer than the model reads, and cut."
    )
    similarity: float = Field(description="Cosine of the two embeddings; higher is closer.")
    probability: float = Field(description="Calibrated P(duplicate).")
    read: bool = Field(description="Whether the release's pair classifier has read the pair.")
    verdict: Literal["duplicate", "review", "different"]
    reasons: list[PairReason] = Field(
        description="Why, the most important first; three at most. None where nothing stands out."
    )
    label: PairLabel | None = Field(
        description="What people said of this pair; null where the verdict is the model's."
    )


class Finding(BaseModel):
    """The answer for one question."""

    question: str
    verdict: Literal["duplicate", "review", "new"] = Field(
        description="The best candidate's; `different` is `new` here."
    )
    truncated: bool = Field(
        description="Whether the text was longer than the model reads, and cut."
    )
    candidates: list[Candidate]


class Duplicates(BaseModel):
    """One finding for each question, all by one release at one revision of the collection."""

    release: str
    collection: str
    revision: int
    results: list[Finding]


@router.post(
    "/duplicates",
    response_model=Duplicates,
    dependencies=[counted(questions="max_questions", exclude_ids="max_exclude_ids")],
    responses=documented(CollectionNotFound, Overloaded),
)
async def find_duplicates(
    query: DuplicatesQuery,
    request: Request,
    response: Response,
    detector: TheDetector,
    activity: TheActivity,
    settings: TheSettings,
) -> object:
    """Find stored questions that ask the same.

    A question that stands in the collection word for word (but for white space, invisible characters and quotes) is
    answered with its exact matches, and what labels link to them, alone. Nothing is closed, merged or deleted:
    the verdict is advice.
    """
    top_k = query.top_k
    if "top_k" not in query.model_fields_set:
        top_k = min(top_k, settings.max_top_k)
    _check(query, top_k, settings)
    finding = detector.find(
        query.questions, query.collection, top_k, query.exclude_ids, query.verify
    )
    findings = await while_connected(request, finding)
    activity.note(findings)
    report(response, findings.phases.seconds)
    return findings if may_see_names(request) else findings.without_names()


def _check(query: DuplicatesQuery, top_k: int, settings: Settings) -> None:
    """Raise InvalidRequest for what exceeds a limit."""
    limits = Limits(settings)
    limits.at_most("top_k", top_k, "max_top_k")
    if query.verify == "always" and top_k <= settings.max_top_k:
        pairs = len(query.questions) * top_k
        limits.at_most("verify", pairs, "max_waiting_pairs", "always means {value:,} pairs")
    for i, text in enumerate(query.questions):
        limits.text(f"questions.{i}", text)
    limits.check()
