"""Errors out, to people: the sentences of the problem document, as a part of the page that asked, or as a page."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from app.errors import (
    FieldError,
    InvalidRequest,
    KeyMissing,
    KeyRefused,
    SameaskError,
    TokenMissing,
)
from app.web.templates import address, is_part, render, wants_html

log = logging.getLogger(__name__)


def refuse(request: Request, error: SameaskError) -> Response:
    """The answer to a request that failed. A visitor without a session who wants a page is led to the form to sign
    in."""
    if error.is_fault:
        log.error("%s: %s", type(error).__name__, error)
    wants_page = request.method == "GET" and wants_html(request) and not is_part(request)
    if wants_page and isinstance(error, KeyMissing | KeyRefused):
        return _sign_in_first(request)
    fields = error.errors if isinstance(error, InvalidRequest) else ()
    detail = "nothing was done" if fields else str(error)
    challenge = {"WWW-Authenticate": 'Bearer realm="sameask"'} if error.status == 401 else {}
    return problem(
        request,
        error.status,
        error.title,
        detail,
        fields,
        _seconds(error),
        challenge,
        renews=isinstance(error, TokenMissing),
    )


def problem(
    request: Request,
    status: int,
    title: str,
    detail: str,
    fields: Sequence[FieldError] = (),
    retry_after_seconds: int | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    renews: bool = False,
) -> Response:
    """A problem as a part of a page, or as a page; `fields` are told beside their fields. A client that asks for no
    HTML gets a problem document (RFC 9457). With `renews` the page looks for its session's token, and asks again."""
    told = dict(headers or {})
    if retry_after_seconds:
        told["Retry-After"] = str(retry_after_seconds)
    if not wants_html(request):
        return _document(status, title, detail, fields, told)
    html = render(
        request,
        "problem.html" if is_part(request) else "problem_page.html",
        status=status,
        title=title,
        detail=detail,
        fields=fields,
        retry_after_seconds=retry_after_seconds,
        renews=renews,
    )
    return HTMLResponse(html, status, told)


def _document(
    status: int, title: str, detail: str, fields: Sequence[FieldError], headers: Mapping[str, str]
) -> Response:
    document: dict[str, object] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if fields:
        document["errors"] = [asdict(field) for field in fields]
    return JSONResponse(document, status, headers, "application/problem+json")


def _sign_in_first(request: Request) -> Response:
    """A link on another site brings no SameSite=Strict cookie: the page loads itself once more, and then it comes."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        return HTMLResponse(render(request, "again.html", address=_asked(request)))
    return RedirectResponse(address(request, "/page/sign-in", back=_asked(request)), 303)


def _asked(request: Request) -> str:
    """The path and the query of the request."""
    query = request.scope["query_string"].decode("latin-1")
    return f"{request.scope['path']}?{query}" if query else str(request.scope["path"])


def _seconds(error: SameaskError) -> int | None:
    seconds = getattr(error, "retry_after_seconds", None)
    return int(seconds) if seconds else None
