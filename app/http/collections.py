"""`/collections`: searchable sets of questions, made explicitly."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from app.errors import CollectionNotFound, CollectionProtected, Overloaded, StorageFull
from app.fields import CollectionName
from app.http.dependencies import TheDetector, TheReading, TheSettings
from app.http.paging import ThePage
from app.http.parameters import StrictRoute
from app.http.problems import documented

router = APIRouter(route_class=StrictRoute, tags=["collections"])

ThisCollection = Annotated[
    CollectionName,
    Path(description="Lower-case letters, digits, `-` and `_`; at most 64.", examples=["faq"]),
]


class Collection(BaseModel):
    """A collection. `default` exists from the start."""

    name: str
    revision: int = Field(description="The number of changes so far.")
    questions: int
    created_at: str


class CollectionPage(BaseModel):
    """Collections in the order of their names."""

    collections: list[Collection]
    next_cursor: str | None


@router.put(
    "/collections/{name}",
    response_model=Collection,
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
    name: ThisCollection, response: Response, detector: TheDetector, settings: TheSettings
) -> object:
    """Make a collection; 200 if it was there already."""
    collection, created = await detector.create_collection(name, settings.max_collections)
    response.status_code = 201 if created else 200
    return collection


@router.get(
    "/collections/{name}", response_model=Collection, responses=documented(CollectionNotFound)
)
async def read_collection(name: ThisCollection, reading: TheReading) -> object:
    """Read one collection."""
    return await reading(reading.store.collections.get, name)


@router.delete(
    "/collections/{name}",
    status_code=204,
    responses=documented(CollectionNotFound, CollectionProtected, Overloaded, StorageFull),
)
async def delete_collection(name: ThisCollection, detector: TheDetector) -> None:
    """Delete a collection with all its questions and labels. `default` stays."""
    await detector.delete_collection(name)


@router.get("/collections", response_model=CollectionPage, responses=documented())
async def list_collections(reading: TheReading, page: ThePage) -> object:
    """List collections in the order of their names, a page at a time."""
    items = await reading(reading.store.collections.page, limit=page.wanted, after=page.after or "")
    collections, next_cursor = page.of(items, lambda collection: collection.name)
    return {"collections": collections, "next_cursor": next_cursor}
