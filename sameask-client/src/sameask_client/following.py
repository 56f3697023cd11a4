"""States of something as they come, by server-sent events
(https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx

from sameask_client.errors import NotSameask
from sameask_client.operation import Operation
from sameask_client.parsing import read

T = TypeVar("T")

SILENCE_SECONDS = 45.0  # on a stream, after which nobody is there any more


AGAIN_SECONDS = 0.5  # until a stream is asked for again that ended as it must some time


@dataclass(frozen=True)
class Stream(Generic[T]):
    """States as they come. The stream may end before the last one: it is asked for again then."""

    path: str
    kind: type[T]
    is_over: Callable[[T], bool]

    def operation(self) -> Operation[None]:
        """The request for the stream."""
        return Operation("GET", self.path, _read_nothing)

    def ended(self, base_url: httpx.URL) -> httpx.RequestError:
        """The outcome of a stream that ended before the last state."""
        return httpx.ReadError("the stream of events ended", request=httpx.Request("GET", base_url))


class Events(Generic[T]):
    """Parts of a stream's text -> states.

    Lines are cut here and not by httpx, which also cuts at characters that may stand in a state, such as U+2028.
    """

    def __init__(self, stream: Stream[T]) -> None:
        self._kind = stream.kind
        self._line = ""  # that has begun
        self._data: list[str] = []  # of the event that has begun

    def states(self, text: str) -> list[T]:
        """The states that end in this part. Raises NotSameask."""
        *lines, self._line = (self._line + text).split("\n")
        states = [self._state(line.removesuffix("\r")) for line in lines]
        return [state for state in states if state is not None]

    def _state(self, line: str) -> T | None:
        """The state that ends with this line; None inside one, and for what keeps the connection alive."""
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        data, self._data = "\n".join(self._data), []
        if not data:
            return None
        try:
            document = json.loads(data)
        except ValueError as error:
            raise NotSameask("an event of the stream is no JSON") from error
        return read(self._kind, document)


def patient(timeout: httpx.Timeout) -> httpx.Timeout:
    """The timeout for a stream, on which the service says every 15 seconds that it is there."""
    read = max(timeout.read or 0.0, SILENCE_SECONDS)
    return httpx.Timeout(connect=timeout.connect, read=read, write=timeout.write, pool=timeout.pool)


def _read_nothing(_: httpx.Response) -> None:
    return None
