"""Vectors that are written along with questions: in the same transaction, where they are at hand.

A table of vectors lies in the same database, so an index may have them so. It moves on only from the very revision that
the collection had, so that changes reach it in their order; where it is at another one, or a text has no vector yet, it
catches up later like any index.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.engine.store.collections import Collection
from app.engine.store.vectors import VectorTable

VectorsOf = Mapping[str, NDArray[np.float32]]  # by text
Embed = Callable[[Sequence[str]], VectorsOf]  # what can't be embedded now is left out


@dataclass(frozen=True)
class Target:
    """A table, the model that makes vectors for it, and who is told the keys of collections that changed."""

    table: VectorTable
    embed: Embed
    tell: Callable[[int], None]


@dataclass(frozen=True)
class AtHand:
    """Vectors, and where alone they belong: the model of the live release may be another one a moment later."""

    target: Target | None = None
    vectors: VectorsOf = field(default_factory=dict)

    def write(
        self,
        connection: sa.Connection,
        collection: Collection,
        by: int,
        texts: Mapping[int, str],
        removed: Sequence[int],
    ) -> None:
        """Let the index follow a collection `by` revisions on: texts by revision were added, others removed."""
        lacks_some = any(text not in self.vectors for text in texts.values())
        if self.target is None or not by or lacks_some:
            return
        at = collection.revision
        added = [self.vectors[text] for text in texts.values()]
        self.target.table.apply_within(
            connection, collection.key, at, at + by, list(texts), added, removed
        )

    def written(self, collection: Collection) -> None:
        """The transaction is over."""
        if self.target:
            self.target.tell(collection.key)


class Along:
    """What writes of questions do beside: nothing, until there is a table and a model for it."""

    def __init__(self) -> None:
        self._target: Target | None = None

    @property
    def has_begun(self) -> bool:
        """Whether vectors are written."""
        return self._target is not None

    def keeps_up(self, collection_key: int) -> bool:
        """Whether the index is at the collection's revision; otherwise vectors would be made in vain."""
        if self._target is None:
            return False
        state = self._target.table.state(collection_key)
        return state is not None and state.revision == state.latest

    def begin(self, table: VectorTable, embed: Embed, written: Callable[[int], None]) -> None:
        """From now on write into this table; `written` is told the keys of collections that changed."""
        self._target = Target(table, embed, written)

    def embed(self, texts: Sequence[str]) -> AtHand:
        """The vectors that are at hand; before the transaction, so that nobody waits in it for a model."""
        target = self._target
        if target is None or not texts:
            return AtHand(target)
        return AtHand(target, target.embed(list(dict.fromkeys(texts))))
