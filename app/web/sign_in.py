"""Sign in: a key becomes a session, and a session ends."""

import hmac
import secrets
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from app.door import Door
from app.errors import KeyMissing, KeyRefused, TokenMissing
from app.scopes import KeyScope
from app.web.access import COOKIE
from app.web.forms import form_of
from app.web.sessions import LONGEST_SECONDS, Sessions
from app.web.templates import address, render

SIGNING_IN = (
    "sameask_signing_in"  # a cookie with the token of the form, since there is no session yet
)
TOKEN_BYTES = 32
DEEDS = (
    (
        "ask and compare, without the names of moderators",
        {KeyScope.ASK, KeyScope.READ, KeyScope.ADMIN},
    ),
    ("see questions, figures and health, and who said what", {KeyScope.READ, KeyScope.ADMIN}),
    ("say same or not the same, and undo that", {KeyScope.LABEL, KeyScope.ADMIN}),
    ("add, import and delete questions", {KeyScope.WRITE, KeyScope.ADMIN}),
    ("retrain, open a shadow, swap, roll back", {KeyScope.ADMIN}),
)

router = APIRouter()


async def _sessions(request: Request) -> Sessions:
    return cast(Sessions, request.app.state.sessions)


TheSessions = Annotated[Sessions, Depends(_sessions)]


@router.get("/page/sign-in")
async def sign_in_page(request: Request) -> Response:
    """The form; where no key is needed, the first page."""
    door: Door = request.app.state.door
    back = _back(request.query_params.get("back", ""))
    try:
        await run_in_threadpool(door.caller, request, None)
    except KeyMissing:
        return _form(request, back)
    return RedirectResponse(address(request, "/"), 303)


@router.post("/page/sign-in")
async def sign_in(request: Request, sessions: TheSessions) -> Response:
    """Begin a session, if the key is good. The key is in no answer, no address and no log."""
    form = await form_of(request)
    expected = request.cookies.get(SIGNING_IN, "")
    if not expected or not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
        raise TokenMissing
    back = _back(form.get("back", ""))
    key = form.get("key", "").strip()
    door: Door = request.app.state.door
    try:
        await run_in_threadpool(door.caller, request, key or "none")
    except KeyRefused as error:
        return _form(request, back, refused=str(error))
    await run_in_threadpool(sessions.end, request.cookies.get(COOKIE))
    token = await run_in_threadpool(sessions.begin, key)
    response = RedirectResponse(back or address(request, "/"), 303)
    _set_cookie(request, response, COOKIE, token, LONGEST_SECONDS)
    response.delete_cookie(SIGNING_IN, path=_path(request))
    return response


@router.post("/page/sign-out")
async def sign_out(request: Request, sessions: TheSessions) -> Response:
    """End the session."""
    await run_in_threadpool(sessions.end, request.cookies.get(COOKIE))
    response = RedirectResponse(address(request, "/page/sign-in"), 303)
    response.delete_cookie(COOKIE, path=_path(request))
    return response


def _form(request: Request, back: str, refused: str | None = None) -> Response:
    csrf = secrets.token_urlsafe(TOKEN_BYTES)
    html = render(
        request,
        "sign_in.html",
        back=back,
        csrf=csrf,
        refused=refused,
        scopes=list(KeyScope),
        deeds=DEEDS,
    )
    response = HTMLResponse(html, 403 if refused else 200)
    _set_cookie(request, response, SIGNING_IN, csrf, None)
    return response


def _back(path: str) -> str:
    """The page of this server to go back to, if it is one."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_own and path.isprintable() else ""


def _set_cookie(
    request: Request, response: Response, name: str, value: str, seconds: int | None
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _path(request: Request) -> str:
    return address(request, "") or "/"
