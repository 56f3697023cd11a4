"""Work beside requests: steps repeated for ever, tasks that end with a context, functions in a pool's threads."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar

from app.errors import SameaskError

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


async def repeat(
    step: Callable[[], Awaitable[bool | None]],
    pause_seconds: float,
    failure: str,
    *,
    failure_pause_seconds: float | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Take a step for ever, and pause after each one that does not return True.

    A step that raises is logged under the sentence `failure`, and taken again after `failure_pause_seconds`
    (`pause_seconds` if None).
    """
    if failure_pause_seconds is None:
        failure_pause_seconds = pause_seconds
    while True:
        try:
            has_more = await step()
        except Exception as error:
            log_failure(failure, error)
            await sleep(failure_pause_seconds)
        else:
            if not has_more:
                await sleep(pause_seconds)


def log_failure(failure: str, error: Exception) -> None:
    """Log an error of background work.

    The message of an unexpected error may quote a question: such an error is logged by its type and its place in the
    code.
    """
    if isinstance(error, SameaskError):
        log.error("%s: %s", failure, error)
        return
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("%s, by a fault: %s\n%s", failure, type(error).__name__, frames)


@asynccontextmanager
async def background_tasks(*work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run coroutines as tasks until the context ends; then they are cancelled and waited for."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        yield
    finally:
        await end(*tasks)


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks, and wait until each has ended. What they raise was theirs to log."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def to_its_end(work: Awaitable[T]) -> T:
    """Await work whose outcome has to be told, such as a commit: a task that is cancelled meanwhile still waits for it.

    It stays cancelled (`is_cancelled`); whether to wait for more then is for the caller to say.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def is_cancelled() -> bool:
    """Whether the running task was cancelled, and goes on all the same."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def in_thread(
    pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a blocking function in a thread of the pool, and await what it returns."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, partial(function, *args, **kwargs))
