"""The questions of one collection as vectors: the seam behind which stand the index in memory and the shared one.

A question is known here by its revision.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.engine.index.hit import Hit
from app.engine.index.tally import IndexState, Totals
from app.engine.store.along import Embed


class CollectionIndex(Protocol):
    """Unit vectors of one collection's questions, at some revision of the collection."""

    @property
    def key(self) -> int:
        """The collection's."""

    @property
    def is_ready(self) -> bool:
        """Whether it has ever caught up with the store."""

    @property
    def revision(self) -> int:
        """The revision of the collection that it is known to show."""

    @property
    def catching_up(self) -> AbstractContextManager[object]:
        """Held by the one thread that may `open` and `apply`, of all that work on this index."""

    def open(self) -> None:
        """Take what is there already, before changes are applied."""

    def apply(
        self,
        revision: int,
        added: Sequence[int],
        vectors: NDArray[np.float32],
        removed: Sequence[int],
        *,
        since: int | None = None,
    ) -> None:
        """Move to `revision` in one step: remove questions, and add others with their vectors (n, d).

        These are the changes since a revision; None: since the one that it shows. Where it is at another one by then,
        as others moved it, nothing is done.
        """

    def caught_up(self) -> None:
        """From now on it may be asked."""

    def search(self, queries: NDArray[np.float32], count: int) -> tuple[int, list[list[Hit]]]:
        """The `count` most similar questions of each of (n, d) unit vectors, and the revision searched."""

    def vectors(self, revisions: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The unit vectors (d,) of these questions, of those that are indexed."""

    def ids(self) -> NDArray[np.int64]:
        """The revisions of all indexed questions, ascending: (n,) int64."""

    def reserve(self) -> None:
        """Keep other releases from purging what this index has yet to learn of. Raises OSError."""


class CollectionIndexes(Protocol):
    """The indexes of one release, by collection. What is said of them needs no look at a disk or another machine,
    unless that is noted."""

    @property
    def vectors_of(self) -> str:
        """What their vectors are made by: a release, the form of the texts, int8 or not."""

    @property
    def totals(self) -> Totals:
        """What they add up to."""

    def look(self) -> Totals:
        """What they add up to now, by a look at what others have done to them."""

    def __getitem__(self, collection_key: int) -> CollectionIndex:
        """The collection's index, however far it is."""

    def all(self) -> Sequence[CollectionIndex]:
        """Every index that was asked for."""

    def begin_empty(self, revisions: Mapping[int, int]) -> None:
        """Count collections as indexed that hold nothing at these revisions, unless something is indexed of them. Looks
        at what is indexed."""

    def ready(self, collection_key: int) -> CollectionIndex:
        """The collection's index. Raises NotReady until it has caught up once. May look whether it has."""

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is known to be."""

    def left_behind(self) -> set[int]:
        """The collections that somebody else should have indexed, and did not. Looks for them."""

    def doubt(self) -> None:
        """From now on, take no index for ready before another look: others may have waited for none of them."""

    def go_along(self, embed: Embed) -> None:
        """From now on, vectors that this model makes may be written in the transactions of questions."""

    def forget(self, collection_key: int) -> None:
        """Let go of all that is kept of a deleted collection."""

    def keep_only(self, collection_keys: Iterable[int]) -> None:
        """Let go of the indexes of all other collections: they were deleted."""

    def remove_leftovers(self) -> None:
        """Remove what is kept of deleted collections, where a process died before it did so."""

    def upkeep(self) -> None:
        """Look after the indexes that have changed and have caught up; from a thread of its own."""

    def end_upkeep(self) -> None:
        """Leave off what `upkeep` is at, and begin no more of it."""

    def save(self) -> None:
        """Bring every index's latest changes to disk. Raises OSError or StorageFull when there is no room."""

    def save_when_due(self, after: int | None = None) -> None:
        """Save once enough has changed. A failure is no failure of the write that made it due: that is durable."""

    def clear(self) -> None:
        """Let go of every index, and leave what is kept of it."""
