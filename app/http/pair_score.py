"""`POST /pair-score`: do these two ask the same?"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.errors import CollectionNotFound, Overloaded
from app.fields import CollectionName, Limits, Text
from app.http.bodies import Body, FirstErrors, counted
from app.http.dependencies import TheDetector, TheSettings, may_see_names, report
from app.http.labels import PairLabel
from app.http.parameters import StrictRoute
from app.http.problems import documented
from app.http.reasons import PairReason
from app.leaving import while_connected

router = APIRouter(route_class=StrictRoute, tags=["asking"])


class Pair(Body):
    """Two questions; their order makes no difference."""

    question1: Text
    question2: Text


class PairsQuery(Body):
    """Pairs to score."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pairs": [
                        {
                            "question1": "How can I change my password?",
                            "question2": "How do I reset my password?",
                        }
                    ]
                }
            ]
        },
    )

    pairs: Annotated[list[Pair], Field(min_length=1), FirstErrors()]
    collection: Annotated[CollectionName, Field(description="Whose labels hold.")] = "default"


class Score(BaseModel):
    """How alike the two are."""

    similarity: float = Field(description="Cosine of the two embeddings; higher is closer.")
    probability: float = Field(description="Calibrated P(duplicate).")
    read: bool = Field(description="Whether the release's pair classifier has read the pair.")
    verdict: Literal["duplicate", "review", "different"]
    truncated1: bool = Field(
        description="Whether the first text was longer than the model reads, and cut."
    )
    truncated2: bool = Field(description="Whether the second one was.")
    reasons: list[PairReason] = Field(
        description="Why, the most important first; three at most. None where nothing stands out."
    )
    label: PairLabel | None = Field(
        description="What people said of this pair; null where the verdict is the model's."
    )


class Scores(BaseModel):
    """One score for each pair."""

    release: str
    scores: list[Score]


@router.post(
    "/pair-score",
    response_model=Scores,
    dependencies=[counted(pairs="max_pairs")],
    responses=documented(CollectionNotFound, Overloaded),
)
async def score_pairs(
    query: PairsQuery,
    request: Request,
    response: Response,
    detector: TheDetector,
    settings: TheSettings,
) -> object:
    """Score pairs of questions. The same as `/duplicates` would say of them, whichever comes first."""
    limits = Limits(settings)
    for i, pair in enumerate(query.pairs):
        limits.text(f"pairs.{i}.question1", pair.question1)
        limits.text(f"pairs.{i}.question2", pair.question2)
    limits.check()
    pairs = [(pair.question1, pair.question2) for pair in query.pairs]
    scored = await while_connected(request, detector.score(pairs, query.collection))
    report(response, scored.phases.seconds)
    return scored if may_see_names(request) else scored.without_names()
