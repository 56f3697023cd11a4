"""`/livez`, `/readyz` and `/metrics`."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import httpx

from sameask_client.operation import Operation, get
from sameask_client.parsing import read_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The process answers."""

    status: Literal["alive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Whether questions are answered, and how far the indexes are. `failure`: why nobody is answered.

    `refused`: why this server does not answer by the release that another one made live last.

    `recall`: of the index with the lowest, the share of the exactly nearest questions that search finds.
    """

    ready: bool
    failure: str | None
    refused: str | None = None
    release: str | None
    languages: tuple[str, ...] = ()
    collections: int
    collections_ready: int
    questions: int
    questions_indexed: int
    recall: float


def livez() -> Operation[Alive]:
    """See that the process is alive."""
    return get(Alive, "/livez")


def readyz() -> Operation[Ready]:
    """See whether the service is ready; one that is not is an answer, too, and no error."""
    return Operation("GET", "/readyz", partial(read_answer, Ready), statuses=frozenset({503}))


def metrics() -> Operation[str]:
    """Metrics in the text format of Prometheus."""
    return Operation("GET", "/metrics", _text)


def _text(response: httpx.Response) -> str:
    return response.text
