"""A client of the service: of a running server at `--url`, or of the same app inside this process without one."""

import asyncio
import os
import pkgutil
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.cli.logs import waits_told
from app.cli.terminal import err, print_note
from app.errors import CommandError
from app.private_files import is_writable_by_all
from app.settings import Settings

TIMEOUT_SECONDS = 600
LOOK_SECONDS = 0.05
MAX_PORT = 65535
KEY_HINT = " (the key comes from SAMEASK_KEY, or from the file that --key-file names)"

Speak = Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]


def create_app(settings: Settings, *, in_place: bool = False) -> Any:
    """The app, loaded by its name: commands that only speak to a server do without."""
    return pkgutil.resolve_name("app.main:create_app")(settings, in_place=in_place)


def run(
    url: str | None, key_file: Path | None, speak: Speak, *, makes_data_directory: bool = False
) -> Any:
    """What `speak` returns, spoken to the server at `url` or to the app in this process."""

    async def connect_and_speak() -> Any:
        async with connected(url, key_file, makes_data_directory=makes_data_directory) as service:
            return await speak(service)

    return asyncio.run(connect_and_speak())


def request(
    url: str | None, key_file: Path | None, method: str, path: str, **arguments: Any
) -> Any:
    """The answer to one request, as `call` gives it."""
    return run(url, key_file, lambda service: call(service, method, path, **arguments))


@asynccontextmanager
async def connected(
    url: str | None, key_file: Path | None, *, makes_data_directory: bool = False
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server at `url`, or of the app in this process, which asks for no key."""
    if url:
        async with _remote(url, key_file) as service:
            yield service
        return
    settings = Settings()
    if makes_data_directory:
        note_new_data_directory(settings)
    else:
        assert_data_directory(settings)
    app = create_app(settings, in_place=True)
    transport = httpx.ASGITransport(app)
    with waits_told():
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=transport, base_url="http://in-place", timeout=None
            ) as service,
        ):
            await _until_ready(service)
            yield service


def assert_data_directory(settings: Settings) -> None:
    """Raises CommandError where there is none, unless SAMEASK_DATA_DIR says where it is to be.

    Without the setting it is the folder `data` of where the command is called: from another folder it would be
    another one, of which no server knows.
    """
    if settings.database_url:
        return
    if "data_dir" not in settings.model_fields_set and not settings.data_dir.exists():
        raise CommandError(
            f"there is no data directory {settings.data_dir.absolute()}: SAMEASK_DATA_DIR says where the server's is"
        )


def note_new_data_directory(settings: Settings) -> None:
    """Say where the data directory is made, if there is none: without SAMEASK_DATA_DIR that depends on the folder in
    which the command is called."""
    if not settings.data_dir.exists():
        is_named = "data_dir" in settings.model_fields_set
        hint = "SAMEASK_DATA_DIR names it" if is_named else "set SAMEASK_DATA_DIR for another"
        print_note(f"making the data directory {settings.data_dir.absolute()} ({hint})")


def _remote(url: str, key_file: Path | None) -> httpx.AsyncClient:
    """Raises CommandError."""
    address = _address(url)
    headers = _credentials(key_file)
    return httpx.AsyncClient(base_url=address, headers=headers, timeout=TIMEOUT_SECONDS)


def _address(url: str) -> httpx.URL:
    """Raises CommandError for what is no address of a server, with one that may be meant."""
    try:
        address = httpx.URL(url)
        meant = httpx.URL(f"http://{url}") if "//" not in url else None
    except httpx.InvalidURL as error:
        raise CommandError(f"--url {url} is no address: {error}") from error
    if (address.port or 0) > MAX_PORT:
        raise CommandError(f"--url {url} has a port past {MAX_PORT}")
    if address.scheme not in ("http", "https") or not address.host:
        example = meant if meant and meant.host else "http://127.0.0.1:8000"
        raise CommandError(
            f"--url {url} must begin with http:// or https:// and a host, as in {example}"
        )
    return address


async def _until_ready(service: httpx.AsyncClient) -> None:
    """Wait for the indexes to catch up, and say how far they are. Raises CommandError when the model fails."""
    with err.status("opening") as status:
        while (response := await service.get("/readyz")).status_code != 200:
            readiness = response.json()
            if readiness["failure"]:
                raise CommandError(readiness["failure"])
            done = readiness["questions_indexed"]
            total = readiness["questions"]
            status.update(f"indexing {done:,} of {total:,} questions")
            await asyncio.sleep(LOOK_SECONDS)


def _credentials(key_file: Path | None) -> dict[str, str]:
    """The header that carries the key, if there is one. Raises CommandError, which does not repeat it."""
    try:
        if key_file and is_writable_by_all(key_file):
            raise CommandError(f"anybody may change {key_file}: `chmod 600 {key_file}`")
        key = key_file.read_text("utf-8") if key_file else os.environ.get("SAMEASK_KEY", "")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read the key in {key_file}: {type(error).__name__}") from error
    key = key.strip()
    if re.search("[^!-~]", key) or (key_file and not key):
        raise CommandError(
            f"what {key_file or 'SAMEASK_KEY'} holds is no key: it must be one line of visible ASCII"
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


async def call(service: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    """One request; tried again while the server says it is busy. Raises CommandError with the problem's words."""
    while True:
        try:
            response = await service.request(method, path, **arguments)
        except httpx.ConnectError as error:
            raise CommandError(
                f"no answer from the server at {service.base_url}: nobody listens there, or can be reached"
                f" ({error}); `sameask serve` starts one"
            ) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise CommandError(
                f"no answer from the server at {service.base_url}: {reason}"
            ) from error
        if response.status_code != 429:
            return _answer(response)
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))


def _answer(response: httpx.Response) -> Any:
    """The body's JSON, None where there is no body. Raises CommandError for anything but a success."""
    if not response.is_success:
        hint = KEY_HINT if response.status_code == 401 else ""
        raise CommandError(_words(response) + hint)
    if response.status_code == 204:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise CommandError(f"what answers at {response.url} is not Sameask") from error


def _words(response: httpx.Response) -> str:
    """What a problem document says."""
    try:
        problem = response.json()
        words = f"{problem['title']}: {problem['detail']}"
        for error in problem.get("errors", []):
            words += f"\n  {error['field']}: {error['detail']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the server at {response.url} answered {response.status_code}"
    return words
