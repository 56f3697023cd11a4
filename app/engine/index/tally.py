"""What a release's indexes add up to, kept as they change: who reports it does not walk through thousands of them."""

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class IndexState:
    """How far an index is: its revision, its size, whether it has ever caught up, its recall when last checked."""

    revision: int = 0
    size: int = 0
    ready: bool = False
    recall: float = 1.0


@dataclass(frozen=True)
class Totals:
    """How many indexes have ever caught up, the questions in all of them, and the lowest recall of one."""

    ready: int
    questions: int
    recall: float


class Tally:
    """The states of a release's indexes, and their sums. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, IndexState] = {}  # by collection
        self._unsaved: dict[
            int, int
        ] = {}  # changes that are not on disk, of the indexes that have some
        self._recalls: dict[int, float] = {}  # of the indexes whose recall is not 1
        self._changed: set[int] = set()  # those that nobody has looked after since
        self._ready = self._questions = self._unsaved_changes = 0

    @property
    def totals(self) -> Totals:
        """The sums."""
        with self._lock:
            lowest = min(self._recalls.values(), default=1.0)
            return Totals(self._ready, self._questions, lowest)

    @property
    def unsaved(self) -> int:
        """The changes of all indexes that a restart would have to embed again."""
        return self._unsaved_changes

    def unsaved_keys(self) -> list[int]:
        """The collections whose indexes have such changes."""
        with self._lock:
            return list(self._unsaved)

    def begin(self, collection_key: int, state: IndexState) -> None:
        """Count one more."""
        with self._lock:
            self._states.setdefault(collection_key, IndexState())
            self._replace(collection_key, state)

    def note(self, collection_key: int, state: IndexState, unsaved: int) -> None:
        """It has changed. One that was ended meanwhile is passed over."""
        with self._lock:
            if collection_key in self._states:
                self._replace(collection_key, state, unsaved)

    def end(self, collection_key: int) -> None:
        """Count it no more."""
        with self._lock:
            if collection_key in self._states:
                self._replace(collection_key, IndexState())
                del self._states[collection_key]
                self._changed.discard(collection_key)

    def changed(self, *collection_keys: int) -> None:
        """Somebody has to look after them."""
        with self._lock:
            self._changed.update(self._states.keys() & collection_keys)

    def take_changed(self) -> set[int]:
        """Those that somebody has to look after; who takes them does so, or says again that they changed."""
        with self._lock:
            changed = self._changed
            self._changed = set()
            return changed

    def _replace(self, key: int, state: IndexState, unsaved: int = 0) -> None:
        before = self._states[key]
        self._states[key] = state
        self._ready += state.ready - before.ready
        self._questions += state.size - before.size
        self._unsaved_changes += unsaved - self._unsaved.pop(key, 0)
        if unsaved:
            self._unsaved[key] = unsaved
        self._recalls.pop(key, None)
        if state.recall < 1.0:
            self._recalls[key] = state.recall
