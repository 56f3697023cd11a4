"""Unexpected errors: each becomes a problem document, and a log entry without the message of the error."""

import asyncio
import logging
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import SameaskError, ServiceError
from app.http.problems import problem

ENDING = "the service is shutting down; nothing of this request was done"

log = logging.getLogger(__name__)


class AnswerFaults:
    """ASGI middleware: logs where an error came from, but not its message, which may quote a question."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            if scope["type"] != "http" or started:
                raise
            log.warning("a request was ended, since the service is shutting down")
            ending = problem(503, ServiceError.title, ENDING, headers={"Retry-After": "1"})
            await ending(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            places = "".join(traceback.format_tb(error.__traceback__))
            log.error("a fault of the service, %s at\n%s", type(error).__name__, places)
            if not started:
                answer = problem(
                    500, SameaskError.title, "this is a fault of the service; its log says more"
                )
                await answer(scope, receive, send)
