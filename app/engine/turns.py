"""What waits for a model: callers take turns, so that a large request holds up no small one."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Costly(Protocol):
    """Something that waits, with its cost."""

    @property
    def cost(self) -> int:
        """Its size, in tokens."""


Waiting = TypeVar("Waiting", bound=Costly)


class Turns(Generic[Waiting]):
    """A queue for each caller, in order of arrival. What costs `turn_cost`, or a little more, leaves a queue; then the
    next one has its turn. A caller who wants no more than that is done in one turn, as in a single queue."""

    def __init__(self, turn_cost: float) -> None:
        self._turn_cost = turn_cost
        self._left = turn_cost  # of this turn
        self._queues: deque[deque[Waiting]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiting]:
        return chain.from_iterable(self._queues)

    def add(self, waiting: Sequence[Waiting]) -> None:
        """Queue what one caller wants, one thing at least."""
        self._queues.append(deque(waiting))
        self._count += len(waiting)

    @property
    def first(self) -> Waiting:
        """What leaves next."""
        return self._queues[0][0]

    def take(self) -> Waiting:
        """Take what leaves next."""
        queue = self._queues[0]
        waiting = queue.popleft()
        self._count -= 1
        self._left -= waiting.cost
        if not queue:
            self._queues.popleft()
        elif self._left <= 0:
            self._queues.rotate(-1)
        else:
            return waiting
        self._left = self._turn_cost
        return waiting
