"""A process that writes until it is killed; tests/engine/test_durability.py kills it and looks at what is left.

    python -m tests.durability DATA_DIR SEED RELEASE [--die-at FUNCTION NTH] [--alone]

On standard output, one JSON object a line: each write before it begins, again when it is acknowledged (committed
and indexed), and what else begins and ends. With --die-at it kills itself before or after the NTH call of a
function, for example `app.engine.store:Store.purge:after 2`. With --alone nothing happens beside the writes, but
between them.
"""

import argparse
import itertools
import json
import os
import random
import signal
import string
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from app.engine import live_release as live_release_module
from app.engine.index import faiss_index as index_module
from app.engine.index import in_memory as in_memory_module
from app.engine.index import snapshot as snapshot_module
from app.engine.index.in_memory import faiss_index_of
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.store import DEFAULT_COLLECTION, NewLabel, Store, sqlite
from app.engine.text import Words
from app.errors import Unembeddable
from tests.backend import DEVICE, on_backend

DATABASE, SNAPSHOTS = "sameask.db", "snapshots"
OTHER_COLLECTION = "other"
IDS = [f"q{i}" for i in range(80)]
UNEMBEDDABLE = "☠"
WRITES_BEFORE_A_CLEAN_RESTART = (10, 30)


@dataclass(frozen=True)
class Shelf:
    """A collection as it should be: its revision, its questions' texts by id, and its labelled pairs, text by text."""

    revision: int
    questions: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)


State = dict[str, Shelf]
EMPTY: State = {DEFAULT_COLLECTION: Shelf(0, {})}


@dataclass(frozen=True)
class Write:
    """One write: texts by id to upsert, ids to delete one, texts by text to label as duplicates, or a whole collection
    to make or to delete."""

    kind: Literal["upsert", "delete", "label", "create", "drop"]
    collection: str
    questions: dict[str, str]


def applied(write: Write, state: State) -> State:
    """The state after a write."""
    shelves = dict(state)
    shelf = shelves.pop(write.collection, Shelf(0, {}))
    if write.kind == "drop":
        return shelves
    if write.kind == "label":
        return {**shelves, write.collection: replace(shelf, labels=shelf.labels | write.questions)}
    changed = {id_ for id_, text in write.questions.items() if shelf.questions.get(id_) != text}
    questions = shelf.questions | write.questions
    if write.kind == "delete":
        changed = set(write.questions)
        questions = {id_: text for id_, text in shelf.questions.items() if id_ not in changed}
    return {
        **shelves,
        write.collection: replace(
            shelf, revision=shelf.revision + len(changed), questions=questions
        ),
    }


class PickyEncoder(Encoder):
    """An encoder that has no vector for some texts, so that quarantine happens."""

    def encode_tokens(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """As the encoder does, save for texts with UNEMBEDDABLE in them."""
        if any(UNEMBEDDABLE in tokens.text for tokens in batch):
            raise Unembeddable("a text that the test made unembeddable")
        return super().encode_tokens(batch)


def open_engine(data_dir: Path, release: Release, encoder: Encoder) -> tuple[Store, LiveRelease]:
    """Store and live release over a data directory, as the service opens them; not caught up."""
    store = Store(data_dir / DATABASE)
    options = ServingOptions(data_dir / SNAPSHOTS, "0.90", max_waiting_texts=100)
    return store, LiveRelease(release, encoder, None, store, options)


def read_state(store: Store) -> State:
    """What the store holds."""
    return {
        c.name: Shelf(
            c.revision,
            {q.id: q.text for q in store.questions.page(c.name, None, len(IDS))},
            dict(label.questions for label in store.labels.agreed(c.name)),
        )
        for c in store.collections.all()
    }


class Journal:
    """Lines that outlive the process: each is handed to the kernel in one call before the next thing happens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note(self, **record: object) -> None:
        """Write one line."""
        os.write(self._descriptor, json.dumps(record).encode() + b"\n")

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say when something begins and ends."""
        self.note(begin=name)
        yield
        self.note(end=name)


class Writer:
    """Writes what its seed says, and is told of nothing but the truth it finds in the store when it starts."""

    def __init__(
        self, data_dir: Path, seed: int, release: Release, journal: Journal, alone: bool
    ) -> None:
        self._data_dir = data_dir
        self._release = release
        self._journal = journal
        self._alone = alone
        self._random = random.Random(seed)
        self._maintenance_random = random.Random(seed + 1)
        self._numbers = itertools.count(1)

    def session(self) -> None:
        """Open, write for a while with maintenance beside it, and close."""
        with self._journal.phase("open"):
            opened = PickyEncoder.open(self._release.base.open(), DEVICE)
            encoder = on_backend(opened, self._data_dir.parent / "converted")
            self._store, self._live = open_engine(self._data_dir, self._release, encoder)
            self._keys = {c.name: c.key for c in self._store.collections.all()}
            for key in self._keys.values():
                self._live.catch_up(key)
            self._state = read_state(self._store)
        done = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            maintenance = pool.submit(self._maintain, done)
            try:
                for _ in range(self._random.randint(*WRITES_BEFORE_A_CLEAN_RESTART)):
                    self._write(
                        self._random.choice([1, 1, 1, 1, 4])
                    )  # 4: as many writers at once do
                    if self._alone:
                        self._maintain_once()
                    elif maintenance.done():
                        break  # it failed
            finally:
                done.set()
            maintenance.result()
        with self._journal.phase("close"):
            self._live.close()
            self._store.close()

    def _write(self, writes: int) -> None:
        """Announce and commit some writes, bring the index up to date with all of them, and acknowledge them."""
        revisions: dict[str, int] = {}
        numbers = []
        for _ in range(writes):
            write = self._choose()
            numbers.append(next(self._numbers))
            self._journal.note(number=numbers[-1], write=asdict(write))
            revisions[write.collection] = self._commit(write)
            self._state = applied(write, self._state)
        for name in revisions.keys() & self._keys.keys():
            assert self._live.catch_up(self._keys[name]) >= revisions[name]
        self._see(write)
        for number in numbers:
            self._journal.note(number=number)

    def _commit(self, write: Write) -> int:
        """Do a write; the collection's revision after it."""
        match write.kind:
            case "create":
                collection, _ = self._store.collections.create(write.collection, 10)
                self._keys[write.collection] = collection.key
                return collection.revision
            case "drop":
                self._store.collections.delete(write.collection)
                self._live.forget(self._keys.pop(write.collection))
                return 0
            case "upsert":
                return self._store.questions.upsert(
                    write.collection, list(write.questions.items())
                ).revision
            case "label":
                said = [NewLabel(True, "anna", questions=pair) for pair in write.questions.items()]
                assert self._store.labels.write(write.collection, said).added == len(said)
                return self._store.collections.get(write.collection).revision
            case "delete":
                return self._store.questions.delete(
                    write.collection, next(iter(write.questions))
                ).revision

    def _see(self, write: Write) -> None:
        """A search finds what was written last; a label is there to be found with its text."""
        if write.kind == "label":
            text = next(iter(write.questions))
            on_text = self._store.labels.on(self._keys[write.collection], [Words.of(text)])
            labelled = [label.questions for label in on_text[text]]
            assert (text, write.questions[text]) in labelled
            return
        texts = [text for text in write.questions.values() if text and UNEMBEDDABLE not in text]
        if texts:
            key = self._keys[write.collection]
            (vector,) = self._live.models.embed(
                self._live.models.encoder.tokenize(texts[:1])
            ).result()
            assert not isinstance(vector, Exception)
            revision, (hits,) = self._live.index(key).search(vector[None], 3)
            assert revision >= self._state[write.collection].revision
            found = self._store.questions.read(key, [hit.revision for hit in hits])
            assert texts[0] in {question.text for question in found.values()}, (
                "about to be acknowledged, but not found"
            )

    def _choose(self) -> Write:
        name = self._random.choice(sorted(self._state))
        questions = self._state[name].questions
        chance = self._random.random()
        if chance < 0.06:
            return Write(
                "drop" if OTHER_COLLECTION in self._state else "create", OTHER_COLLECTION, {}
            )
        if chance < 0.25 and questions:
            return Write("delete", name, {self._random.choice(sorted(questions)): ""})
        if chance < 0.35:
            return Write(
                "label",
                name,
                {self._text(None): self._text(None) for _ in range(self._random.randint(1, 6))},
            )
        ids = self._random.sample(IDS, 1 if chance < 0.6 else self._random.randint(2, 14))
        return Write("upsert", name, {id_: self._text(questions.get(id_)) for id_ in ids})

    def _text(self, old: str | None) -> str:
        if old and self._random.random() < 0.2:
            return old
        letters = "".join(
            self._random.choices(string.ascii_lowercase + " ", k=self._random.randint(8, 20))
        )
        return f"x{letters}{UNEMBEDDABLE if self._random.random() < 0.05 else ''}"

    def _maintain(self, done: threading.Event) -> None:
        while not (self._alone or done.is_set()):
            self._maintain_once()
            time.sleep(self._maintenance_random.uniform(0, 0.03))

    def _maintain_once(self) -> None:
        action = self._maintenance_random.choice(
            ["save", "upkeep", "rebuild", "nothing", "nothing"]
        )
        if action == "nothing":
            return
        with self._journal.phase(action):
            match action:
                case "save":
                    self._live.indexes.save()
                case "upkeep":
                    self._live.indexes.upkeep()
                case "rebuild":
                    key = self._maintenance_random.choice(list(self._keys.values()))
                    faiss_index_of(self._live.indexes[key]).rebuild()


def make_everything_happen_often() -> None:
    """Limits so low that graphs, rebuilds, saves, new bases and checkpoints happen every few writes."""
    index_module.EXACT_LIMIT = 30
    index_module.COPY_CHUNK = 16
    index_module.ADD_CHUNK = 4
    live_release_module.CATCH_UP_CHUNK = 5
    in_memory_module.SAVE_AFTER = 20
    snapshot_module.MIN_TAIL = 10
    sqlite.PRAGMAS["wal_autocheckpoint"] = 8  # pages


def die_at(function: str, nth: int, journal: Journal) -> None:
    """Let the process kill itself at the nth call of `module:name:before` or `module:name:after`."""
    path, _, moment = function.rpartition(":")
    module, _, name = path.partition(":")
    owner_name, _, attribute = name.rpartition(".")
    owner = resolve_name(f"{module}:{owner_name}" if owner_name else module)
    original: Callable[..., Any] = getattr(owner, attribute)
    calls = itertools.count(1)

    @wraps(original)
    def deadly(*args: object, **kwargs: object) -> object:
        if next(calls) != nth:
            return original(*args, **kwargs)
        with suppress(Exception):  # a call that failed is over, too
            if moment == "after":
                original(*args, **kwargs)
        journal.note(died=function)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL is not survived")

    setattr(owner, attribute, deadly)


def run(
    data_dir: Path,
    seed: int,
    release: Path,
    journal: Journal,
    deadly: tuple[str, int] | None = None,
    alone: bool = False,
) -> None:
    """Write until killed."""
    journal.note(begin="start")
    disable_progress_bar()
    make_everything_happen_often()
    if deadly:
        die_at(*deadly, journal)
    writer = Writer(data_dir, seed, Release.open(release), journal, alone)
    journal.note(end="start")
    try:
        while True:
            writer.session()
    except BaseException:
        journal.note(failed=traceback.format_exc())
        os._exit(1)


def run_in_fork(
    data_dir: Path, seed: int, release: Path, journal: Path, deadly: tuple[str, int] | None = None
) -> None:
    """The same in a process forked from one that has imported everything, and has no threads."""
    tasks = Path(f"/proc/{os.getppid()}/task")
    if tasks.is_dir():
        threads = sorted((task / "comm").read_text().strip() for task in tasks.iterdir())
        others = [
            name for name in threads if name != "jemalloc_bg_thd"
        ]  # pyarrow's; jemalloc is safe to fork
        assert len(others) == 1, f"forked from a process with threads: {others}"
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    run(data_dir, seed, release, Journal(descriptor), deadly)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.durability")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("release", type=Path)
    parser.add_argument("--die-at", nargs=2, metavar=("FUNCTION", "NTH"))
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    arguments.data_dir.mkdir(exist_ok=True)
    deadly = (arguments.die_at[0], int(arguments.die_at[1])) if arguments.die_at else None
    run(arguments.data_dir, arguments.seed, arguments.release, Journal(1), deadly, arguments.alone)


if __name__ == "__main__":
    _main()
