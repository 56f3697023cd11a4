"""A client of the service: of a running server at `--url`, or of the same app inside this process without one."""

import asyncio
import os
import pkgutil
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.cli.logs import waits_told
from app.cli.terminal import err, print_note
from app.errors import CommandError
from app.private_files import is_writable_by_all
from app.settings import Settings
from sameask_client import (
    AsyncClient,
    KeyRefused,
    NoAnswer,
    NotSameask,
    ProblemError,
    Retries,
    WrongArgument,
)

T = TypeVar("T")

IN_PLACE = "http://in-place"
TIMEOUT_SECONDS = 600
PATIENCE = Retries(attempts=10**6, longest_wait_seconds=60.0, only_refused=True)
RESTART = Retries(attempts=10)  # for about a minute, in which a server may start again
LOOK_SECONDS = 0.05
MAX_PORT = 65535
KEY_HINT = " (the key comes from SAMEASK_KEY, or from the file that --key-file names)"

Speak = Callable[[AsyncClient], Coroutine[Any, Any, T]]
Watch = Callable[[AsyncClient, AsyncClient], Coroutine[Any, Any, T]]


def create_app(settings: Settings, *, in_place: bool = False) -> Any:
    """The app, loaded by its name: commands that only speak to a server do without."""
    return pkgutil.resolve_name("app.main:create_app")(settings, in_place=in_place)


def run(
    url: str | None, key_file: Path | None, speak: Speak[T], *, makes_data_directory: bool = False
) -> T:
    """The result of `speak`, called with a client of the server at `url` or of the app here. Raises CommandError."""
    return run_and_watch(
        url,
        key_file,
        lambda service, _: speak(service),
        makes_data_directory=makes_data_directory,
    )


def run_and_watch(
    url: str | None, key_file: Path | None, watch: Watch[T], *, makes_data_directory: bool = False
) -> T:
    """As `run`. With its second client `watch` looks how something goes on: it outlasts a restart of the server."""

    async def connect_and_watch() -> T:
        clients = connected(url, key_file, makes_data_directory=makes_data_directory)
        async with clients as (service, watching):
            return await watch(service, watching)

    with _errors_told(str(_address(url)) if url else IN_PLACE):
        return asyncio.run(connect_and_watch())


@asynccontextmanager
async def connected(
    url: str | None, key_file: Path | None, *, makes_data_directory: bool = False
) -> AsyncIterator[tuple[AsyncClient, AsyncClient]]:
    """Clients of the server at `url`, or of the app in this process, which asks for no key.

    The first hears at once where nobody answers; the second, for what is under way there, asks again.
    """
    if url:
        key = _key(key_file)
        async with _client(url, key) as service, _client(url, key, RESTART) as watching:
            yield service, watching
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
            _client(IN_PLACE, "", transport=transport) as service,
            _client(IN_PLACE, "", RESTART, transport) as watching,
        ):
            await _until_ready(service)
            yield service, watching


def _client(
    url: str,
    key: str,
    retries: Retries = PATIENCE,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncClient:
    """A client with timeouts for people: it waits for as long as a person would."""
    return AsyncClient(
        url, key=key, timeout_seconds=TIMEOUT_SECONDS, retries=retries, transport=transport
    )


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


async def _until_ready(service: AsyncClient) -> None:
    """Wait for the indexes to catch up, and say how far they are. Raises CommandError when the model fails."""
    with err.status("opening") as status:
        while not (state := await service.readyz()).ready:
            if state.failure:
                raise CommandError(state.failure)
            done, total = state.questions_indexed, state.questions
            status.update(f"indexing {done:,} of {total:,} questions")
            await asyncio.sleep(LOOK_SECONDS)


def _key(key_file: Path | None) -> str:
    """The key that is sent; empty without one. Raises CommandError, which does not repeat it."""
    try:
        if key_file and is_writable_by_all(key_file):
            raise CommandError(f"anybody may change {key_file}: `chmod 600 {key_file}`")
        key = key_file.read_text("utf-8") if key_file else os.environ.get("SAMEASK_KEY", "")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read the key in {key_file}: {type(error).__name__}") from error
    key = key.strip()
    if re.search("[^!-~]", key) or (key_file and not key):
        raise CommandError(
            f"{key_file or 'SAMEASK_KEY'} holds no key: it must be one line of visible ASCII"
        )
    return key


@contextmanager
def _errors_told(address: str) -> Iterator[None]:
    """The client's errors as those of a command: CommandError, which names the address and the cure."""
    try:
        yield
    except WrongArgument as error:
        raise CommandError(str(error)) from error
    except NoAnswer as error:
        raise CommandError(_unanswered(address, error)) from error
    except NotSameask as error:
        raise CommandError(f"no answer from Sameask at {address}: {error}") from error
    except ProblemError as error:
        raise CommandError(_problem(address, error)) from error


def _unanswered(address: str, error: NoAnswer) -> str:
    reason = str(error.__cause__) or type(error.__cause__).__name__
    if isinstance(error.__cause__, httpx.ConnectError):
        reason = f"nobody listens there, or can be reached ({reason}); `sameask serve` starts one"
    return f"no answer from the server at {address}: {reason}"


def _problem(address: str, error: ProblemError) -> str:
    """The sentence of a problem document. An answer that is not Sameask's has none."""
    if not error.detail:
        return f"the server at {address} answered {error.status}"
    faults = [f"\n  {field}: {fault}" for field, fault in error.errors.items()]
    hint = KEY_HINT if isinstance(error, KeyRefused) else ""
    return f"{error.title}: {error.detail}{''.join(faults)}{hint}"
