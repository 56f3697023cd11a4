"""An import tells how far it is, and may have several batches in flight."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import sameask_client as s
from both_clients import URL, Call, Service

ROWS = [(str(number), f"Number {number}?") for number in range(6)]


def _written(added: int) -> httpx.Response:
    counts = {"added": added, "updated": 0, "unchanged": 0, "truncated": 1, "tokens": 9}
    return httpx.Response(200, json=counts | {"unknown_tokens": 2})


def test_an_import_tells_how_far_it_is(call: Call) -> None:
    told: list[tuple[int, int, int, int]] = []

    def tell(done: s.ImportedQuestions) -> None:
        told.append((done.items, done.truncated, done.tokens, done.unknown_tokens))

    service = Service(_written(4), _written(2))
    call(service, "import_questions", ROWS, max_items=4, progress=tell)
    assert told == [(4, 1, 9, 2), (6, 2, 18, 4)]


def test_an_import_of_labels_tells_how_far_it_is(call: Call) -> None:
    told: list[int] = []
    labels = [s.NewLabel(ids=("a", id_), is_duplicate=True, by="anna") for id_, _ in ROWS]
    answer = httpx.Response(200, json={"added": 1, "replaced": 2, "unchanged": 0})
    call(
        Service(answer, answer),
        "import_labels",
        labels,
        max_items=3,
        progress=lambda done: told.append(done.items),
    )
    assert told == [3, 6]


def _sync(handler: Callable[[int], None], **arguments: Any) -> s.ImportedQuestions:
    barrier = threading.Barrier(3, timeout=30)

    def answer(_: httpx.Request) -> httpx.Response:
        handler(barrier.wait())
        return _written(1)

    with s.Client(URL, key="", transport=httpx.MockTransport(answer)) as client:
        return client.import_questions(ROWS, max_items=1, **arguments)


def _async(handler: Callable[[int], None], **arguments: Any) -> s.ImportedQuestions:
    async def run() -> s.ImportedQuestions:
        barrier = asyncio.Barrier(3)

        async def answer(_: httpx.Request) -> httpx.Response:
            handler(await asyncio.wait_for(barrier.wait(), 30))
            return _written(1)

        transport = httpx.MockTransport(answer)
        async with s.AsyncClient(URL, key="", transport=transport) as client:
            return await client.import_questions(ROWS, max_items=1, **arguments)

    return asyncio.run(run())


@pytest.mark.parametrize("run", [_sync, _async])
def test_as_many_batches_are_in_flight_as_asked_for(run: Callable[..., Any]) -> None:
    """Each answer waits until three are asked for: with fewer at once, none would come."""
    met: list[int] = []
    counts = run(met.append, in_flight=3)
    assert (counts.added, counts.tokens) == (6, 54)
    assert sorted(met) == [0, 0, 1, 1, 2, 2]


def test_what_fails_of_several_is_raised_with_its_cause(call: Call) -> None:
    service = Service(*[httpx.ReadTimeout("late")] * 6)
    with pytest.raises(s.NoAnswer) as failed:
        call(service, "import_questions", ROWS, max_items=1, in_flight=3)
    assert isinstance(failed.value.__cause__, httpx.ReadTimeout)


def test_items_are_not_taken_before_they_can_be_sent(call: Call) -> None:
    taken: list[str] = []
    seen: list[int] = []

    def rows() -> Iterator[tuple[str, str]]:
        for row in ROWS:
            taken.append(row[0])
            yield row

    def service(_: httpx.Request) -> httpx.Response:
        seen.append(len(taken))
        return _written(2)

    call(service, "import_questions", rows(), max_items=2)
    assert seen == [3, 5, 6]


@pytest.mark.parametrize("name", ["import_questions", "import_labels"])
def test_at_least_one_is_in_flight(call: Call, name: str) -> None:
    with pytest.raises(ValueError, match="in_flight must be at least 1"):
        call(Service(), name, [], in_flight=0)
