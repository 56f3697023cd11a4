"""Many items, sent in batches that are bounded by their number and by their bytes."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sameask_client.operation import Operation, body
from sameask_client.parsing import read_answer

MAX_ITEMS = 500
MAX_BYTES = 2**18  # what an encoder on two cores reads in about 20 seconds


class Counts(Protocol):
    """The counts in the answer to a batch: a dataclass of numbers. That of all batches is the sum."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def items(self) -> int: ...


Item = TypeVar("Item")
Counted = TypeVar("Counted", bound=Counts)


@dataclass
class Upload(Generic[Item, Counted]):
    """Collects items into requests: `add` and `rest` give those that are to be sent, `count` takes the answers.

    `key_of` says what may stand in a request once, if anything. Where it comes again, the request before goes out
    first, so that the later item holds; that is so with one request in flight alone.
    """

    path: str
    items: str  # the field that holds them
    collection: str
    document_of: Callable[[Item], Mapping[str, object]]
    total: Counted
    max_items: int
    max_bytes: int
    in_flight: int = 1
    progress: Callable[[Counted], object] | None = None
    key_of: Callable[[Item], Hashable] | None = None
    _batch: list[bytes] = field(default_factory=list)
    _keys: set[Hashable] = field(default_factory=set)
    _sent: int = 0

    def __post_init__(self) -> None:
        if self.max_items < 1 or self.max_bytes < 1 or self.in_flight < 1:
            raise ValueError("max_items, max_bytes and in_flight must be at least 1")
        self._head = body({"collection": self.collection})[:-1] + b',"%s":[' % self.items.encode()
        self._bytes = len(self._head)

    def add(self, item: Item) -> Operation[Counted] | None:
        """Take an item; the request for those before it, if it has no room beside them."""
        content = body(self.document_of(item))
        key = self.key_of(item) if self.key_of else None
        is_full = len(self._batch) == self.max_items
        is_large = self._bytes + len(content) + len("]}") > self.max_bytes
        operation = self.rest() if is_full or is_large or key in self._keys else None
        self._batch.append(content)
        if key is not None:
            self._keys.add(key)
        self._bytes += len(content) + len(",")
        return operation

    def rest(self) -> Operation[Counted] | None:
        """The request for the items that wait; None without any."""
        if not self._batch:
            return None
        content = self._head + b",".join(self._batch) + b"]}"
        first, self._sent = self._sent, self._sent + len(self._batch)
        note = f"in the batch of items {first:,} to {self._sent - 1:,}, counted from 0"
        self._batch, self._keys, self._bytes = [], set(), len(self._head)
        read_counts = partial(read_answer, type(self.total))
        return Operation("POST", self.path, read_counts, content=content, note=note)

    def count(self, answer: Counted) -> None:
        """Add the answer to a request to those before, and tell of the sum."""
        names = [counted.name for counted in fields(answer)]
        sums = {name: getattr(self.total, name) + getattr(answer, name) for name in names}
        self.total = type(answer)(**sums)
        if self.progress:
            self.progress(self.total)
