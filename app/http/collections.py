"""`/collections`: searchable sets of questions, made explicitly."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from app.errors import CollectionNotFound, CollectionProtected, Overloaded, StorageFull
from app.http.dependencies import Cursor, Limit, TheDetector, TheSettings
from app.http.fields import CollectionName, decode_cursor, encode_cursor, page_size
from app.http.links import link, links
from app.http.problems import documented

router = APIRouter(tags=["collections"])

ThisCollection = Annotated[
    CollectionName,
    Path(description="Lower-case letters, digits, `-` and `_`; at most 64.", examples=["faq"]),
]

NAME = "$response.body#/name"
NEXT = links(
    upsert_questions=link("Put questions into it.", {"collection": NAME}),
    list_questions=link("List its questions.", collection=NAME),
    label_pairs=link("Label pairs in it.", {"collection": NAME}),
    read_collection=link("Read it again.", name=NAME),
    delete_collection=link("Delete it.", name=NAME),
)


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
            200: {"description": "There already", **NEXT},
            201: {"description": "Made now", "model": Collection, **NEXT},
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
async def read_collection(name: ThisCollection, detector: TheDetector) -> object:
    """Read one collection."""
    return await detector.collection(name)


@router.delete(
    "/collections/{name}",
    status_code=204,
    responses=documented(CollectionNotFound, CollectionProtected, Overloaded, StorageFull),
)
async def delete_collection(name: ThisCollection, detector: TheDetector) -> None:
    """Delete a collection with all its questions and labels. `default` stays."""
    await detector.delete_collection(name)


@router.get(
    "/collections",
    response_model=CollectionPage,
    responses=documented(
        also={
            200: links(
                list_collections=link(
                    "The next page, unless null.", cursor="$response.body#/next_cursor"
                )
            )
        }
    ),
)
async def list_collections(
    detector: TheDetector, settings: TheSettings, cursor: Cursor = None, limit: Limit = None
) -> object:
    """List collections in the order of their names, a page at a time."""
    size = page_size(limit, settings)
    found = await detector.list_collections(decode_cursor(cursor) or "", size + 1)
    next_cursor = encode_cursor(found[size - 1].name) if len(found) > size else None
    return {"collections": found[:size], "next_cursor": next_cursor}
