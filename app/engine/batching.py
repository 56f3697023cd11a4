"""Many callers in, few model calls out: a bounded queue before one thread that owns the model.

There is no wait timer: the items that wait when the model is free are the next batch. Callers take turns, each for half
a batch. Batches are sorted by cost so that little is padded, and bounded by padded cost. A batch that fails is tried
again one item at a time, so that one bad item is one error; when even the probe fails, the model is at fault, everybody
is told, and `failure` says so until a probe succeeds.

A batcher can give way to others: it then runs small batches, and only while the others have been idle for a
moment. A share of the time is its own, so that it gets on.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.engine.turns import Turns
from app.errors import ModelFailing, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")

PROBE_INTERVAL_SECONDS = 1.0
TURN_SHARE = 0.5  # of a batch, that one caller fills before the next one has its turn
URGENT_SHARE = 0.75  # of a batch, while background work waits as well
GENTLE_COST = 128  # of a batch that gives way: it is soon over
GENTLE_SHARE = 0.1  # of the time, that it takes however busy the others are
QUIET_SECONDS = (
    0.02  # that the others must have been idle: a request asks one model after the other
)
LOOK_SECONDS = 0.005


@dataclass(eq=False)
class _Call(Generic[Item, Result]):
    """One caller's items, and the answers so far."""

    items: Sequence[Item]
    outcomes: list[Result | Exception | None]
    missing: int
    future: "Future[list[Result | Exception]]" = field(default_factory=Future)

    def answer(self, position: int, outcome: Result | Exception) -> None:
        self.outcomes[position] = outcome
        self.missing -= 1
        if self.missing == 0:
            with suppress(InvalidStateError):  # the caller left
                answers = [outcome for outcome in self.outcomes if outcome is not None]
                self.future.set_result(answers)


@dataclass(frozen=True)
class _Waiting(Generic[Item, Result]):
    """One item in the queue: the call it belongs to, its place there, and its cost."""

    call: _Call[Item, Result]
    position: int
    cost: int

    @property
    def item(self) -> Item:
        return self.call.items[self.position]


class Batcher(Generic[Item, Result]):
    """One thread that runs `model` on batches of many callers' items.

    `model` maps a sequence of items to as many results, in order, or raises. `cost` is an item's size (its tokens); a
    batch of n items is padded to n times its greatest cost, which stays within `max_cost` unless one item alone exceeds
    it. At most `max_waiting` urgent items are admitted at once, being run or waiting. `probe` is an item that a working
    model can always answer; `noun` names the items in a refusal.
    """

    def __init__(
        self,
        model: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        cost: Callable[[Item], int],
        probe: Item,
        max_waiting: int,
        max_cost: int,
        noun: str = "texts",
    ) -> None:
        self._model = model
        self._noun = noun
        self._cost = cost
        self._probe = probe
        self._max_waiting = max_waiting
        self._max_cost = max_cost
        self._changed = threading.Condition()
        self._urgent = Turns[_Waiting[Item, Result]](TURN_SHARE * max_cost)
        self._background = Turns[_Waiting[Item, Result]](TURN_SHARE * max_cost)
        self._background_owed = False
        self._admitted = 0
        self._items_per_second = 100.0
        self._busy_since: float | None = None
        self._closing = False
        self._others: Sequence[Batcher[Any, Any]] = ()
        self._busy_until = self._turn_from = 0.0
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._loop, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Urgent items admitted and not yet answered."""
        return self._admitted

    @property
    def failure(self) -> str | None:
        """The reason why the model answers nobody; None while it works."""
        return self._failure if self._thread.is_alive() else "the model's thread has ended"

    @property
    def busy_seconds(self) -> float:
        """The seconds that the batch in progress has been running; 0 when idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def idle_seconds(self) -> float:
        """The seconds in which nothing has waited or run; 0 while something does."""
        busy = self._admitted or self._background or self._busy_since is not None
        return 0.0 if busy else time.monotonic() - self._busy_until

    def give_way(self, others: "Sequence[Batcher[Any, Any]]") -> None:
        """From now on, run small batches while these have nothing to do; with no others, as fast as it goes."""
        with self._changed:
            self._others = others
            self._changed.notify()

    def refuse_if_full(self, count: int) -> None:
        """Raise Overloaded if `count` more urgent items would not fit now: a refusal before any work."""
        if self._admitted + count > self._max_waiting:
            seconds = math.ceil(self._admitted / self._items_per_second)
            raise Overloaded(
                min(max(seconds, 1), 60),
                f"{self._admitted} of at most {self._max_waiting} {self._noun} are waiting,"
                f" there is no room for {count} more",
            )

    def submit(
        self, items: Sequence[Item], *, background: bool = False
    ) -> "Future[list[Result | Exception]]":
        """Queue the items of one caller; the future holds, in order, a result or an exception for each.

        Cancelling the future takes the items out of the queue. Background items yield to urgent ones, are
        not counted against `max_waiting`, and are never refused.

        Raises Overloaded when the urgent items do not fit, and ModelFailing after `close`.
        """
        call = _Call[Item, Result](items, [None] * len(items), len(items))
        if not items:
            call.future.set_result([])
            return call.future
        waiting = []
        for position, item in enumerate(items):
            waiting.append(_Waiting(call, position, self._cost(item)))
        waiting.sort(key=_cost_of)  # a batch then holds items of like cost
        with self._changed:
            if self._closing:
                raise ModelFailing("the service is shutting down")
            if background:
                self._background.add(waiting)
            else:
                self.refuse_if_full(len(items))
                self._admitted += len(items)
                call.future.add_done_callback(lambda _: self._leave(len(items)))
                self._urgent.add(waiting)
            self._changed.notify()
        return call.future

    def close(self) -> None:
        """Finish the batch in progress, refuse the items that wait, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        for waiting in [*self._urgent, *self._background]:
            waiting.call.answer(waiting.position, ModelFailing("the service is shutting down"))

    def _leave(self, count: int) -> None:
        with self._changed:
            self._admitted -= count

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (self._urgent or self._background or self._closing):
                    if not self._changed.wait(PROBE_INTERVAL_SECONDS if self._failure else None):
                        break
                self._wait_for_turn()
                if self._closing:
                    return
                batch = self._take()
            self._busy_since = started = time.monotonic()
            if self._failure:
                self._check_model()
            for group in self._cut(batch):
                self._answer(group)
            self._busy_since = None
            self._busy_until = time.monotonic()
            seconds = self._busy_until - started
            self._turn_from = self._busy_until + seconds * (1 / GENTLE_SHARE - 1)
            self._measure(len(batch), seconds)

    def _wait_for_turn(self) -> None:
        """Wait while those that this one gives way to are at work, but not for ever."""
        while not self._closing and time.monotonic() < self._turn_from:
            if all(other.idle_seconds > QUIET_SECONDS for other in self._others):
                return
            self._changed.wait(LOOK_SECONDS)

    def _take(self) -> list[_Waiting[Item, Result]]:
        """Items of those whose turn it is, up to a limit; background work gets a share while urgent work waits."""
        batch: list[_Waiting[Item, Result]] = []
        most = min(self._max_cost, GENTLE_COST) if self._others else self._max_cost
        for_urgent = most * URGENT_SHARE if self._background else most
        waiting = len(self._background)
        cost = 0
        if self._background_owed:  # the last batch left it no room
            cost = self._take_from(self._background, most - for_urgent, batch, cost)
        cost = self._take_from(self._urgent, for_urgent, batch, cost)
        self._take_from(self._background, most, batch, cost)
        self._background_owed = bool(self._background) and len(self._background) == waiting
        return batch

    def _take_from(
        self,
        queue: Turns[_Waiting[Item, Result]],
        limit: float,
        batch: list[_Waiting[Item, Result]],
        cost: int,
    ) -> int:
        """Move waiting items into the batch until it costs `limit`; returns its cost then."""
        while queue and cost < limit:
            waiting = queue.first
            if not waiting.call.future.done():
                if batch and cost + waiting.cost > self._max_cost:
                    break
                batch.append(waiting)
                cost += waiting.cost
            queue.take()
        return cost

    def _cut(self, batch: list[_Waiting[Item, Result]]) -> list[list[_Waiting[Item, Result]]]:
        """Groups of like cost, each within `max_cost` when padded to its most costly item."""
        groups: list[list[_Waiting[Item, Result]]] = []
        for waiting in sorted(batch, key=_cost_of):
            if not groups or (len(groups[-1]) + 1) * waiting.cost > self._max_cost:
                groups.append([])
            groups[-1].append(waiting)
        return groups

    def _answer(self, group: list[_Waiting[Item, Result]]) -> None:
        # The callers of the others have left.
        wanted = [waiting for waiting in group if not waiting.call.future.done()]
        if not wanted:
            return
        items = [waiting.item for waiting in wanted]
        try:
            outcomes: Sequence[Result | Exception] = self._run(items)
        except BaseException as error:
            outcomes = self._answer_singly(wanted, error)
        for waiting, outcome in zip(wanted, outcomes, strict=True):
            waiting.call.answer(waiting.position, outcome)

    def _answer_singly(
        self, group: list[_Waiting[Item, Result]], error: BaseException
    ) -> list[Result | Exception]:
        """After a failed batch: each item on its own, unless even the probe fails."""
        self._check_model()
        if self._failure:
            return [ModelFailing(self._failure) for _ in group]
        if len(group) == 1:
            return [_as_exception(error)]
        outcomes: list[Result | Exception] = []
        for waiting in group:
            try:
                outcomes.extend(self._run([waiting.item]))
            except BaseException as single:
                outcomes.append(_as_exception(single))
        return outcomes

    def _run(self, items: Sequence[Item]) -> Sequence[Result]:
        results = self._model(items)
        if len(results) != len(items):
            raise RuntimeError(f"the model gave {len(results)} results for {len(items)} items")
        return results

    def _check_model(self) -> None:
        try:
            self._run([self._probe])
        except BaseException as error:
            self._failure = f"the model fails: {type(error).__name__}"
        else:
            self._failure = None

    def _measure(self, items: int, seconds: float) -> None:
        if items and seconds > 0:
            self._items_per_second += 0.2 * (items / seconds - self._items_per_second)


def _cost_of(waiting: _Waiting[Any, Any]) -> int:
    return waiting.cost


def _as_exception(error: BaseException) -> Exception:
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"the model raised {type(error).__name__}")
