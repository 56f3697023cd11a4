"""Two kindnesses of the web: a path with a slash at its end is the one without, and HEAD is GET without its body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DISCONNECT = {"type": "http.disconnect"}


class PlainPaths:
    """ASGI middleware: routes see paths without a slash at their end, and never HEAD.

    `root_path` is the path under which a proxy makes the service known, whether or not it strips it.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._root_path:
            scope = {**scope, "root_path": self._root_path, "path": self._outer_path(scope)}
        path = _plain_path(scope)
        if path != scope["path"]:
            scope = {**scope, "path": path}
        if scope["method"] == "HEAD":
            head = _Head(receive, send)
            await self._app({**scope, "method": "GET"}, head.receive, head.send)
        else:
            await self._app(scope, receive, send)

    def _outer_path(self, scope: Scope) -> str:
        """The path with the proxy's in front, as ASGI has it; a proxy that strips its own left it off."""
        path: str = scope["path"]
        is_whole = path == self._root_path or path.startswith(f"{self._root_path}/")
        return path if is_whole else self._root_path + path


class _Head:
    """Receives and sends for a request whose answer has no body: it is over when its headers are out."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_over = False

    async def receive(self) -> Message:
        """The request's next message."""
        return DISCONNECT if self._is_over else await self._receive()

    async def send(self, message: Message) -> None:
        """The answer's next message, if it is the one with the headers."""
        if message["type"] == "http.response.start":
            await self._send(message)
            await self._send({"type": "http.response.body", "body": b""})
            self._is_over = True


def _ends_in_slash(scope: Scope) -> bool:
    """Whether the path was sent with a slash at its end, which is not one of an id (`%2F`)."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw_path.endswith(b"/")


def _plain_path(scope: Scope) -> str:
    """The path without a slash at its end, save for that of the front door, which is one."""
    path: str = scope["path"]
    if _ends_in_slash(scope):
        path = path.rstrip("/")
    front_doors = ("", scope.get("root_path", "").rstrip("/"))
    return f"{path}/" if path in front_doors else path
