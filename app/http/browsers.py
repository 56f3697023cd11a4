"""Headers for browsers: other pages get nothing unless a setting says so, and nothing of an answer is kept or run."""

from base64 import b64encode
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ["GET", "POST", "PUT", "DELETE"]
REQUEST_HEADERS = ["Authorization", "Content-Type"]
ANSWER_HEADERS = ["Location", "Retry-After", "Server-Timing"]
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """ASGI middleware: no answer is taken for another type, kept by a cache, shown in a frame, or run as a page.

    Who answers may say otherwise: the documentation is a page, and its files may be kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def page_policy(html: str) -> str:
    """The Content-Security-Policy of a page with one script of its own in it: that and files of this server may run."""
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def names_of(setting: str | None) -> list[str]:
    """The names in a setting that holds some, by comma."""
    return [name.strip() for name in (setting or "").split(",") if name.strip()]
