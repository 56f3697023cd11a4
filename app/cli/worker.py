"""`sameask worker`: works on training runs, beside a server or without one, in the data directory."""

import asyncio
import signal

from app.cli.client import assert_data_directory
from app.cli.logs import log_to_stderr
from app.cli.terminal import print_note
from app.data_directory import shared
from app.settings import Settings
from app.training_runs.worker import Worker, name_of_process


def worker() -> None:
    """Work on training runs in the data directory, beside a server or without one, until told to stop.

    A run that is under way then goes on, and whoever works next finds it again.
    """
    settings = Settings()
    log_to_stderr(settings)
    assert_data_directory(settings)
    with shared(settings.data_dir, settings.store_url) as store:
        asyncio.run(_work(Worker(store, settings, holder=f"worker {name_of_process()}")))


async def _work(worker: Worker) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with worker.running():
        print_note("works on training runs until it is told to stop")
        await stopped.wait()
