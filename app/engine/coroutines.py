"""Coroutines that run in the threads of a pool, without an event loop: no thread is held while one waits.

A request waits for its models once or twice. An event loop would be woken in between for nothing but to pass the
request on from one thread to the next.
"""

from collections.abc import Coroutine, Generator
from concurrent.futures import Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Awaited(Generic[T]):
    """Makes a future of another thread awaitable in a coroutine that `run` drives."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self._future.done():
            yield self._future
        return self._future.result()


def run(pool: Executor, coroutine: Coroutine[Future[Any], None, T]) -> Future[T]:
    """Run a coroutine that awaits nothing but `Awaited`; the future holds what it returns or raises.

    Cancelling the future cancels what the coroutine awaits, and ends it there.
    """
    answer: Future[T] = Future()
    pool.submit(_advance, pool, coroutine, answer)
    return answer


def _advance(pool: Executor, coroutine: Coroutine[Future[Any], None, T], answer: Future[T]) -> None:
    """Run it until it has to wait. The thread that ends the waiting hands it to the pool again."""
    if answer.cancelled():
        coroutine.close()
        return
    with suppress(InvalidStateError):  # whoever asked has left
        try:
            awaited = coroutine.send(None)
        except StopIteration as end:
            answer.set_result(end.value)
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.add_done_callback(lambda _: awaited.cancel())
            awaited.add_done_callback(lambda _: pool.submit(_advance, pool, coroutine, answer))
