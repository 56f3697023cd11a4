"""Work that waits for other threads in the middle, in threads of a pool: no thread is held while it waits.

A request waits for its models once or twice. Were an event loop to take it from each thread to the next, it would be
woken in between for nothing but to pass it on.
"""

from collections.abc import Generator
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[Future[Any], None, T]  # what is yielded has to be done before the next step


def run(pool: Executor, steps: Steps[T]) -> Future[T]:
    """Take the steps in threads of the pool, one after the other; the future holds what they return or raise.

    Cancelling the future cancels what is waited for, and no further step is taken.
    """
    answer: Future[T] = Future()
    pool.submit(_take, pool, steps, answer)
    return answer


def _take(pool: Executor, steps: Steps[T], answer: Future[T]) -> None:
    """Go on until something has to be waited for."""
    if answer.cancelled():
        steps.close()
        return
    with suppress(InvalidStateError):  # whoever asked has left
        try:
            waited_for = _next_pending(steps)
        except StopIteration as end:
            answer.set_result(end.value)
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.add_done_callback(lambda _: waited_for.cancel())
            waited_for.add_done_callback(lambda _: pool.submit(_take, pool, steps, answer))


def _next_pending(steps: Steps[T]) -> Future[Any]:
    """What has to be waited for next. Raises StopIteration at the end, and whatever the work raises."""
    while (future := next(steps)).done():
        pass
    return future
