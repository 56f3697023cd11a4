"""Problem documents under `/v1/`, for clients of OpenAI, which read an answer's member `error` and nothing else."""

import json
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import CONTENT_TYPE

PREFIX = "/v1/"
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class TellOpenAiClients:
    """ASGI middleware: adds the member `error` to problem documents under `/v1/` (RFC 9457 allows further members)."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(self._root_path) if scope["type"] == "http" else ""
        if path.startswith(PREFIX):
            send = _Answer(send).send
        await self._app(scope, receive, send)


class _Answer:
    """An answer on its way; a problem document is kept until it is whole."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of a problem document
        self._body = b""

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start" and _is_problem(message):
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        content = json.dumps(_with_error(json.loads(self._body)), ensure_ascii=False).encode()
        MutableHeaders(scope=self._start)["Content-Length"] = str(len(content))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": content})


def _is_problem(message: Message) -> bool:
    return MutableHeaders(scope=message).get("content-type", "") == CONTENT_TYPE


def _with_error(document: dict[str, Any]) -> dict[str, Any]:
    """The problem document, and the same in OpenAI's words: `param` is the first field at fault."""
    fields = document.get("errors") or []
    faults = [f"{error['field']} {error['detail']}" for error in fields]
    status = document["status"]
    kind = "server_error" if status >= 500 else TYPES.get(status, "invalid_request_error")
    error = {
        "message": "; ".join([document["detail"], *faults]),
        "type": kind,
        "param": fields[0]["field"] if fields else None,
        "code": None,
    }
    return {**document, "error": error}
