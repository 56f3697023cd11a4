"""No body beyond the limit is read, whatever its Content-Length claims; of a GET, which has no use for one, none is."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge
from app.http.problems import problem


class LimitBody:
    """ASGI middleware: answers 413 as soon as a body is known to exceed `max_bytes`; `limit` says whose limit it is.

    The body of a GET, which no route looks at, is left to the server.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, limit: str = "SAMEASK_MAX_BODY_BYTES") -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        too_large = self._is_past_limit(Headers(scope=scope).get("content-length", "0"))
        read: list[Message] = []
        size = 0
        while not too_large:
            read.append(await receive())
            size += len(read[-1].get("body", b""))
            too_large = size > self._max_bytes
            if not read[-1].get("more_body", False):
                break
        if too_large:
            error = BodyTooLarge(self._max_bytes, self._limit)
            refusal = problem(
                error.status, error.title, str(error), headers={"Connection": "close"}
            )
            await refusal(scope, receive, send)
            return
        read.reverse()

        async def replay() -> Message:
            return read.pop() if read else await receive()

        await self._app(scope, replay, send)

    def _is_past_limit(self, length: str) -> bool:
        """Whether a Content-Length is a number past the limit, however many digits it has."""
        digits = length.lstrip("0") if length.isascii() and length.isdigit() else ""
        return len(digits) > len(str(self._max_bytes)) or int(digits or "0") > self._max_bytes
