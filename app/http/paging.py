"""Lists a page at a time: how many items a page has, and the opaque cursor that leads to the next one."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from app.engine.sizes import fitting
from app.errors import FieldError, InvalidRequest
from app.fields import MAX_NUMBER, Limits
from app.http.dependencies import TheSettings
from app.settings import Settings

T = TypeVar("T")

DEFAULT_PAGE = 100

Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
Limit = Annotated[
    int | None,
    Query(ge=1, description="Items on the page; if not said, 100, or as many as there may be."),
]


class Page:
    """The page that a request asks for. Mistakes in it are reported when it is used."""

    def __init__(self, limit: int | None, cursor: str | None, settings: Settings) -> None:
        self._limit = limit
        self._cursor = cursor
        self._settings = settings

    @property
    def size(self) -> int:
        """The most items that it has. Raises InvalidRequest for more than `max_page`."""
        return page_size(self._limit, self._settings)

    @property
    def wanted(self) -> int:
        """How many items to read: one more than it has, so that it is known whether others follow."""
        return self.size + 1

    @property
    def after(self) -> str | None:
        """The name of the item that it begins behind; None at the beginning. Raises InvalidRequest."""
        return decode_cursor(self._cursor)

    @property
    def after_number(self) -> int:
        """The number of the item that it begins behind; 0 at the beginning. Raises InvalidRequest."""
        return decode_number(self._cursor)

    @property
    def max_bytes(self) -> int:
        """The most bytes that the texts on it have together, unless one item has more."""
        return self._settings.max_answer_bytes

    def of(self, items: Sequence[T], name_of: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
        """The page's items, and the cursor to the next page, if there is one.

        `items` are the `wanted` ones; of large ones fewer, if they pass `max_bytes` (`until_full`).
        """
        kept = fitting(items[: self.size], self.max_bytes)
        if len(kept) == len(items):
            return items, None
        return kept, encode_cursor(name_of(kept[-1]))


async def _page(settings: TheSettings, cursor: Cursor = None, limit: Limit = None) -> Page:
    return Page(limit, cursor, settings)


ThePage = Annotated[Page, Depends(_page)]


def page_size(limit: int | None, settings: Settings) -> int:
    """How many items a page has. Raises InvalidRequest for more than `max_page`."""
    if limit is None:
        return min(DEFAULT_PAGE, settings.max_page)
    limits = Limits(settings)
    limits.at_most("limit", limit, "max_page")
    limits.check()
    return limit


def encode_cursor(last: str) -> str:
    """An opaque cursor for the page after the item named `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """The item a cursor points behind. Raises InvalidRequest for one that this service did not give."""
    if cursor is None:
        return None
    padding = b"=" * (-len(cursor) % 4)
    try:
        last = base64.urlsafe_b64decode(cursor.encode("ascii") + padding).decode()
    except (binascii.Error, UnicodeError):
        last = ""
    if not last or "\x00" in last or encode_cursor(last) != cursor:
        raise _not_given()
    return last


def decode_number(cursor: str | None) -> int:
    """The number that a cursor points behind, 0 for none. Raises InvalidRequest like `decode_cursor`."""
    last = decode_cursor(cursor) or "0"
    is_number = last.isascii() and last.isdigit() and len(last) < 20
    if not is_number or int(last) > MAX_NUMBER:
        raise _not_given()
    return int(last)


def _not_given() -> InvalidRequest:
    return InvalidRequest(FieldError("cursor", "is not one that this service gave"))
