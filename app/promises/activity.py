"""What is asked and answered, counted: the mix of verdicts, and how probable the best candidates are.

Where it is wished, what was asked is remembered too, for the review queue; not what a page sends while somebody types.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.engine.findings import Findings
from app.engine.store import Store
from app.errors import SameaskError

BINS = 200  # of probabilities
HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
DAYS = 30
MOST_WAITING = 10_000  # texts that wait to be written
MOST_NAMED = 50  # collections whose verdicts are counted apart
OTHERS = "(others)"

log = logging.getLogger(__name__)

Counts = NDArray[np.int64]


class Activity:
    """Counts of what was asked since the start, 30 days at most. Of one event loop."""

    def __init__(
        self, store: Store, *, remembers: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """`remembers`: the texts are written into the store too."""
        self._store = store
        self._remembers = remembers
        self._clock = clock
        self._since = clock()
        self._today = 0  # as a number of days
        # By collection's key: one that is made anew under a name begins with nothing.
        self._by_day: dict[int, dict[int, Counts]] = defaultdict(dict)
        self._waiting: dict[int, list[str]] = defaultdict(list)
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self.writing = asyncio.Lock()  # held while what was asked is written, or erased

    @property
    def hours(self) -> float:
        """For how long was counted."""
        return min((self._clock() - self._since) / HOUR_SECONDS, DAYS * 24)

    @property
    def verdicts(self) -> Mapping[tuple[str, str], int]:
        """How many questions got each verdict, by collection and verdict; of most collections together."""
        return self._verdicts

    def note(self, findings: Findings) -> None:
        """Count the answers to a request."""
        key = findings.collection_key
        self._forget_old_days()
        counts = self._by_day[key].setdefault(self._today, np.zeros(BINS, dtype=np.int64))
        counted_as = self._counted_as(findings.collection)
        for finding in findings.results:
            self._verdicts[counted_as, finding.verdict] += 1
            if finding.candidates:
                probability = finding.candidates[0].probability
                counts[min(int(probability * BINS), BINS - 1)] += 1
        if self._remembers:
            waiting = self._waiting[key]
            waiting += [finding.question for finding in findings.results]
            del waiting[:-MOST_WAITING]

    def a_day(self, collection_key: int, thresholds: Sequence[float]) -> list[float | None]:
        """How many questions a day have a best candidate at each threshold or above; None before an hour is over."""
        if self.hours < 1:
            return [None] * len(thresholds)
        self._forget_old_days()
        by_day = self._by_day.get(collection_key, {})
        counts = sum(by_day.values(), np.zeros(BINS, dtype=np.int64))
        at_least = counts[::-1].cumsum()[::-1]
        volumes: list[float | None] = []
        for threshold in thresholds:
            first = min(round(threshold * BINS), BINS - 1)
            volumes.append(float(at_least[first]) / self.hours * 24)
        return volumes

    def forget(self, collection_key: int) -> None:
        """Let go of the texts of a collection that wait to be written."""
        self._waiting.pop(collection_key, None)

    async def flush(self) -> None:
        """Write what was asked since the last time."""
        async with self.writing:
            waiting = self._waiting
            self._waiting = defaultdict(list)
            for key, texts in waiting.items():
                try:
                    await asyncio.to_thread(self._store.asked.note, key, texts)
                except SameaskError as error:
                    log.warning("what was asked can't be remembered: %s", error)

    async def forget_old(self) -> None:
        """Erase what was asked more than 30 days ago."""
        await asyncio.to_thread(self._store.asked.forget_old)

    def _forget_old_days(self) -> None:
        """Let go of what was counted more than 30 days ago, once a day."""
        today = int(self._clock() // DAY_SECONDS)
        if today == self._today:
            return
        self._today = today
        for key, by_day in list(self._by_day.items()):
            for day in [day for day in by_day if day <= today - DAYS]:
                del by_day[day]
            if not by_day:
                del self._by_day[key]

    def _counted_as(self, name: str) -> str:
        """The collection's name, or that of all others together once so many have been named."""
        named = {collection for collection, _ in self._verdicts}
        return name if name in named or len(named) < MOST_NAMED else OTHERS
