"""Who may work in the pages: the scope of every page, the session's cookie, and the token that each post carries.

`SCOPES` is the one place where a page's scope stands; the pages are not made while one is missing there.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.door import Door
from app.errors import KeyRefused, SameaskError, ScopeMissing, TokenMissing
from app.keys import Caller
from app.scopes import KeyScope
from app.web.forms import form_of
from app.web.problems import refuse
from app.web.sessions import Sessions

COOKIE = "sameask_session"
TOKEN_HEADER = "X-CSRF-Token"
TOKEN_FIELD = "csrf"
ANYBODY = None
STATIC_PATH = "/page/static/"
OPEN_PATHS = (STATIC_PATH, "/page/sign-in")
SAFE_METHODS = ("GET", "HEAD")
NOBODY_NAMED = "moderator"  # who labels where no key exists

# By a page's name, which is its function's: the scope that a key must have.
SCOPES: Mapping[str, KeyScope | None] = {
    "static_file": ANYBODY,  # the same for every Sameask
    "sign_in_page": ANYBODY,
    "sign_in": ANYBODY,
    "sign_out": ANYBODY,  # who has a session
    "ask_page": KeyScope.ASK,
    "ask": KeyScope.ASK,
    "label_candidate": KeyScope.LABEL,
    "undo_candidate": KeyScope.LABEL,
    "compare_page": KeyScope.ASK,
    "compare_texts": KeyScope.ASK,
    "label_pair": KeyScope.LABEL,
    "questions_page": KeyScope.READ,
    "questions_list": KeyScope.READ,
    "question_row": KeyScope.READ,
    "export": KeyScope.READ,
    "edit_form": KeyScope.WRITE,
    "delete_form": KeyScope.WRITE,
    "add_question": KeyScope.WRITE,
    "change_question": KeyScope.WRITE,
    "delete_question": KeyScope.WRITE,
    "preview_import": KeyScope.WRITE,
    "send_piece": KeyScope.WRITE,
    "choose_columns": KeyScope.WRITE,
    "check_import": KeyScope.WRITE,
    "write_import": KeyScope.WRITE,
    "stop_import": KeyScope.WRITE,
    "show_import": KeyScope.WRITE,
    "rejected_rows": KeyScope.WRITE,
    "review_page": KeyScope.READ,
    "show_evidence": KeyScope.READ,
    "next_pair": KeyScope.LABEL,
    "label_offered": KeyScope.LABEL,
    "skip_offered": KeyScope.LABEL,
    "unskip_offered": KeyScope.LABEL,
    "undo_offered": KeyScope.LABEL,
    "set_promise": KeyScope.WRITE,
    "health_page": KeyScope.READ,
    "health_figures": KeyScope.READ,
    "releases_page": KeyScope.READ,
    "list_releases": KeyScope.READ,
    "compare_releases": KeyScope.READ,
    "show_run": KeyScope.READ,
    "show_shadow": KeyScope.READ,
    "show_diff": KeyScope.ADMIN,  # it keeps both releases busy
    "retrain_form": KeyScope.ADMIN,
    "start_training": KeyScope.ADMIN,
    "cancel_run": KeyScope.ADMIN,
    "resume_run": KeyScope.ADMIN,
    "open_shadow": KeyScope.ADMIN,
    "close_shadow": KeyScope.ADMIN,
    "ask_before": KeyScope.ADMIN,
    "activate_release": KeyScope.ADMIN,
    "roll_back_release": KeyScope.ADMIN,
    "remove_form": KeyScope.ADMIN,
    "remove_release": KeyScope.ADMIN,
    "undo_pair": KeyScope.LABEL,
}


@dataclass(frozen=True)
class Visitor:
    """Who works in the pages: the caller of the session's key, or anybody while no key exists."""

    caller: Caller | None
    csrf: str = ""

    @property
    def name(self) -> str:
        """The name that they label under."""
        if self.caller is None:
            return NOBODY_NAMED
        return self.caller.name or self.caller.key_id

    @property
    def scopes(self) -> str:
        """The scopes of their key, in words."""
        scopes = self.caller.scopes if self.caller else frozenset[str]()
        if KeyScope.ADMIN in scopes:
            return KeyScope.ADMIN
        return ", ".join(scope for scope in KeyScope if scope in scopes)

    def lacks(self, scope: KeyScope) -> str | None:
        """The reason why they may do nothing that needs this scope; None where they may."""
        if self.caller is None or scope in self.caller.scopes:
            return None
        return str(ScopeMissing(scope))

    def check(self, scope: KeyScope) -> None:
        """Raise ScopeMissing where they may do nothing that needs this scope."""
        if self.lacks(scope):
            raise ScopeMissing(scope)


class KnowVisitors:
    """ASGI middleware: nothing of a request is read before it is known who asks; who has no session signs in first.

    `for_strangers` makes of the pages the app that answers at OPEN_PATHS.
    """

    def __init__(self, app: ASGIApp, for_strangers: Callable[[ASGIApp], ASGIApp]) -> None:
        self._app = app
        self._for_strangers = for_strangers(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if path_in(scope).startswith(OPEN_PATHS):
            await self._for_strangers(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        token = connection.cookies.get(COOKIE)
        try:
            visitor = await _visitor(connection, token)
        except SameaskError as error:
            await refuse(Request(scope, receive), error)(scope, receive, send)
            return
        scope.setdefault("state", {})["visitor"] = visitor
        await self._app(scope, receive, send)


async def _visitor(connection: HTTPConnection, token: str | None) -> Visitor:
    """Who comes with this token. Raises what `Door.caller` raises."""
    door: Door = connection.app.state.door
    if token is None and door.is_quick(None):
        return Visitor(door.caller(connection, None))
    return await run_in_threadpool(_find_visitor, connection, token)


def _find_visitor(connection: HTTPConnection, token: str | None) -> Visitor:
    """The same, by the store. A session whose key is refused ends."""
    door: Door = connection.app.state.door
    sessions: Sessions = connection.app.state.sessions
    session = sessions.get(token)
    try:
        caller = door.caller(connection, session.key if session else None)
    except KeyRefused:
        sessions.end(token)
        raise
    return Visitor(caller, session.csrf if session else "")


async def check_visitor(request: Request) -> None:
    """Check a request of a page. Raises ScopeMissing where the visitor's key is not for it, TokenMissing for a post
    without token."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    if visitor is None:
        return  # one of OPEN_PATHS
    needed = SCOPES[request.scope["route"].name]
    if needed:
        visitor.check(needed)
    if request.method not in SAFE_METHODS and visitor.caller:
        await _check_token(request, visitor.csrf)


async def _check_token(request: Request, csrf: str) -> None:
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        token = (await form_of(request)).get(TOKEN_FIELD, "")
    if not hmac.compare_digest(token.encode(), csrf.encode()):
        raise TokenMissing


def path_in(scope: Scope) -> str:
    """A request's path without the proxy's in front."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
