"""The pages as one app beside JSON's: it answers requests for `/` and for all paths under `/page`."""

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import NotReady, SameaskError
from app.leaving import ClientLeft
from app.web import ask, compare, health, imports, questions, releases, review, sign_in, static
from app.web.access import SCOPES, STATIC_PATH, check_visitor, path_in
from app.web.problems import problem, refuse

ROOMS = (static, sign_in, ask, compare, review, questions, imports, releases, health)
STARTING = "the service is starting: it is opening its data and its models"
NO_SUCH_PAGE = "there is no such page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_pages(state: State) -> FastAPI:
    """The pages over the state of the service's app. Raises LookupError unless each page has a scope."""
    pages = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(check_visitor)],
    )
    pages.state = state
    names: set[str] = set()
    for room in ROOMS:
        pages.include_router(room.router)
        names.update(str(route.name) for route in room.router.routes)
    if wrong := names ^ SCOPES.keys():
        raise LookupError(f"app/web/access.py must give each page a scope: {sorted(wrong)}")
    for kind in (SameaskError, RequestValidationError, HTTPException, ClientLeft):
        pages.add_exception_handler(kind, _answer_error)
    return pages


class ServePages:
    """ASGI middleware: passes the requests of pages to the pages, and all others on.

    Before the service is open only their files are served, so that what is told meanwhile has its style.
    """

    def __init__(self, app: ASGIApp, pages: ASGIApp) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_page(path_in(scope)):
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message["headers"] = [*message["headers"], policy]
            await send(message)

        if scope["app"].state.is_open or path_in(scope).startswith(STATIC_PATH):
            await self._pages(scope, receive, send_with_policy)
        else:
            starting = refuse(Request(scope, receive), NotReady(STARTING))
            await starting(scope, receive, send_with_policy)


def _is_page(path: str) -> bool:
    return path in ("", "/") or path == "/page" or path.startswith("/page/")


async def _answer_error(request: Request, error: Exception) -> Response:
    """The one place where a page's error becomes an answer."""
    match error:
        case SameaskError():
            return refuse(request, error)
        case ClientLeft():
            return Response(status_code=499)  # nobody reads it
        case RequestValidationError():  # of a path: forms are read by `Fields`
            return problem(request, 404, "Not Found", NO_SUCH_PAGE)
        case HTTPException():
            status = error.status_code
            title = error.detail
            words = NO_SUCH_PAGE if status == 404 else title
            return problem(request, status, title, words, headers=error.headers)
        case _:
            raise error
