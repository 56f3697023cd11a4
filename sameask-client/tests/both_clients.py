"""Calls a method of one client or the other, so that each test runs over both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from sameask_client import AsyncClient, Client, Retries

Handler = Callable[[httpx.Request], httpx.Response]
Call = Callable[..., Any]

AT_ONCE = Retries(first_wait_seconds=0.0)
URL = "http://faq.example/sameask"


def call_sync(
    handler: Handler, name: str, /, *args: object, retries: Retries = AT_ONCE, **kwargs: object
) -> Any:
    """What a method of Client returns; an iterator as a list."""
    with Client(URL, key="", retries=retries, transport=httpx.MockTransport(handler)) as client:
        answer = getattr(client, name)(*args, **kwargs)
        return list(answer) if isinstance(answer, Iterator) else answer


def call_async(
    handler: Handler, name: str, /, *args: object, retries: Retries = AT_ONCE, **kwargs: object
) -> Any:
    """What a method of AsyncClient returns; an iterator as a list."""

    async def call() -> Any:
        transport = httpx.MockTransport(handler)
        async with AsyncClient(URL, key="", retries=retries, transport=transport) as client:
            answer = getattr(client, name)(*args, **kwargs)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(call())


class Service:
    """Answers with what it is given, one after the other, and notes what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)
