"""No body beyond the limit is read, whatever its Content-Length claims."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge
from app.http.problems import problem


class LimitBody:
    """ASGI middleware: answers 413 as soon as a body is known to exceed `max_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        too_large = length.isdigit() and int(length) > self._max_bytes
        read: list[Message] = []
        size = 0
        while not too_large:
            read.append(await receive())
            size += len(read[-1].get("body", b""))
            too_large = size > self._max_bytes
            if not read[-1].get("more_body", False):
                break
        if too_large:
            error = BodyTooLarge(self._max_bytes)
            refusal = problem(error.status, error.title, str(error), headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        read.reverse()

        async def replay() -> Message:
            return read.pop() if read else await receive()

        await self._app(scope, replay, send)
