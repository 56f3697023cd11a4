"""One request and how its answer is read: the description that both clients share. Nothing here waits or sends.

Operation   one request, one answer
Listing     a list, whose pages are one operation each
Upload      many items, whose batches are one operation each (`uploading.py`)
Stream      states of something as they come, by server-sent events (`following.py`)
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from sameask_client.errors import NoAnswer, NotSameask, WrongArgument, problem_of
from sameask_client.parsing import read, read_answer

T = TypeVar("T")

JSON = "application/json"


class Unset(Enum):
    """The value of an argument that is left out, where None means something else."""

    UNSET = "unset"


UNSET = Unset.UNSET


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    is_repeatable: bool = True  # whether it may be sent again when nobody knows if it was done
    statuses: frozenset[int] = frozenset()  # that are answers, beside those of success
    note: str = ""  # for its problem, if it has one

    def arguments(self) -> dict[str, Any]:
        """The arguments of httpx for the request, beside method and address."""
        headers = {"Content-Type": JSON} if self.content is not None else {}
        return {"params": dict(self.query), "content": self.content, "headers": headers}

    def is_answered(self, response: httpx.Response) -> bool:
        """Whether the response is an answer, and no problem."""
        return response.is_success or response.status_code in self.statuses

    def result(self, outcome: httpx.Response | httpx.RequestError) -> T:
        """The result of the request. Raises NoAnswer, NotSameask, ProblemError."""
        if isinstance(outcome, httpx.RequestError):
            reason = str(outcome) or type(outcome).__name__
            raise NoAnswer(f"no answer from {_origin(outcome.request.url)}: {reason}") from outcome
        if not self.is_answered(outcome):
            problem = problem_of(outcome)
            if self.note:
                problem.add_note(self.note)
            raise problem
        return self.read(outcome)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list, and the cursor to the next part; None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list that comes in pages."""

    path: str
    items: str  # the field that holds them
    kind: type[T]
    query: Mapping[str, object]

    def page(self, cursor: str | None) -> Operation[Page[T]]:
        """The request for the page behind a cursor, or for the first one."""
        query = parameters({**self.query, "cursor": cursor})
        return Operation("GET", self.path, self._read_page, query)

    def _read_page(self, response: httpx.Response) -> Page[T]:
        fields = read_answer(dict, response)
        listed = fields.get(self.items)
        if not isinstance(listed, list):
            raise NotSameask(f"the answer is not one of Sameask's: it lacks {self.items}")
        items = tuple(read(self.kind, item) for item in listed)
        return Page(items, read_cursor(fields.get("next_cursor")))


def read_cursor(value: object) -> str | None:
    """A page's cursor. Raises NotSameask for what is none."""
    if value is None or isinstance(value, str):
        return value
    raise NotSameask("the answer is not one of Sameask's: its cursor is no text")


def get(kind: type[T], path: str, **query: object) -> Operation[T]:
    """A GET whose answer is of this kind."""
    return Operation("GET", path, partial(read_answer, kind), parameters(query))


def put(kind: type[T], path: str, fields: Mapping[str, object] | None) -> Operation[T]:
    """A PUT of a JSON object, or of nothing."""
    content = None if fields is None else body(fields)
    return Operation("PUT", path, partial(read_answer, kind), content=content)


def post(
    kind: type[T], path: str, fields: Mapping[str, object] | None, *, is_repeatable: bool
) -> Operation[T]:
    """A POST of a JSON object, or of nothing."""
    content = None if fields is None else body(fields)
    return Operation(
        "POST",
        path,
        partial(read_answer, kind),
        content=content,
        is_repeatable=is_repeatable,
    )


def delete(path: str) -> Operation[None]:
    """A DELETE whose answer is empty."""
    return Operation("DELETE", path, _read_nothing)


def delete_and_read(kind: type[T], path: str, **query: object) -> Operation[T]:
    """A DELETE whose answer is of this kind."""
    return Operation("DELETE", path, partial(read_answer, kind), parameters(query))


def body(fields: Mapping[str, object]) -> bytes:
    """JSON in UTF-8. Raises UnicodeEncodeError, and WrongArgument for a number that is not finite."""
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise WrongArgument("a number must be finite") from error
    return text.encode()


def parameters(query: Mapping[str, object]) -> dict[str, str]:
    """A query as it is sent: values of None are left out."""
    sent: dict[str, str] = {}
    for name, value in query.items():
        if isinstance(value, bool):
            sent[name] = "true" if value else "false"
        elif value is not None:
            sent[name] = str(value)
    return sent


def in_path(name: str) -> str:
    """A name as one segment of a path, its slashes escaped. Raises WrongArgument for one that leads elsewhere."""
    if name in ("", ".", ".."):
        raise WrongArgument(f"{name!r} is no name: in a path it would lead elsewhere")
    return quote(name, safe="")


def given(**fields: object) -> dict[str, object]:
    """The fields that are not UNSET."""
    return {name: value for name, value in fields.items() if value is not UNSET}


def _read_nothing(_: httpx.Response) -> None:
    return None


def _origin(url: httpx.URL) -> str:
    """Scheme, host and port: nothing that may name a question or a person."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
