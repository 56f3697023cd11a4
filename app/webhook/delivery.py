"""The webhook: sends events to another server. They wait in the store, and leave one after the other.

At least once: an event is sent again, with the same id, until its receiver says 2xx. The attempts are used up two and
a half days later. What comes back is never read beyond its status and Retry-After.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from app.background import background_tasks, in_thread, repeat
from app.engine.store import Deliveries, Delivery, Store
from app.errors import DeliveryFailed
from app.webhook.endpoint import Endpoint

Event = Literal["training_run.finished", "gate.decided", "release.activated"]

MAX_ATTEMPTS = 12
FIRST_DELAY = timedelta(seconds=5)
GROWTH = 4
LONGEST_ATTEMPT = timedelta(seconds=30)  # no other process begins one meanwhile
LONGEST_DELAY = timedelta(hours=12)
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
        endpoint: Endpoint | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = store.deliveries
        self._endpoint = endpoint
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._quiet_until = datetime.min.replace(tzinfo=UTC)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="webhook")

    def notify(self, event: Event, data: Mapping[str, Any]) -> None:
        """Keep an event for delivery. Blocks for one small commit; a store that can't take it is logged, not raised."""
        if self._endpoint is None:
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
        """Deliver in the background. An attempt under way at the end is cut off, and made again next time."""
        if self._endpoint is None:
            yield
            return
        delivering = repeat(
            partial(self._deliver_next, self._endpoint),
            PAUSE_SECONDS,
            "the webhook's outbox can't be used, and is tried again",
            failure_pause_seconds=FAULT_PAUSE_SECONDS,
            sleep=self._sleep,
        )
        try:
            async with background_tasks(delivering):
                yield
        finally:
            self._thread.shutdown()  # what it is writing is written before the store closes

    async def _deliver_next(self, endpoint: Endpoint) -> bool:
        """Attempt the event that is due next; False if there is none."""
        now = self._clock()
        if now < self._quiet_until <= now + LONGEST_QUIET:  # later ones are of a clock set back
            return False
        delivery = await in_thread(self._thread, self._outbox.due, now)
        if delivery is None:
            return False
        await self._attempt(endpoint, delivery)
        return True

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> None:
        """One attempt, written down before and after. It is logged first: a stop between the two must not hide it."""
        now = self._clock()
        next_at = now + delay_after(delivery.attempts + 1, self._chance())
        over_at = max(next_at, now + LONGEST_ATTEMPT)
        begun = await in_thread(self._thread, self._outbox.begin, delivery, over_at)
        if begun is None:  # by another process
            return
        try:
            await endpoint.post(begun.id, now, begun.body.encode())
        except DeliveryFailed as failure:
            await self._fail(endpoint, begun, failure, next_at)
        except Exception as error:
            log.exception("a fault kept the event %s from being sent", begun.id)
            fault = DeliveryFailed(f"a fault: {type(error).__name__}")
            await self._fail(endpoint, begun, fault, next_at)
        else:
            log.info("%s has event %s (%s)", endpoint.host, begun.id, begun.event)
            await in_thread(self._thread, self._outbox.succeed, begun, self._clock())

    async def _fail(
        self, endpoint: Endpoint, begun: Delivery, failure: DeliveryFailed, next_at: datetime
    ) -> None:
        """Try again later, or never. An endpoint that asks for quiet gets it, from all events."""
        now = self._clock()
        quiet_seconds = min(failure.retry_after_seconds, LONGEST_QUIET.total_seconds())
        quiet_until = now + timedelta(seconds=quiet_seconds)
        self._quiet_until = max(self._quiet_until, quiet_until)
        words = (
            f"{endpoint.host} did not take event {begun.id} ({begun.event}),"
            f" attempt {begun.attempts}: {failure}"
        )
        if failure.final or begun.attempts >= MAX_ATTEMPTS:
            log.error("%s; it is given up", words)
            await in_thread(self._thread, self._outbox.give_up, begun, str(failure), now)
        else:
            log.warning("%s; it is sent again", words)
            due_at = max(next_at, quiet_until)
            await in_thread(self._thread, self._outbox.postpone, begun, str(failure), due_at)
