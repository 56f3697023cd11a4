"""`/collections`: searchable sets of questions, and the wishes for each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sameask_client.operation import (
    UNSET,
    Listing,
    Operation,
    Unset,
    delete,
    get,
    given,
    in_path,
    put,
)

Source = Literal["collection", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The probabilities from which on the verdicts `duplicate` (None: nowhere) and `review` are given.

    `source`, `review_source`: whose labels set them, the collection's own or the release's.
    """

    source: Source
    review_source: Source
    duplicate: float | None
    review: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection. `default` exists from the start.

    `target_precision`: that `duplicate` is to have; `review_recall`: the share of the duplicates that `review` and
    `duplicate` are to hold; None where nothing is wished. `url_template`: where a question is read, by its `{id}`.
    """

    name: str
    revision: int
    questions: int
    created_at: datetime
    target_precision: float | None = None
    review_recall: float | None = None
    url_template: str | None = None
    thresholds: Thresholds | None = None


def create_collection(
    name: str,
    *,
    target_precision: float | Unset | None = UNSET,
    review_recall: float | Unset | None = UNSET,
    url_template: str | Unset | None = UNSET,
) -> Operation[Collection]:
    """Make a collection, or change the wishes for it. A wish that is left out stays as it is; None takes it back."""
    wishes = given(
        target_precision=target_precision, review_recall=review_recall, url_template=url_template
    )
    return put(Collection, f"/collections/{in_path(name)}", wishes or None)


def read_collection(name: str) -> Operation[Collection]:
    """Read one collection."""
    return get(Collection, f"/collections/{in_path(name)}")


def list_collections(*, page_size: int | None = None) -> Listing[Collection]:
    """Every collection, in the order of their names, a page at a time."""
    return Listing("/collections", "collections", Collection, {"limit": page_size})


def delete_collection(name: str) -> Operation[None]:
    """Delete a collection with all its questions and labels. Sent again after a broken connection, it may raise
    NotFound: it was done the first time."""
    return delete(f"/collections/{in_path(name)}")


def erase_asked(name: str) -> Operation[None]:
    """Erase the questions asked of a collection lately, where the service remembers them."""
    return delete(f"/collections/{in_path(name)}/asked")
