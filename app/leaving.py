"""Work for a client, until it leaves: somebody who types on, or closes the page, waits for nothing any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


class ClientLeft(Exception):
    """The client closed the connection; its work was cancelled."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, unless the client leaves first: then it is cancelled, and what waits for the model is dropped."""
    working = asyncio.current_task()
    assert working
    left = over = False

    def leave(_: object) -> None:
        nonlocal left
        if not over:  # the two may end in one turn of the loop
            left = True
            working.cancel()

    leaving = asyncio.create_task(_disconnected(request))
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left and not working.uncancel():  # nobody else cancelled it too
            raise ClientLeft from None
        raise
    finally:
        over = True
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
