"""Everything the client raises when the service gives no good answer, as one tree.

    SameaskError
    ├── NoAnswer               nobody listens, the connection broke, or the timeout passed
    ├── NotSameask             something answered that is not Sameask
    └── ProblemError           the service says no: a problem document (RFC 9457)
        ├── InvalidRequest     400, 413, 415, 422: fields of the request break a rule
        ├── KeyRefused         401: no key, or an unknown or revoked one
        ├── NotAllowed         403, 421: the key lacks the scope, or the host name is refused
        ├── NotFound           404
        ├── Conflict           409
        ├── Overloaded         429
        └── ServiceFailing     500 and above

A wrong argument, which no server has seen, raises ValueError; WrongArgument, where it can't be sent at all.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import httpx


class SameaskError(Exception):
    """The root."""


class WrongArgument(ValueError):
    """An argument that can't be sent: a name that leads elsewhere in a path, or a number that is not finite."""


class NoAnswer(SameaskError):
    """Nobody listens there, the connection broke, or the timeout passed; the cause is httpx's error."""


class NotSameask(SameaskError):
    """Something answered whose answer is not one of Sameask's, such as the page of a proxy."""


class ProblemError(SameaskError):
    """The service says no.

    `status`: the HTTP status. `title`, `detail`: the problem document's sentences. `errors`: the error of each field of
    the request, by field, as in `{"questions.3": "must not be blank"}`. `retry_after_seconds`: how long the service
    asks to wait; None where it does not say.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        errors: Mapping[str, str] = MappingProxyType({}),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(_sentence(status, title, detail, errors))
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = dict(errors)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(ProblemError):
    """The request breaks a rule, and nothing was done; `errors` names the fields."""


class KeyRefused(ProblemError):
    """The service needs a key, and got none, or one that is unknown or revoked."""


class NotAllowed(ProblemError):
    """The key has not the scope that is needed, or a server without keys was asked under a host name not its own."""


class NotFound(ProblemError):
    """There is no such collection, question, label, offer, training run or release."""


class Conflict(ProblemError):
    """The request does not fit the state of its subject, such as a run that has ended."""


class Overloaded(ProblemError):
    """The service is busy, and refused the request before any work."""


class ServiceFailing(ProblemError):
    """The service can't answer, for now: it is starting, its model fails, or its disk is full."""


KINDS: Mapping[int, type[ProblemError]] = {
    400: InvalidRequest,
    401: KeyRefused,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    421: NotAllowed,
    422: InvalidRequest,
    429: Overloaded,
}


def problem_of(response: httpx.Response) -> ProblemError | NotSameask:
    """The error that an unsuccessful answer is."""
    status = response.status_code
    if status < 400:
        return NotSameask(
            f"the server answered {status}, which Sameask does not: is the URL right?"
        )
    kind = KINDS.get(status, ServiceFailing if status >= 500 else ProblemError)
    document = _document(response)
    return kind(
        status,
        str(document.get("title") or response.reason_phrase),
        str(document.get("detail") or ""),
        _errors_by_field(document.get("errors")),
        retry_after_seconds(response),
    )


def retry_after_seconds(response: httpx.Response) -> float | None:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110); None without a good one."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _document(response: httpx.Response) -> Mapping[str, object]:
    """The problem document; empty where a proxy answered with something else."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _errors_by_field(listed: object) -> Mapping[str, str]:
    by_field: dict[str, str] = {}
    for error in listed if isinstance(listed, list) else []:
        if isinstance(error, dict):
            field, detail = str(error.get("field")), str(error.get("detail"))
            by_field[field] = f"{by_field[field]}; {detail}" if field in by_field else detail
    return by_field


def _sentence(status: int, title: str, detail: str, errors: Mapping[str, str]) -> str:
    words = f"{status} {title}"
    if detail and detail != title:
        words += f": {detail}"
    for field, fault in errors.items():
        words += f"\n  {field}: {fault}"
    return words


def _seconds_until(date: str) -> float:
    """Seconds until an HTTP date; NaN for what is none."""
    try:
        until = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return (until - datetime.now(UTC)).total_seconds()
