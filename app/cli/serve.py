"""`sameask serve`: the service at one address, in one process or, with `--replicas`, in several."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from app.cli.client import create_app, note_new_data_directory
from app.cli.listening import authority, listen, share
from app.cli.logs import log_to_stderr
from app.cli.replicas import serve_replicas
from app.cli.terminal import print_note
from app.errors import CommandError
from app.http.connections import limited
from app.settings import Settings

SHUTDOWN_SECONDS = 10
LAST_ANSWERS_SECONDS = 5
LOOK_SECONDS = 0.01
KEEP_ALIVE_SECONDS = 75  # 5, as long as httpx trusts an idle connection, would be a race


def serve(
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Serve in N processes at one port, over the PostgreSQL of SAMEASK_DATABASE_URL, or else over"
            " one of its own in the data directory. A process that dies is started again.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(hidden=True)] = 1,  # others' servers have it
    replica: Annotated[bool, typer.Option(hidden=True)] = False,  # of a parent, which starts it so
) -> None:
    """Start the service; SAMEASK_HOST, SAMEASK_PORT and the other settings say how."""
    if workers != 1:
        raise CommandError(
            "--workers: one process serves a data directory, with its models and indexes, and uses every processor;"
            " --replicas serves in several, over PostgreSQL"
        )
    settings = Settings()
    log_to_stderr(settings)
    if replicas:
        serve_replicas(settings, replicas)
        return
    if replica:
        _end_with_parent()
    with share(settings) if replica else listen(settings) as listening:
        if not replica:
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
            runner.run(_serve(app, uvicorn.Server(config), listening, is_replica=replica))


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


async def _serve(
    app: FastAPI, server: uvicorn.Server, listening: socket.socket, *, is_replica: bool = False
) -> None:
    """Answer from the first second, though nobody but orchestrators until the service is open. A replica answers from
    then on: others do meanwhile."""
    signals = _Signals()
    async with AsyncExitStack() as stack:
        if is_replica:
            await stack.enter_async_context(app.router.lifespan_context(app))
        serving = await stack.enter_async_context(_answering(server, listening))
        if not is_replica:
            await stack.enter_async_context(app.router.lifespan_context(app))
        while not (server.started or serving.done()):
            await asyncio.sleep(LOOK_SECONDS)
        signals.is_open = True
        _say_open(listening, is_replica=is_replica)
        _freeze_memory()
        await serving
        await _wait_for_last_answers(server)


def _say_open(listening: socket.socket, *, is_replica: bool) -> None:
    """Tell people, or the parent, which has told them, that the service answers."""
    if is_replica:
        typer.echo("open")
        return
    address = f"http://{authority(*listening.getsockname()[:2])}"
    print_note(f"Sameask answers at {address} (documentation: {address}/docs)")


def _end_with_parent() -> None:
    """From now on, end as by SIGTERM when the standard input does."""

    def end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()


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


def _freeze_memory() -> None:
    """Tell the collector that what is loaded by now stays: walking through all of it holds everybody up for 0.3 s."""
    gc.collect()
    gc.freeze()
