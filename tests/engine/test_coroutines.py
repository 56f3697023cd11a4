"""Coroutines in a pool by value: what is returned or raised, where they run, and what a cancelled one leaves undone."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from app.engine.coroutines import Awaited, run

PATIENCE_SECONDS = 60


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        yield pool


async def added(*futures: "Future[int]") -> int:
    """The sum of what the futures hold, each waited for in its turn."""
    total = 0
    for future in futures:
        total += await Awaited(future)
    return total


def done(value: int) -> "Future[int]":
    future: Future[int] = Future()
    future.set_result(value)
    return future


def test_what_a_coroutine_returns_is_the_answer(pool: ThreadPoolExecutor) -> None:
    assert run(pool, added()).result(PATIENCE_SECONDS) == 0
    assert run(pool, added(done(1), done(2))).result(PATIENCE_SECONDS) == 3


def test_who_waits_holds_no_thread(pool: ThreadPoolExecutor) -> None:
    later: list[Future[int]] = [Future() for _ in range(50)]
    answers = [run(pool, added(done(1), future, done(2))) for future in later]
    assert run(pool, added(done(7))).result(PATIENCE_SECONDS) == 7
    assert not any(answer.done() for answer in answers)
    for number, future in enumerate(later):
        future.set_result(number)
    assert [answer.result(PATIENCE_SECONDS) for answer in answers] == [
        number + 3 for number in range(50)
    ]


def test_every_part_runs_in_the_pool(pool: ThreadPoolExecutor) -> None:
    waited_for: Future[int] = Future()
    threads: list[str] = []

    async def work() -> None:
        threads.append(threading.current_thread().name)
        await Awaited(waited_for)
        threads.append(threading.current_thread().name)

    answer = run(pool, work())
    pool.submit(int).result(PATIENCE_SECONDS)
    waited_for.set_result(1)
    answer.result(PATIENCE_SECONDS)
    assert threads == ["pool_0", "pool_0"]


def test_what_it_raises_is_raised(pool: ThreadPoolExecutor) -> None:
    failed: Future[int] = Future()
    answer = run(pool, added(done(1), failed))
    failed.set_exception(LookupError("xyzzy"))
    with pytest.raises(LookupError, match="xyzzy"):
        answer.result(PATIENCE_SECONDS)


def test_a_cancelled_answer_cancels_what_is_awaited_and_goes_no_further(
    pool: ThreadPoolExecutor,
) -> None:
    waited_for: Future[int] = Future()
    taken: list[str] = []

    async def work() -> None:
        try:
            await Awaited(waited_for)
            taken.append("another step")
        finally:
            taken.append("the end")

    answer = run(pool, work())
    pool.submit(int).result(PATIENCE_SECONDS)
    assert answer.cancel()
    assert waited_for.cancelled()
    pool.submit(int).result(PATIENCE_SECONDS)
    assert taken == ["the end"]
    with pytest.raises(CancelledError):
        answer.result(PATIENCE_SECONDS)


def test_a_coroutine_that_is_cancelled_before_it_begins_does_not_begin(
    pool: ThreadPoolExecutor,
) -> None:
    busy, taken = threading.Event(), []

    async def work() -> None:
        taken.append("a step")
        await Awaited(done(1))

    pool.submit(busy.wait, PATIENCE_SECONDS)
    assert run(pool, work()).cancel()
    busy.set()
    pool.submit(int).result(PATIENCE_SECONDS)
    assert taken == []


def test_an_answer_that_is_cancelled_while_it_runs_stays_cancelled(
    pool: ThreadPoolExecutor,
) -> None:
    entered, leave = threading.Event(), threading.Event()
    asked_for: list[Future[int]] = []

    async def work() -> int:
        entered.set()
        assert leave.wait(PATIENCE_SECONDS)
        asked_for.append(Future())
        await Awaited(asked_for[0])
        return 1

    answer = run(pool, work())
    assert entered.wait(PATIENCE_SECONDS)
    assert answer.cancel()
    leave.set()
    pool.submit(int).result(PATIENCE_SECONDS)
    assert asked_for[0].cancelled()
