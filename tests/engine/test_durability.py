"""Whatever was acknowledged outlives `kill -9` at any moment, and nothing is ever half done.

`make durability ROUNDS=300` does more rounds than the suite.
"""

import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from app.engine.index.in_memory import faiss_index_of
from app.engine.live_release import LiveRelease
from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.engine.store import Collection, Store
from tests.backend import DEVICE, WITHIN, on_backend
from tests.durability import (
    EMPTY,
    UNEMBEDDABLE,
    PickyEncoder,
    State,
    Write,
    applied,
    open_engine,
    read_state,
    run_in_fork,
)

ROUNDS = int(os.environ.get("ROUNDS", "12"))
ROUNDS_IN_ONE_DIRECTORY = 6
SECONDS_FOR_A_CHILD = 60.0

# Where the process kills itself: a function, before or after it, and at which call of it in its life.
POINTS = [
    ("app.engine.store.sqlite:migrate:before", 1),
    ("app.engine.store.sqlite:migrate:after", 1),
    ("sqlalchemy.engine.default:DefaultDialect.do_commit:before", 12),
    ("sqlalchemy.engine.default:DefaultDialect.do_commit:after", 15),
    ("app.engine.store.questions:Questions.upsert:after", 9),
    ("app.engine.store.questions:Questions.delete:after", 2),
    ("app.engine.store.labels:Labels.write:after", 2),
    ("app.engine.store.revisions:Revisions.quarantine:after", 2),
    ("app.engine.store.revisions:Revisions.purge:before", 2),
    ("app.engine.store.revisions:Revisions.purge:after", 2),
    ("app.engine.store.collections:Collections.create:after", 1),
    ("app.engine.store.collections:Collections.delete:after", 1),
    ("app.engine.index.faiss_index:Index.apply:after", 7),
    ("app.engine.index.faiss_index:Index.rebuild:after", 2),
    ("app.engine.index.snapshot:Snapshots.load:after", 2),
    ("numpy:savez:after", 4),
    ("faiss:write_index:after", 1),
    ("pathlib:Path.write_text:before", 3),
    ("os:fsync:after", 10),
    ("pathlib:Path.rename:before", 3),
    ("pathlib:Path.rename:after", 1),
    ("pathlib:Path.rename:after", 3),
    ("os:unlink:after", 1),
    ("os:rmdir:after", 1),
]

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What the rounds did, for the log."""

    rounds: int = 0
    acknowledged: int = 0
    killed_during: Counter[str] = field(default_factory=Counter)

    def count(self, records: Sequence[dict[str, object]]) -> None:
        """Take in one round's journal."""
        begun: Counter[str] = Counter()
        under_way: list[str] = []
        for record in records:
            match record:
                case {"begin": str(phase)}:
                    begun[phase] += 1
                case {"end": str(phase)}:
                    begun[phase] -= 1
                case {"write": {"kind": str(kind)}}:
                    under_way.append(kind)
                case {"number": int()}:
                    under_way.pop(0)
                    self.acknowledged += 1
                case {"died": str(function)}:
                    begun[function] += 1
        self.rounds += 1
        phases = {phase for phase, count in begun.items() if count} | set(under_way)
        self.killed_during.update(phases or {"nothing in particular"})


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    tally = Tally()
    started = time.monotonic()
    yield tally
    seconds = time.monotonic() - started
    log.info("%d rounds, %d writes acknowledged, %.0f s", tally.rounds, tally.acknowledged, seconds)
    log.info(
        "killed during: %s",
        ", ".join(f"{name} {count}" for name, count in tally.killed_during.most_common()),
    )


@pytest.fixture(scope="module")
def encoder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return on_backend(PickyEncoder.open(tiny_model, DEVICE), tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="module")
def forks() -> multiprocessing.context.ForkServerContext:
    """Forks from a process that has imported everything and has no threads: a start takes no seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "OMP_NUM_THREADS", "1"
        )  # numpy and torch would start threads, and then a fork is not sound
        patch.setenv("PYTHONWARNINGS", "ignore")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.durability"])
        forkserver.ensure_running()
    return context


class Directory:
    """A data directory in which one process after the other is killed, and what must be in it by now."""

    def __init__(
        self,
        folder: Path,
        forks: multiprocessing.context.ForkServerContext,
        release: Release,
        encoder: Encoder,
    ) -> None:
        self._folder = folder
        self._forks = forks
        self._release = release
        self._encoder = encoder
        self._state = EMPTY
        self._starts = 0
        (folder / "data").mkdir()

    def round(
        self,
        seed: int,
        tally: Tally,
        moment: random.Random | None = None,
        deadly: tuple[str, int] | None = None,
    ) -> None:
        """Start a process, kill it at a random moment or let it kill itself, and look at what is left."""
        self._starts += 1
        journal = self._folder / f"journal-{self._starts}"
        process = self._forks.Process(
            target=run_in_fork,
            args=(self._folder / "data", seed, self._release.path, journal, deadly),
            daemon=True,
        )
        process.start()
        if moment:
            _kill_at(moment, process, journal)
        process.join(SECONDS_FOR_A_CHILD)
        if process.exitcode is None:
            process.kill()
            process.join()
            pytest.fail(f"the process never came to {deadly}")
        records = read_journal(journal)
        assert [record["failed"] for record in records if "failed" in record] == []
        assert process.exitcode == -signal.SIGKILL
        process.close()
        tally.count(records)
        # A copy is opened, so that the next process starts from what this one left, not from what was mended.
        copy = self._folder / "copy"
        shutil.copytree(self._folder / "data", copy)
        self._state = assert_holds(
            copy, self._release, self._encoder, replayed(records, self._state)
        )
        shutil.rmtree(copy)


def read_journal(journal: Path) -> list[dict[str, object]]:
    """Its lines; the last is left out if it is not whole."""
    return [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]


def replayed(records: Sequence[dict[str, object]], state: State) -> list[State]:
    """What the store may hold: all acknowledged writes, and any first few of those that were under way."""
    states = [state]
    numbers = []
    for record in records:
        match record:
            case {"number": int(number), "write": dict(write)}:
                numbers.append(number)
                states.append(applied(Write(**write), states[-1]))
            case {"number": int()}:
                states.pop(0)
    assert numbers == list(range(1, len(numbers) + 1))
    return states


def assert_holds(
    data_dir: Path, release: Release, encoder: Encoder, allowed: Sequence[State]
) -> State:
    """Open a data directory as a start does, and compare all of it by value with one of the states allowed."""
    store, live = open_engine(data_dir, release, encoder)
    try:
        state = read_state(store)
        assert state in allowed, _difference(state, allowed)
        for collection in store.collections.all():
            assert live.catch_up(collection.key) == collection.revision
            _assert_index_is_right(store, live, collection, state[collection.name].questions)
        unembeddable = sum(
            UNEMBEDDABLE in text for shelf in state.values() for text in shelf.questions.values()
        )
        assert store.revisions.quarantined_count() == unembeddable
        assert store.database.damaged == 0
        # No snapshot was ever found to be half written, or at odds with the store: here, or by the process killed.
        assert list(data_dir.rglob("*.set-aside")) == []
    finally:
        live.close()
        store.close()
    return state


def _assert_index_is_right(
    store: Store, live: LiveRelease, collection: Collection, truth: dict[str, str]
) -> None:
    """Ids, vectors and searches of an index are those of the questions that the store should hold."""
    index = live.index(collection.key)
    embeddable = {id_: text for id_, text in truth.items() if UNEMBEDDABLE not in text}
    ids = sorted(store.questions.revisions(collection.key, list(embeddable)).values())
    contents = store.revisions.contents(
        collection.key, collection.revision, np.empty(0, dtype=np.int64)
    )
    assert contents
    assert index.ids().tolist() == ids == contents.ids[contents.required].tolist()
    questions = store.questions.read(collection.key, ids)
    assert collection.questions == len(truth)
    assert {question.id: question.text for question in questions.values()} == embeddable
    if not questions:
        return
    expected = live.models.encoder.encode([questions[id_].text for id_ in ids])
    with faiss_index_of(index).reading() as (_, body):
        _, vectors = body.living_after(-1, len(body))
    assert np.abs(vectors - expected).max() < max(1e-3, WITHIN)
    queries = expected[:: len(expected) // 4 + 1]
    _, found = live.index(collection.key).search(queries, 5)
    for query, hits in zip(queries, found, strict=True):
        similarities = np.array([hit.similarity for hit in hits])
        nearest = np.sort(expected @ query)[::-1][:5]
        assert np.abs(similarities - nearest).max() < max(1e-3, WITHIN)


def _difference(state: State, allowed: Sequence[State]) -> str:
    """What a store holds that it should not, or the other way round, against each state allowed."""

    def flat(state: State) -> set[tuple[str, ...]]:
        return {
            line
            for name, shelf in state.items()
            for line in [
                (name, f"revision {shelf.revision}"),
                *((name, *item) for item in shelf.questions.items()),
                *((name, "labelled", *pair) for pair in shelf.labels.items()),
            ]
        }

    return "; or: ".join(
        f"has {sorted(flat(state) - flat(other))}, lacks {sorted(flat(other) - flat(state))}"
        for other in allowed
    )


def _kill_at(moment: random.Random, process: BaseProcess, journal: Path) -> None:
    """Kill it soon after its start, or soon after a random number of steps."""
    lines = moment.choice([1, moment.randint(1, 20), moment.randint(20, 100)])
    deadline = time.monotonic() + SECONDS_FOR_A_CHILD
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        if process.exitcode is not None or time.monotonic() > deadline:
            break
        time.sleep(0.001)
    time.sleep(moment.uniform(0, 0.3 if lines == 1 else 0.02))
    process.kill()


@pytest.mark.parametrize(("function", "nth"), POINTS)
def test_killed_at_a_point(
    tmp_path: Path,
    forks: multiprocessing.context.ForkServerContext,
    tiny_release: Release,
    encoder: Encoder,
    tally: Tally,
    function: str,
    nth: int,
) -> None:
    Directory(tmp_path, forks, tiny_release, encoder).round(7, tally, deadly=(function, nth))


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_killed_at_random_moments(
    tmp_path: Path,
    forks: multiprocessing.context.ForkServerContext,
    tiny_release: Release,
    encoder: Encoder,
    tally: Tally,
) -> None:
    moment = random.Random(ROUNDS)
    for number in range(ROUNDS):
        if number % ROUNDS_IN_ONE_DIRECTORY == 0:
            folder = tmp_path / str(number)
            folder.mkdir()
            directory = Directory(folder, forks, tiny_release, encoder)
        directory.round(number, tally, moment)
