"""The webhook: tells another server what happened. Events wait in the store, and leave one after the other.

At least once: an event is sent again until its receiver says 2xx, with the same id each time, or until the attempts
are used up two and a half days later. What comes back is never read beyond its status and Retry-After.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, ParamSpec, TypeVar

from app.engine.store import Deliveries, Delivery, Store
from app.errors import DeliveryFailed
from app.webhook.endpoint import Receiver

Event = Literal["training_run.finished", "gate.decided", "release.activated"]
P = ParamSpec("P")
T = TypeVar("T")

MAX_ATTEMPTS = 12
FIRST_DELAY, GROWTH, LONGEST_DELAY = timedelta(seconds=5), 4, timedelta(hours=12)
LONGEST_QUIET = timedelta(hours=24)  # a receiver that says 10 years does not mean it
PAUSE_SECONDS = 1.0  # between looks into the outbox, where other processes may have written
FAULT_PAUSE_SECONDS = 30.0  # after the store failed

log = logging.getLogger(__name__)


def delay_after(attempt: int, chance: float) -> timedelta:
    """How long to wait after the attempt of this number, from 1; `chance` in [0, 1) spreads it by a quarter."""
    delay: timedelta = min(FIRST_DELAY * GROWTH ** min(attempt - 1, MAX_ATTEMPTS), LONGEST_DELAY)
    return delay * (0.75 + chance / 2)


class Webhook:
    """Keeps events, and delivers them while it is `running`. Without a receiver it does nothing."""

    def __init__(
        self,
        store: Store,
        receiver: Receiver | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = store.deliveries
        self._receiver = receiver
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._quiet_until = datetime.min.replace(tzinfo=UTC)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="webhook")

    def notify(self, event: Event, data: Mapping[str, Any]) -> None:
        """Keep an event for delivery. Blocks for one small commit; a store that can't take it is logged, not raised."""
        if self._receiver is None:
            return
        try:
            self._outbox.add(event, data, self._clock())
        except (TypeError, ValueError):  # the caller's data are not JSON
            raise
        except Exception:
            log.exception("the event %s can't be kept, and will not be delivered", event)

    def count(self) -> Deliveries:
        """How many events wait, were delivered, or were given up."""
        return self._outbox.count()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver in the background. At the end an attempt under way is cut off; it is made again next time."""
        if self._receiver is None:
            yield
            return
        task = asyncio.create_task(self._deliver(self._receiver))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._thread.shutdown()  # what it is writing is written before the store closes

    async def _deliver(self, receiver: Receiver) -> None:
        while True:
            try:
                while delivery := await self._due():
                    await self._attempt(receiver, delivery)
            except Exception:
                log.exception("the webhook's outbox can't be used; it is tried again")
                await self._sleep(FAULT_PAUSE_SECONDS)
            await self._sleep(PAUSE_SECONDS)

    async def _due(self) -> Delivery | None:
        now = self._clock()
        return None if now < self._quiet_until else await self._do(self._outbox.due, now)

    async def _attempt(self, receiver: Receiver, delivery: Delivery) -> None:
        """One attempt, written down before and after."""
        now = self._clock()
        next_at = now + delay_after(delivery.attempts + 1, self._chance())
        begun = await self._do(self._outbox.begin, delivery, next_at)
        try:
            await receiver.post(begun.id, now, begun.body.encode())
        except DeliveryFailed as failure:
            await self._fail(receiver, begun, failure, next_at)
        except Exception as error:
            log.exception("a fault kept the event %s from being sent", begun.id)
            await self._fail(
                receiver, begun, DeliveryFailed(f"a fault: {type(error).__name__}"), next_at
            )
        else:
            log.info(
                "%s has event %s (%s)", receiver.host, begun.id, begun.event
            )  # before it is noted, as below
            await self._do(self._outbox.succeed, begun, self._clock())

    async def _fail(
        self, receiver: Receiver, begun: Delivery, failure: DeliveryFailed, next_at: datetime
    ) -> None:
        """Try again later, or never. A receiver that asks for quiet gets it, from all events."""
        now = self._clock()
        told = now + timedelta(
            seconds=min(failure.retry_after_seconds, LONGEST_QUIET.total_seconds())
        )
        self._quiet_until = max(self._quiet_until, told)
        said = f"{receiver.host} did not take event {begun.id} ({begun.event}), attempt {begun.attempts}: {failure}"
        if failure.final or begun.attempts >= MAX_ATTEMPTS:
            log.error(
                "%s; it is given up", said
            )  # before it is noted: a stop in between must not leave it unsaid
            await self._do(self._outbox.give_up, begun, str(failure), now)
        else:
            log.warning("%s; it is sent again", said)
            await self._do(self._outbox.postpone, begun, str(failure), max(next_at, told))

    async def _do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: function(*args, **kwargs)
        )
