"""What becomes of work whose client stays, leaves, or is cancelled from elsewhere."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from app.leaving import ClientLeft, while_connected

pytestmark = pytest.mark.anyio


class Client:
    """The other end of a request, which leaves when told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


class Work:
    """Work that ends when told to, and knows how it ended."""

    def __init__(self) -> None:
        self.begun, self.finish = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


async def test_who_stays_gets_the_answer() -> None:
    client, work = Client(), Work()
    work.finish.set()
    assert await while_connected(client.request, work()) == "done"
    client.left.set()
    await asyncio.sleep(0)  # where a late cancellation would strike
    assert not work.cancelled


async def test_who_leaves_in_the_turn_in_which_the_work_ends_cancels_nothing_after_it() -> None:
    client, work = Client(), Work()

    async def answer() -> str:
        answer = await while_connected(client.request, work())
        for _ in range(3):
            await asyncio.sleep(0)  # as an answer is sent
        return answer

    asked = asyncio.create_task(answer())
    await work.begun.wait()
    await asyncio.sleep(0)
    client.left.set()
    work.finish.set()
    assert await asked == "done"
    assert not work.cancelled


async def test_who_stays_gets_the_error() -> None:
    async def fail() -> None:
        raise LookupError("xyzzy")

    with pytest.raises(LookupError, match="xyzzy"):
        await while_connected(Client().request, fail())


async def test_the_work_of_who_leaves_is_cancelled() -> None:
    client, work = Client(), Work()
    asked = asyncio.create_task(while_connected(client.request, work()))
    await work.begun.wait()
    client.left.set()
    with pytest.raises(ClientLeft):
        await asked
    assert work.cancelled
    assert not asked.cancelling()  # what answers for it, with a 499, can go on


async def test_a_cancelled_request_is_cancelled_and_not_left() -> None:
    client, work = Client(), Work()
    asked = asyncio.create_task(while_connected(client.request, work()))
    await work.begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert work.cancelled


async def test_who_leaves_while_the_request_is_cancelled_is_cancelled() -> None:
    client, work = Client(), Work()
    asked = asyncio.create_task(while_connected(client.request, work()))
    await work.begun.wait()
    client.left.set()
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert work.cancelled
