"""`/livez`, `/readyz` and `/metrics`: for orchestrators and dashboards."""

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.http.dependencies import TheDetector, ThePromises, TheReading, TheReleases
from app.http.metrics import Metrics
from app.http.parameters import StrictRoute
from app.webhook.delivery import Webhook

router = APIRouter(route_class=StrictRoute, tags=["health"])


def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


def _webhook(request: Request) -> Webhook:
    return cast(Webhook, request.app.state.webhook)


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Whether questions are answered, and how far the indexes are."""

    ready: bool
    failure: str | None = Field(
        description="Why nobody is answered: the service is starting, or the model fails; null while it works."
    )
    refused: str | None = Field(
        description="Why this server does not answer by the release that another one made live last, where several"
        " share a database; null while it does.",
    )
    release: str | None = Field(
        description="The live release; null while the service starts. One on its way beside it makes nothing unready."
    )
    languages: list[str] = Field(
        description="Of the questions that the live release is for; pairs in others are `review` at most."
    )
    collections: int
    collections_ready: int
    questions: int
    questions_indexed: int
    recall: float = Field(
        description="Of the index with the lowest: share of the exactly nearest that search finds."
    )


@router.get("/livez")
async def livez() -> Alive:
    """The process is alive; true under any load, and from the first second."""
    return Alive()


@router.get(
    "/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "Not ready"}}
)
async def readyz(response: Response, detector: TheDetector) -> object:
    """Ready when the model answers and every index has caught up with the store since the start."""
    readiness = await detector.readiness()
    response.status_code = 200 if readiness.ready else 503
    return readiness


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(
    detector: TheDetector,
    reading: TheReading,
    promises: ThePromises,
    releases: TheReleases,
    webhook: Annotated[Webhook, Depends(_webhook)],
    metrics: Annotated[Metrics, Depends(_metrics)],
) -> Response:
    """Prometheus metrics."""
    content, content_type = await metrics.render(detector, reading, promises, releases, webhook)
    return Response(content, media_type=content_type)
