"""Errors out: RFC 9457 problem documents."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.errors import BodyTooLarge, InvalidJson, InvalidRequest, SameaskError, ServiceError

CONTENT_TYPE = "application/problem+json"
MAX_ERRORS = 100

log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """One field at fault."""

    field: str = Field(examples=["questions.0.text"])
    detail: str = Field(examples=["has 12,000 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)"])


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(
        "about:blank", description="`about:blank`: the title says what kind of problem it is."
    )
    title: str = Field(examples=["Invalid request"])
    status: int = Field(examples=[422])
    detail: str
    errors: list[FieldProblem] | None = Field(
        None, description=f"The fields at fault, where there are any; at most {MAX_ERRORS}."
    )


def problem(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """A response whose body is a problem document. Its size is bounded, however many fields are at fault."""
    if len(errors) > MAX_ERRORS:
        detail += f"; only the first {MAX_ERRORS} of {len(errors):,} errors are listed"
    listed = list(errors[:MAX_ERRORS]) or None
    document = Problem(type="about:blank", title=title, status=status, detail=detail, errors=listed)
    return JSONResponse(document.model_dump(exclude_none=True), status, headers, CONTENT_TYPE)


def answer(error: SameaskError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem document of an error of ours; a fault of the service is logged."""
    if error.is_fault:
        log.error("%s: %s", type(error).__name__, error)
    seconds = getattr(error, "retry_after_seconds", None)
    retry = {"Retry-After": str(seconds)} if seconds else {}
    return problem(error.status, error.title, str(error), headers={**retry, **(headers or {})})


def described(*errors: type[SameaskError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI descriptions of answers with these errors, by status."""
    titles: dict[int, list[str]] = {}
    for error in errors:
        of_status = titles.setdefault(error.status, [])
        if error.title not in of_status:
            of_status.append(error.title)
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": " / ".join(titles[status]), "content": content}
        for status in sorted(titles)
    }


def documented(
    *errors: type[SameaskError], also: Mapping[int | str, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may raise these errors, and those that any route with input may.

    `also`: what the document says of answers with other statuses.
    """
    always = (InvalidRequest, InvalidJson, BodyTooLarge, ServiceError)
    return described(*errors, *always) | dict(also or {})
