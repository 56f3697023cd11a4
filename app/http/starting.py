"""Before the service is open, and after it has closed: the process says that it lives, and that it is not ready."""

import sys

from fastapi.responses import JSONResponse
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import NotReady, SameaskError
from app.http.health import Alive, Ready
from app.http.problems import answer

STARTING = "the service is starting: it is opening its data and its models"


class WhileStarting:
    """ASGI middleware: passes requests on while `app.state.is_open`. A server may listen before that."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _in_one_line(send))
        elif scope["type"] != "http" or scope["app"].state.is_open:
            await self._app(scope, receive, send)
        else:
            response = _answer(scope["path"].removeprefix(self._root_path))
            await response(scope, receive, send)


def _in_one_line(send: Send) -> Send:
    """Tells a server that was started by hand why the service can't open. An error of ours is one sentence, without
    a traceback."""

    async def tell(message: Message) -> None:
        error = sys.exc_info()[1]  # the router tells of it while it handles it
        if message["type"] == "lifespan.startup.failed" and isinstance(error, SameaskError):
            message = {**message, "message": f"sameask: {error}"}
        await send(message)

    return tell


def _answer(path: str) -> Response:
    match path:
        case "/livez":
            return JSONResponse(Alive().model_dump())
        case "/readyz":
            return JSONResponse(_unready().model_dump(), status_code=503)
        case _:
            return answer(NotReady(STARTING))


def _unready() -> Ready:
    return Ready(
        ready=False,
        failure=STARTING,
        refused=None,
        release=None,
        languages=[],
        collections=0,
        collections_ready=0,
        questions=0,
        questions_indexed=0,
        recall=1.0,
    )
