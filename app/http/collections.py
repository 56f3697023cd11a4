"""`/collections`: searchable sets of questions, made explicitly."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from app.detector import Detector
from app.engine.store import Collection as StoredCollection
from app.errors import CollectionNotFound, CollectionProtected, Overloaded, StorageFull
from app.fields import CollectionName, Recall, TargetPrecision, UrlTemplate
from app.http.bodies import Body, counted
from app.http.dependencies import (
    TheDetector,
    ThePromises,
    TheReading,
    TheSettings,
    TheTrainingRuns,
)
from app.http.paging import ThePage
from app.http.parameters import StrictRoute
from app.http.problems import documented

router = APIRouter(route_class=StrictRoute, tags=["collections"])

ThisCollection = Annotated[
    CollectionName,
    Path(description="Lower-case letters, digits, `-` and `_`; at most 64.", examples=["faq"]),
]


class Wishes(Body):
    """The wishes for a collection. A field that is left out stays as it is; null takes the wish back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"target_precision": 0.95, "url_template": "https://forum.example/t/{id}"}]
        },
    )

    target_precision: TargetPrecision | None = None
    review_recall: Recall | None = None
    url_template: UrlTemplate | None = None


class Thresholds(BaseModel):
    """Where verdicts begin, and by whose labels."""

    source: Literal["collection", "release"] = Field(
        description="Whose labels set `duplicate`: the collection's own, once they are enough, or the release's."
    )
    review_source: Literal["collection", "release"] = Field(description="The same for `review`.")
    duplicate: float | None = Field(
        description="The probability from which on the verdict is `duplicate`; null: nowhere."
    )
    review: float = Field(description="The probability from which on it is `review`.")


class Collection(BaseModel):
    """A collection. `default` exists from the start."""

    name: str
    revision: int = Field(description="The number of changes so far.")
    questions: int
    created_at: str
    target_precision: float | None = Field(
        description="The precision that `duplicate` is to have; null: SAMEASK_TARGET_PRECISION."
    )
    review_recall: float | None = Field(
        description="The share of the duplicates that `review` and `duplicate` are to hold; null: the release's."
    )
    url_template: str | None = Field(description="Where a question is read, by its `{id}`.")
    thresholds: Thresholds


class CollectionPage(BaseModel):
    """Collections in the order of their names."""

    collections: list[Collection]
    next_cursor: str | None


@router.put(
    "/collections/{name}",
    response_model=Collection,
    dependencies=[counted()],
    responses=documented(
        Overloaded,
        StorageFull,
        also={
            200: {"description": "There already"},
            201: {"description": "Made now", "model": Collection},
        },
    ),
)
async def create_collection(
    name: ThisCollection,
    response: Response,
    detector: TheDetector,
    promises: ThePromises,
    settings: TheSettings,
    wishes: Wishes | None = None,
) -> object:
    """Make a collection, or change what is wished of it; 200 if it was there already.

    With a `target_precision`, thresholds are derived of the collection's own labels as soon as these support it, and
    within a second after each label; until then, the release's hold. See `/collections/{name}/evidence`.
    """
    changes = wishes.model_dump(exclude_unset=True) if wishes else {}
    collection, created = await detector.create_collection(name, settings.max_collections, changes)
    if changes:
        promises.upkeep.renew_soon(name)
    response.status_code = 201 if created else 200
    return _document(collection, detector)


@router.get(
    "/collections/{name}", response_model=Collection, responses=documented(CollectionNotFound)
)
async def read_collection(
    name: ThisCollection, reading: TheReading, detector: TheDetector
) -> object:
    """Read one collection."""
    return _document(await reading(reading.store.collections.get, name), detector)


@router.delete(
    "/collections/{name}",
    status_code=204,
    responses=documented(CollectionNotFound, CollectionProtected, Overloaded, StorageFull),
)
async def delete_collection(
    name: ThisCollection, detector: TheDetector, training_runs: TheTrainingRuns
) -> None:
    """Delete a collection with all its questions and labels, and what training runs were given of them.

    `default` stays, and so do releases that learnt from it: they hold no texts.
    """
    await detector.delete_collection(name)
    await training_runs.sweep()


@router.get("/collections", response_model=CollectionPage, responses=documented())
async def list_collections(reading: TheReading, page: ThePage, detector: TheDetector) -> object:
    """List collections in the order of their names, a page at a time."""
    items = await reading(reading.store.collections.page, limit=page.wanted, after=page.after or "")
    collections, next_cursor = page.of(items, lambda collection: collection.name)
    documents = [_document(collection, detector) for collection in collections]
    return {"collections": documents, "next_cursor": next_cursor}


def _document(collection: StoredCollection, detector: Detector) -> dict[str, Any]:
    """A collection with its thresholds as they are now."""
    return {**vars(collection), "thresholds": detector.live.thresholds(collection.key)}
