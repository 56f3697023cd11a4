"""A client of the service: of a running server at `--url`, or of the same app inside this process without one.

torch is loaded only for the latter, by name.
"""

import asyncio
import logging
import os
import pkgutil
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from app.errors import CommandError
from app.settings import Settings

Url = Annotated[
    str | None,
    typer.Option(help="Address of a running server; without it the data directory is opened here."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the key for the server at --url; without it SAMEASK_KEY holds one. The key itself is no option:"
        " whoever lists the processes of a machine reads their options."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

err = Console(stderr=True)

KEY_HINT = " (the key comes from SAMEASK_KEY, or from the file that --key-file names)"


def create_app(settings: Settings, *, in_place: bool = False) -> Any:
    """The app, found by name so that commands which only speak to a server never load torch."""
    return pkgutil.resolve_name("app.main:create_app")(settings, in_place=in_place)


@asynccontextmanager
async def connected(url: str | None, key_file: Path | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server at `url`, or of the app in this process, which asks for no key."""
    if url:
        if (httpx.URL(url).port or 0) > 65535:
            raise httpx.InvalidURL(f"{url} has a port past 65535")
        async with httpx.AsyncClient(
            base_url=url, headers=_credentials(key_file), timeout=600
        ) as client:
            yield client
        return
    app = create_app(Settings(), in_place=True)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://in-place", timeout=None
        ) as client,
    ):
        await _until_ready(client)
        yield client


async def _until_ready(service: httpx.AsyncClient) -> None:
    """Wait for the indexes to catch up, and say how far they are. Raises CommandError when the model fails."""
    with err.status("opening") as status:
        while (response := await service.get("/readyz")).status_code != 200:
            readiness = response.json()
            if readiness["failure"]:
                raise CommandError(readiness["failure"])
            status.update(
                f"indexing {readiness['questions_indexed']:,} of {readiness['questions']:,} questions"
            )
            await asyncio.sleep(0.05)


def _credentials(key_file: Path | None) -> dict[str, str]:
    """The header that carries the key, if there is one. Raises CommandError, which does not repeat it."""
    try:
        key = (
            key_file.read_text("utf-8").strip()
            if key_file
            else os.environ.get("SAMEASK_KEY", "").strip()
        )
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read the key in {key_file}: {type(error).__name__}") from error
    if re.search("[^!-~]", key) or (key_file and not key):
        raise CommandError(
            f"what {key_file or 'SAMEASK_KEY'} holds is no key: it must be one line of visible ASCII"
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def run(
    url: str | None,
    key_file: Path | None,
    command: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]],
) -> Any:
    """What a command gives, spoken to the server at `url` or to the app in this process."""

    async def speak() -> Any:
        async with connected(url, key_file) as service:
            return await command(service)

    return asyncio.run(speak())


async def call(service: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    """One request; tried again while the server says it is busy. Raises CommandError with the problem's words."""
    while True:
        response = await service.request(method, path, **arguments)
        if response.status_code == 429:
            await asyncio.sleep(float(response.headers.get("Retry-After", 1)))
            continue
        if not response.is_success:
            raise CommandError(_words(response) + (KEY_HINT if response.status_code == 401 else ""))
        if response.status_code == 204:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise CommandError(f"what answers at {response.url} is not Sameask") from error


def _words(response: httpx.Response) -> str:
    try:
        problem = response.json()
        fields = "".join(f"\n  {e['field']}: {e['detail']}" for e in problem.get("errors", []))
        return f"{problem['title']}: {problem['detail']}{fields}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the server answered {response.status_code}"


def log_to_stderr(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    logger.setLevel(settings.log_level.upper())
