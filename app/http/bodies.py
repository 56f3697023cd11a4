"""Bodies of requests: counted before they are validated, and validated no further than the first errors.

A body of a few megabytes can hold millions of mistakes. Each would cost as much as a good item to find, and far more
to report, while every other request waits.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails
from pydantic_core.core_schema import no_info_wrap_validator_function

from app.errors import FieldError, InvalidJson, InvalidRequest, UnsupportedBody
from app.fields import Limits
from app.http.problems import MAX_ERRORS

MAX_CONTAINERS = (
    20_000  # objects and lists in a body: each takes fifty times the memory of its two characters
)
# Up to the next brace or bracket that stands in no string.
TO_NEXT_CONTAINER = re.compile(rb'[^"{\[]*+(?:"(?:[^"\\]++|\\.)*+"[^"{\[]*+)*+[{\[]', re.DOTALL)
ITEMS_AT_ONCE = (
    10  # few enough for their errors to be made quickly, enough for a good list to cost no more
)


class Body(BaseModel):
    """An object of a request. Unknown fields are refused, the first of them by name."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_no_heap_of_unknown_fields(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MAX_ERRORS:
            raise ValueError(f"has {len(value):,} fields; it knows {len(cls.model_fields)}")
        return value


@dataclass(frozen=True)
class FirstErrors:
    """Of a list: its items are validated a few at a time, and no further than the first errors."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_wrap_validator_function(_validated, handler(source))


def _two(value: object) -> object:
    if isinstance(value, list) and len(value) != 2:
        raise ValueError(f"must have 2 items, not {len(value):,}")
    return value


Two = BeforeValidator(_two)  # of a list: counted before its items are looked at


def counted(**limits: str) -> Any:
    """A dependency that counts lists of the body, by field, before anything is validated.

    `limits` names for each field the setting that says how many items it may have. Raises UnsupportedBody,
    InvalidJson, InvalidRequest.
    """

    async def count(request: Request) -> None:
        content = await request.body()
        if not content:
            return  # which is said to be missing
        if not _is_json(request.headers.get("content-type", "")):
            raise UnsupportedBody("the body must be JSON: send `Content-Type: application/json`")
        if json.detect_encoding(content) not in ("utf-8", "utf-8-sig"):
            raise InvalidJson
        body = await request.json()  # FastAPI has parsed it by now, and it is kept
        counts = Limits(request.app.state.settings)
        for field, limit in limits.items():
            value = body.get(field) if isinstance(body, dict) else None
            if isinstance(value, list):
                counts.count(field, value, limit)
        counts.check()

    return Depends(count)


def refuse_heap(content: bytes) -> None:
    """Raise InvalidRequest for more objects and lists than any request needs. In texts, braces are only counted where
    there are so many that it may matter."""
    if content.count(b"{") + content.count(b"[") <= MAX_CONTAINERS:
        return
    place = 0
    for _ in range(MAX_CONTAINERS + 1):
        found = TO_NEXT_CONTAINER.match(content, place)
        if not found:
            return
        place = found.end()
    why = f"has more than {MAX_CONTAINERS:,} objects and lists"
    raise InvalidRequest(FieldError("body", why))


def _is_json(content_type: str) -> bool:
    """Whether FastAPI reads a body of this type as JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    kind, _, subtype = media_type.partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _validated(value: object, validate: Callable[[object], list[Any]]) -> list[Any]:
    """The list's items, validated. Raises ValidationError with the first errors, by their places in the list."""
    if not isinstance(value, list) or len(value) <= ITEMS_AT_ONCE:
        return validate(value)
    items: list[Any] = []
    errors: list[InitErrorDetails] = []
    for start in range(0, len(value), ITEMS_AT_ONCE):
        try:
            items += validate(value[start : start + ITEMS_AT_ONCE])
        except ValidationError as error:
            errors += _moved(error, start)
        if len(errors) > MAX_ERRORS:
            break
    if errors:
        raise ValidationError.from_exception_data("list", errors)
    return items


def _moved(error: ValidationError, by: int) -> list[InitErrorDetails]:
    """The errors of a part of a list, as those of the whole, in which it begins at `by`."""
    moved: list[InitErrorDetails] = []
    for details in error.errors(include_url=False)[:MAX_ERRORS]:
        index, *inside = details["loc"]
        moved.append(
            InitErrorDetails(
                type=details["type"],
                loc=(int(index) + by, *inside),
                input=details["input"],
                ctx=details.get("ctx", {}),
            )
        )
    return moved
