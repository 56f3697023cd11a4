"""Either client of a running server, called in one way, and what it asked the server for."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import httpx

from sameask_client import AsyncClient, Client

Asked = list[tuple[str, str]]  # method and path of each request


class Speak(Protocol):
    """Calls a method by its name; an iterator that it returns comes as a list."""

    def __call__(self, name: str, /, *args: object, **kwargs: object) -> Any: ...


class NotingTransport(httpx.HTTPTransport):
    """Notes each request on its way to the server."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx asks for it."""
        self._asked.append((request.method, request.url.path))
        return super().handle_request(request)


class AsyncNotingTransport(httpx.AsyncHTTPTransport):
    """The same for asynchronous code."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx asks for it."""
        self._asked.append((request.method, request.url.path))
        return await super().handle_async_request(request)


@contextmanager
def speaking(url: str, asked: Asked) -> Iterator[Speak]:
    """Methods of Client."""
    with Client(url, key="", transport=NotingTransport(asked)) as client:

        def speak(name: str, /, *args: object, **kwargs: object) -> Any:
            answer = getattr(client, name)(*args, **kwargs)
            return list(answer) if isinstance(answer, Iterator) else answer

        yield speak


@contextmanager
def speaking_async(url: str, asked: Asked) -> Iterator[Speak]:
    """Methods of AsyncClient, in one event loop."""
    client = AsyncClient(url, key="", transport=AsyncNotingTransport(asked))

    async def call(name: str, *args: object, **kwargs: object) -> Any:
        answer = getattr(client, name)(*args, **kwargs)
        if isinstance(answer, AsyncIterator):
            return [item async for item in answer]
        return await answer if inspect.isawaitable(answer) else answer

    with asyncio.Runner() as runner:

        def speak(name: str, /, *args: object, **kwargs: object) -> Any:
            return runner.run(call(name, *args, **kwargs))

        try:
            yield speak
        finally:
            runner.run(client.aclose())
