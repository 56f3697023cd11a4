"""When a request is sent again, and after which wait."""

import random
from dataclasses import dataclass
from typing import Any

import httpx

from sameask_client.errors import retry_after_seconds
from sameask_client.operation import Operation

REFUSED = 429  # before any work
BUSY = (REFUSED, 503)


@dataclass(frozen=True)
class Retries:
    """How often a request is sent at most, and how long the client waits in between.

    Sent again is what may be: every GET, PUT and DELETE, questions, labels, what is asked. That happens after the
    statuses 429 and 503 and when the connection fails, not when the answer is late: the service is at work on it.

    `only_refused`: after the status 429 alone, and then every request, since none was begun. So a person who waits
    hears at once that nobody listens, and is served in the end by a service that is busy.
    """

    attempts: int = 5
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 30.0
    only_refused: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_wait_seconds < 0 or self.longest_wait_seconds < 0:
            raise ValueError("attempts must be at least 1, and no wait negative")


NO_RETRIES = Retries(attempts=1)


class Attempts:
    """The attempts at one request."""

    def __init__(self, retries: Retries, operation: Operation[Any]) -> None:
        self._retries = retries
        self._operation = operation
        is_repeatable = operation.is_repeatable or retries.only_refused
        self._left = retries.attempts - 1 if is_repeatable else 0
        self._backoff = retries.first_wait_seconds

    def wait_seconds(self, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """How long to wait before it is sent again; None: the outcome stands.

        A random part of a bound that doubles each time ("full jitter"), beside what Retry-After asks for:
        https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
        """
        if not self._may_pass(outcome):
            return None
        asked_for = 0.0
        if isinstance(outcome, httpx.Response):
            asked_for = retry_after_seconds(outcome) or 0.0
        if not self._left or asked_for > self._retries.longest_wait_seconds:
            return None
        self._left -= 1
        wait = asked_for + random.uniform(0, self._backoff)
        self._backoff = min(2 * self._backoff, self._retries.longest_wait_seconds)
        return wait

    def _may_pass(self, outcome: httpx.Response | httpx.RequestError) -> bool:
        """Whether another attempt may end otherwise."""
        if isinstance(outcome, httpx.RequestError):
            return is_broken(outcome) and not self._retries.only_refused
        statuses = (REFUSED,) if self._retries.only_refused else BUSY
        return outcome.status_code in statuses and not self._operation.is_answered(outcome)


def is_broken(error: httpx.RequestError) -> bool:
    """Whether the connection failed; a late answer is none of that."""
    if isinstance(error, httpx.TimeoutException):
        return isinstance(error, httpx.ConnectTimeout)
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
