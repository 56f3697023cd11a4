"""`sameask serve`: the service, in one process, at one address."""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from app.cli.client import create_app, note_new_data_directory
from app.cli.logs import log_to_stderr
from app.cli.terminal import print_note
from app.errors import AddressInUse, CommandError
from app.http.connections import limited
from app.settings import Settings

BACKLOG = 2048  # connections that may wait to be accepted
SHUTDOWN_SECONDS = 10
LAST_ANSWERS_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # 5, as long as httpx trusts an idle connection, would be a race


def serve(
    workers: Annotated[int, typer.Option(hidden=True)] = 1,  # others' servers have it
) -> None:
    """Start the service; SAMEASK_HOST, SAMEASK_PORT and the other settings say how."""
    if workers != 1:
        raise CommandError(
            "--workers: one process serves a data directory, with its models and indexes; it uses every processor"
        )
    settings = Settings()
    with _listen(settings) as listening:
        log_to_stderr(settings)
        note_new_data_directory(settings)
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_level=_server_log_level(settings),
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            http=limited(settings),
            ws="none",
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(app, uvicorn.Server(config), listening))


def _server_log_level(settings: Settings) -> str:
    """Of the server's own lines, problems alone: that it starts, and has ended, is said by the service."""
    return "warning" if settings.log_level == "info" else settings.log_level


class _Signals:
    """Takes the signals that the server does not handle. Until the service is open, they end the process.

    After that they do nothing: the server raises the signal that ended it once more, while the service still closes.
    """

    def __init__(self) -> None:
        self.is_open = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    def __call__(self, number: int, _frame: object) -> None:
        if not self.is_open:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


async def _serve(app: FastAPI, server: uvicorn.Server, listening: socket.socket) -> None:
    """Answer from the first second, though nobody but orchestrators until the service is open."""
    signals = _Signals()
    async with _answering(server, listening) as serving, app.router.lifespan_context(app):
        signals.is_open = True
        host, port = listening.getsockname()[:2]
        address = f"http://{_authority(host, port)}"
        print_note(f"Sameask answers at {address} (documentation: {address}/docs)")
        _freeze_memory()
        await serving
        await _wait_for_last_answers(server)


@asynccontextmanager
async def _answering(
    server: uvicorn.Server, listening: socket.socket
) -> AsyncIterator["asyncio.Task[None]"]:
    """The task that answers. It ends by a signal, or with the context."""
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield serving
    finally:
        server.should_exit = True
        await serving


async def _wait_for_last_answers(server: uvicorn.Server) -> None:
    """Give requests that outlasted the graceful shutdown, and were cancelled, the time to say so."""
    if server.server_state.tasks:
        await asyncio.wait(server.server_state.tasks, timeout=LAST_ANSWERS_SECONDS)


def _authority(host: str, port: int) -> str:
    """Host and port as a URL has them: an address of IPv6 stands in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _freeze_memory() -> None:
    """Tell the collector that what is loaded by now stays: walking through all of it holds everybody up for 0.3 s."""
    gc.collect()
    gc.freeze()


def _listen(settings: Settings) -> socket.socket:
    """Take the address before anything is loaded. Raises AddressInUse.

    The protocol is named, though there is only one: asyncio turns Nagle's algorithm off for no other socket. With it,
    an answer waits 40 ms: it is written in two parts, and the client has to acknowledge the first.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise AddressInUse(
            f"can't listen on {_authority(settings.host, settings.port)} (SAMEASK_PORT): {error.strerror}"
        ) from error
    return listening
