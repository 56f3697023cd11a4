"""The client that waits for each answer."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

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


def _asks(build: Callable[P, Operation[T]]) -> Callable[Concatenate["Client", P], T]:
    """A method that sends one request and returns its answer."""

    @like(build)
    def ask(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    return ask


def _lists(build: Callable[P, Listing[T]]) -> Callable[Concatenate["Client", P], Iterator[T]]:
    """A method that goes through a list, and asks for its pages as they are needed."""

    @like(build)
    def iterate(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._items(build(*args, **kwargs))

    return iterate


def _uploads(
    build: Callable[P, Upload[Item, Counted]],
) -> Callable[Concatenate["Client", Iterable[Item], P], Counted]:
    """A method that sends items as they come, and returns the counts of all its requests."""

    @like(build, "items")
    def upload(
        self: "Client", items: Iterable[Item], /, *args: P.args, **kwargs: P.kwargs
    ) -> Counted:
        return self._upload(build(*args, **kwargs), items)

    return upload


def _follows(build: Callable[P, Stream[T]]) -> Callable[Concatenate["Client", P], Iterator[T]]:
    """A method that goes through the states of something as they come."""

    @like(build)
    def follow(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._states(build(*args, **kwargs))

    return follow


class Client:
    """A client of a Sameask service; close it, or use it in a `with` block. Threads may share it.

    `key`: without it, that of the variable SAMEASK_KEY is sent, if there is one. `timeout_seconds`: how long it waits
    to be connected, and for each part of an answer. `transport`: httpx's way to the service, such as one for tests.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**connection(url, key, timeout_seconds), transport=transport)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(self, operation: Operation[T]) -> T:
        """Send a request, again where that may help, and read its answer."""
        attempts = Attempts(self._retries, operation)
        while True:
            outcome = self._outcome(operation)
            wait = attempts.wait_seconds(outcome)
            if wait is None:
                return operation.result(outcome)
            time.sleep(wait)

    def _outcome(self, operation: Operation[T]) -> httpx.Response | httpx.RequestError:
        try:
            return self._http.request(operation.method, operation.path, **operation.arguments())
        except httpx.RequestError as error:
            return error

    def _items(self, listing: Listing[T]) -> Iterator[T]:
        page = self._send(listing.page(None))
        yield from page.items
        while page.next_cursor is not None:
            page = self._send(listing.page(page.next_cursor))
            yield from page.items

    def _upload(self, upload: Upload[Item, Counted], items: Iterable[Item]) -> Counted:
        for answer in self._answers(_batches(upload, items), upload.in_flight):
            upload.count(answer)
        return upload.total

    def _answers(self, operations: Iterator[Operation[T]], in_flight: int) -> Iterator[T]:
        """The answers to requests, of which so many are sent at once."""
        if in_flight == 1:
            yield from map(self._send, operations)
            return
        with ThreadPoolExecutor(in_flight) as threads:
            sent = {threads.submit(self._send, one) for one in islice(operations, in_flight)}
            while sent:
                done, sent = wait(sent, return_when=FIRST_COMPLETED)
                for answered in done:
                    yield answered.result()
                sent |= {threads.submit(self._send, one) for one in islice(operations, len(done))}

    def _states(self, stream: Stream[T]) -> Iterator[T]:
        """The states of a stream, which is asked for again while it ends before the last one."""
        operation = stream.operation()
        attempts = Attempts(self._retries, operation)
        while True:
            has_answered = False
            outcome: httpx.Response | httpx.RequestError
            try:
                for state in self._streamed(stream):
                    attempts = Attempts(self._retries, operation)
                    has_answered = True
                    yield state
                    if stream.is_over(state):
                        return
                if has_answered:  # a server ends each stream after some time
                    time.sleep(AGAIN_SECONDS)
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
            time.sleep(wait)

    def _streamed(self, stream: Stream[T]) -> Iterator[T]:
        """The states of one connection. Raises HTTPStatusError, whose response is read, for a problem."""
        events = Events(stream)
        timeout = patient(self._http.timeout)
        with self._http.stream("GET", stream.path, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                response.raise_for_status()
            for text in response.iter_text():
                yield from events.states(text)


def _batches(upload: Upload[Item, Counted], items: Iterable[Item]) -> Iterator[Operation[Counted]]:
    """The requests that carry the items, which are taken as these are sent."""
    for item in items:
        operation = upload.add(item)
        if operation:
            yield operation
    rest = upload.rest()
    if rest:
        yield rest
