"""What a replica knows of a release's shared indexes: it may be older than they are, never newer."""

import math
import threading
from collections.abc import Iterable
from dataclasses import replace

from app.engine.index.tally import IndexState, Totals
from app.engine.store.vectors import IndexRow


class KnownStates:
    """How far a release's indexes are known to be. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, IndexState] = {}  # by collection
        self._needed: dict[int, int] = {}  # the revisions at which the doubted ones are ready
        self._changed: set[int] = set()
        self.doubts = 0  # how often what was known came into doubt

    @property
    def totals(self) -> Totals:
        """What they add up to."""
        with self._lock:
            states = list(self._states.values())
        ready = sum(state.ready for state in states)
        questions = sum(state.size for state in states)
        recall = min((state.recall for state in states), default=1.0)
        return Totals(ready, questions, recall)

    def state(self, collection_key: int) -> IndexState:
        """How far the collection's index is known to be."""
        return self._states.get(collection_key) or IndexState()

    def keys(self) -> set[int]:
        """The collections that anything is known of."""
        with self._lock:
            return set(self._states)

    def doubt(self) -> None:
        """Take none for ready until a later look finds that it has caught up."""
        with self._lock:
            self.doubts += 1
            self._needed.clear()
            for key, state in self._states.items():
                self._states[key] = replace(state, ready=False)

    def note(self, row: IndexRow, doubts: int) -> None:
        """It is so far, by a look that began at so many doubts.

        It is ready at the revision that the collection had at the first look after the last doubt. What was written
        later waits for it.
        """
        key = row.collection_key
        with self._lock:
            if doubts == self.doubts:
                self._needed.setdefault(key, row.latest)
            known = self.state(key)
            if row.revision < known.revision:  # seen before what is known
                return
            is_ready = known.ready or row.revision >= self._needed.get(key, math.inf)
            state = IndexState(row.revision, row.size, is_ready, known.recall)
            if state != self._states.get(key):
                self._changed.add(key)
            self._states[key] = state

    def note_recall(self, collection_key: int, recall: float) -> None:
        """It finds this share of the nearest."""
        with self._lock:
            known = self.state(collection_key)
            self._states[collection_key] = replace(known, recall=recall)

    def forget(self, collection_key: int) -> None:
        """Nothing is known of it any more."""
        with self._lock:
            self._states.pop(collection_key, None)
            self._needed.pop(collection_key, None)
            self._changed.add(collection_key)

    def changed(self, collection_keys: Iterable[int]) -> None:
        """Somebody has to look after them."""
        with self._lock:
            self._changed.update(collection_keys)

    def take_changed(self) -> set[int]:
        """Those that somebody has to look after; who takes them does so, or says again that they changed."""
        with self._lock:
            changed = self._changed
            self._changed = set()
            return changed
