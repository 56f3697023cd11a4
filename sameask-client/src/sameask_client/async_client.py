"""The client for asynchronous code: each answer is awaited."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
)
from contextlib import aclosing
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from sameask_client import (
    asking,
    collections,
    embeddings,
    health,
    labels,
    promises,
    questions,
    releases,
    training_runs,
)
from sameask_client.connection import DEFAULT_TIMEOUT_SECONDS, DEFAULT_URL, connection
from sameask_client.following import AGAIN_SECONDS, Events, Stream, patient
from sameask_client.methods import like
from sameask_client.operation import Listing, Operation
from sameask_client.retrying import Attempts, Retries
from sameask_client.uploading import Counted, Item, Upload

P = ParamSpec("P")
T = TypeVar("T")


def _asks(
    build: Callable[P, Operation[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """A method that sends one request and returns its answer."""

    @like(build)
    async def ask(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(build(*args, **kwargs))

    return ask


def _lists(
    build: Callable[P, Listing[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    """A method that goes through a list, and asks for its pages as they are needed."""

    @like(build)
    def iterate(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._items(build(*args, **kwargs))

    return iterate


def _uploads(
    build: Callable[P, Upload[Item, Counted]],
) -> Callable[
    Concatenate["AsyncClient", AsyncIterable[Item] | Iterable[Item], P],
    Coroutine[Any, Any, Counted],
]:
    """A method that sends items as they come, and returns the counts of all its requests."""

    @like(build, "items")
    async def upload(
        self: "AsyncClient",
        items: AsyncIterable[Item] | Iterable[Item],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Counted:
        return await self._upload(build(*args, **kwargs), items)

    return upload


def _follows(
    build: Callable[P, Stream[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncIterator[T]]:
    """A method that goes through the states of something as they come."""

    @like(build)
    def follow(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._states(build(*args, **kwargs))

    return follow


class AsyncClient:
    """A client of a Sameask service; close it, or use it in an `async with` block. Tasks of one loop may share it.

    `key`: without it, that of the variable SAMEASK_KEY is sent, if there is one. `timeout_seconds`: how long it waits
    to be connected, and for each part of an answer. `transport`: httpx's way to the service, as
    `httpx.ASGITransport(app)` for an app in this process.

    Its methods raise SameaskError, and ValueError for an argument that no service has seen.
    """

    find_duplicates = _asks(asking.find_duplicates)
    score_pairs = _asks(asking.score_pairs)
    embed_texts = _asks(embeddings.embed_texts)

    upsert_questions = _asks(questions.upsert_questions)
    import_questions = _uploads(questions.import_questions)
    list_questions = _lists(questions.list_questions)
    read_question = _asks(questions.read_question)
    delete_question = _asks(questions.delete_question)

    label_pairs = _asks(labels.label_pairs)
    import_labels = _uploads(labels.import_labels)
    list_labels = _lists(labels.list_labels)
    undo_label = _asks(labels.undo_label)

    create_collection = _asks(collections.create_collection)
    read_collection = _asks(collections.read_collection)
    list_collections = _lists(collections.list_collections)
    delete_collection = _asks(collections.delete_collection)
    erase_asked = _asks(collections.erase_asked)

    read_evidence = _asks(promises.read_evidence)
    read_review_queue = _asks(promises.read_review_queue)
    skip_pair = _asks(promises.skip_pair)

    start_training = _asks(training_runs.start_training)
    list_training_runs = _lists(training_runs.list_training_runs)
    read_training_run = _asks(training_runs.read_training_run)
    follow_training_run = _follows(training_runs.follow_training_run)
    cancel_training_run = _asks(training_runs.cancel_training_run)
    resume_training_run = _asks(training_runs.resume_training_run)

    list_releases = _asks(releases.list_releases)
    read_live_release = _asks(releases.read_live_release)
    activate_release = _asks(releases.activate_release)
    roll_back_release = _asks(releases.roll_back_release)
    read_shadow = _asks(releases.read_shadow)
    open_shadow = _asks(releases.open_shadow)
    cancel_shadow = _asks(releases.cancel_shadow)
    compare_release = _asks(releases.compare_release)
    remove_release = _asks(releases.remove_release)

    livez = _asks(health.livez)
    readyz = _asks(health.readyz)
    metrics = _asks(health.metrics)

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retries: Retries = Retries(),  # noqa: B008, it is frozen
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**connection(url, key, timeout_seconds), transport=transport)
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(self, operation: Operation[T]) -> T:
        """Send a request, again where that may help, and read its answer."""
        attempts = Attempts(self._retries, operation)
        while True:
            outcome = await self._outcome(operation)
            wait = attempts.wait_seconds(outcome)
            if wait is None:
                return operation.result(outcome)
            await asyncio.sleep(wait)

    async def _outcome(self, operation: Operation[T]) -> httpx.Response | httpx.RequestError:
        try:
            return await self._http.request(
                operation.method, operation.path, **operation.arguments()
            )
        except httpx.RequestError as error:
            return error

    async def _items(self, listing: Listing[T]) -> AsyncIterator[T]:
        page = await self._send(listing.page(None))
        for item in page.items:
            yield item
        while page.next_cursor is not None:
            page = await self._send(listing.page(page.next_cursor))
            for item in page.items:
                yield item

    async def _upload(
        self, upload: Upload[Item, Counted], items: AsyncIterable[Item] | Iterable[Item]
    ) -> Counted:
        operations = _batches(upload, items)
        room = asyncio.Semaphore(upload.in_flight)

        async def send(operation: Operation[Counted]) -> None:
            upload.count(await self._send(operation))
            room.release()

        try:
            async with asyncio.TaskGroup() as group:
                while await room.acquire() and (operation := await anext(operations, None)):
                    group.create_task(send(operation))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return upload.total

    async def _states(self, stream: Stream[T]) -> AsyncIterator[T]:
        """The states of a stream, which is asked for again while it ends before the last one."""
        operation = stream.operation()
        attempts = Attempts(self._retries, operation)
        while True:
            has_answered = False
            outcome: httpx.Response | httpx.RequestError
            try:
                async with aclosing(self._streamed(stream)) as states:
                    async for state in states:
                        attempts = Attempts(self._retries, operation)
                        has_answered = True
                        yield state
                        if stream.is_over(state):
                            return
                if has_answered:  # a server ends each stream after some time
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                outcome = stream.ended(self._http.base_url)
            except httpx.HTTPStatusError as error:
                outcome = error.response
            except httpx.RequestError as error:
                outcome = error
            wait = attempts.wait_seconds(outcome)
            if wait is None:
                operation.result(outcome)
                return
            await asyncio.sleep(wait)

    async def _streamed(self, stream: Stream[T]) -> AsyncGenerator[T, None]:
        """The states of one connection. Raises HTTPStatusError, whose response is read, for a problem."""
        events = Events(stream)
        timeout = patient(self._http.timeout)
        async with self._http.stream("GET", stream.path, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
                response.raise_for_status()
            async for text in response.aiter_text():
                for state in events.states(text):
                    yield state


async def _each(items: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
    """The items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def _batches(
    upload: Upload[Item, Counted], items: AsyncIterable[Item] | Iterable[Item]
) -> AsyncIterator[Operation[Counted]]:
    """The requests that carry the items, which are taken as these are sent."""
    async for item in _each(items):
        operation = upload.add(item)
        if operation:
            yield operation
    rest = upload.rest()
    if rest:
        yield rest
