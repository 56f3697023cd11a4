"""Background work: what is repeated goes on after a failure, and what it logs holds no text."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.background import background_tasks, in_thread, is_cancelled, repeat, to_its_end
from app.errors import StorageFull

SECRET = "a question that no log may hold"


def pauses_of(outcomes: Iterator[bool | Exception]) -> list[float]:
    """The pauses of a step that has these outcomes, one after the other."""
    slept: list[float] = []

    async def step() -> bool:
        outcome = next(outcomes, None)
        if outcome is None:
            raise asyncio.CancelledError
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(repeat(step, 1.0, "it failed", failure_pause_seconds=30.0, sleep=sleep))
    return slept


def test_a_step_is_taken_at_once_while_there_is_more_and_after_a_pause_else() -> None:
    assert pauses_of(iter([True, True, False, True, False])) == [1.0, 1.0]


def test_a_step_that_fails_is_taken_again_after_the_longer_pause() -> None:
    assert pauses_of(iter([ValueError(), True, StorageFull("full"), False])) == [30.0, 30.0, 1.0]


def test_an_error_of_ours_is_logged_in_its_words_and_another_by_its_type_and_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "app.background"):
        pauses_of(iter([StorageFull("the disk is full"), ValueError(SECRET)]))
    ours, other = [record.getMessage() for record in caplog.records]
    assert ours == "it failed: the disk is full"
    assert other.startswith("it failed, by a fault: ValueError\n")
    assert "in step" in other
    assert SECRET not in caplog.text


def test_tasks_have_ended_when_the_context_has() -> None:
    events: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            events.append(name)

    async def main() -> None:
        async with background_tasks(work("one"), work("other")):
            await asyncio.sleep(0.01)
            events.append("body")
        events.append("after")

    asyncio.run(main())
    assert events == ["body", "one", "other", "after"]


def test_a_function_is_called_in_a_thread_of_the_pool() -> None:
    def name_thread(prefix: str, *, suffix: str) -> str:
        return prefix + threading.current_thread().name + suffix

    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
        assert asyncio.run(in_thread(pool, name_thread, "<", suffix=">")) == "<pool_0>"


def test_a_cancelled_task_still_learns_how_its_work_ended() -> None:
    async def work(outcome: asyncio.Future[str]) -> tuple[str, bool]:
        return await to_its_end(outcome), is_cancelled()

    async def cancel_twice() -> tuple[str, bool]:
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(work(outcome))
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        outcome.set_result("committed")
        return await task

    assert asyncio.run(cancel_twice()) == ("committed", True)


def test_work_that_fails_fails_for_who_waits_for_it() -> None:
    async def fail() -> None:
        raise StorageFull("full")

    with pytest.raises(StorageFull, match="full"):
        asyncio.run(to_its_end(fail()))
