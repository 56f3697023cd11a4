"""Store, index, snapshot and catch-up against a dict and NumPy, through any sequence of changes and crashes."""

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.engine import live_release as live_release_module
from app.engine.index import faiss_index as index_module
from app.engine.index import in_memory as in_memory_module
from app.engine.index import shared as shared_module
from app.engine.index.in_memory import faiss_index_of
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.engine.store import DEFAULT_COLLECTION, Store
from app.errors import QuestionNotFound
from tests.backend import WITHIN
from tests.postgres import Postgres

IDS = st.sampled_from([f"q{i}" for i in range(40)])
TEXTS = st.text("abcdefgh ", min_size=1, max_size=12).filter(lambda text: text.strip())
TOP_K = 5


class StoreAndIndex(RuleBasedStateMachine):
    """Each rule changes both the real thing and `truth`; the invariants compare them by value."""

    release: Release
    encoder: Encoder
    postgres: Postgres | None = None  # where the store is, rather than in a file
    migrated: str = ""  # the name of a database there, with an empty store

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.place: Path | str = self.folder / "sameask.db"
        if self.postgres:
            self.place = self.postgres.url(self.postgres.new_database(self.migrated))
        self.truth: dict[str, str] = {}
        self.revision = 0
        self.open()

    def open(self) -> None:
        self.store = Store(self.place)
        self.live = LiveRelease(
            self.release,
            self.encoder,
            None,
            self.store,
            ServingOptions(self.folder / "snapshots", "0.90", max_waiting_texts=100),
        )
        self.key = self.store.collections.get(DEFAULT_COLLECTION).key
        assert self.live.catch_up(self.key) == self.revision

    def teardown(self) -> None:
        if hasattr(self, "live"):
            self.live.close()
            self.store.close()
            shutil.rmtree(self.folder)

    @rule(questions=st.dictionaries(IDS, TEXTS, min_size=1, max_size=12))
    def upsert(self, questions: dict[str, str]) -> None:
        changed = {id_ for id_, text in questions.items() if self.truth.get(id_) != text}
        written = self.store.questions.upsert(DEFAULT_COLLECTION, list(questions.items()))
        self.revision += len(changed)
        assert written.revision == self.revision
        assert written.added == len(changed - self.truth.keys())
        assert written.updated == len(changed & self.truth.keys())
        assert written.unchanged == len(questions) - len(changed)
        self.truth |= questions

    @rule(id_=IDS)
    def delete(self, id_: str) -> None:
        if id_ in self.truth:
            self.revision += 1
            assert self.store.questions.delete(DEFAULT_COLLECTION, id_).revision == self.revision
            del self.truth[id_]
        else:
            with pytest.raises(QuestionNotFound):
                self.store.questions.delete(DEFAULT_COLLECTION, id_)

    @rule()
    def catch_up(self) -> None:
        assert self.live.catch_up(self.key) == self.revision

    @rule()
    def save(self) -> None:
        self.live.indexes.save()

    @rule()
    def rebuild(self) -> None:
        if self.postgres:
            self.live.indexes.upkeep()
        else:
            faiss_index_of(self.live.index(self.key)).rebuild()

    @rule()
    def restart(self) -> None:
        self.live.close()
        self.store.close()
        self.open()

    @rule()
    def crash(self) -> None:
        """What was not saved is gone; what was committed is not."""
        self.live.models.batcher.close()
        self.store.close()
        self.open()

    @precondition(lambda self: self.truth)
    @rule(questions=st.dictionaries(IDS, TEXTS, min_size=1, max_size=12))
    def change_while_others_search(self, questions: dict[str, str]) -> None:
        done = threading.Event()
        wrong: list[object] = []
        queries = self.encoder.encode(["abc", "hgf e"])  # one thread at a time may ask a model

        def search() -> None:
            while not done.is_set():
                _, answers = self.live.index(self.key).search(queries, TOP_K)
                found = [
                    self.store.questions.read(self.key, [r for r, _ in hits]) for hits in answers
                ]
                # One question never stands twice in an answer, in its old and in its new version.
                wrong.extend(f for f in found if len({q.id for q in f.values()}) != len(f))

        searchers = [threading.Thread(target=search) for _ in range(2)]
        for searcher in searchers:
            searcher.start()
        self.upsert(questions)
        self.catch_up()
        self.rebuild()
        done.set()
        for searcher in searchers:
            searcher.join()
        assert wrong == []

    @rule(text=TEXTS)
    def find(self, text: str) -> None:
        """After catching up, the nearest are those that NumPy finds, with the similarities that it computes."""
        self.catch_up()
        query = self.encoder.encode([text])
        revision, (hits,) = self.live.index(self.key).search(query, TOP_K)
        assert revision == self.revision
        stored = self.store.questions.read(self.key, [hit.revision for hit in hits])
        assert {q.id: q.text for q in stored.values()}.items() <= self.truth.items()
        if self.truth:
            expected = np.sort(self.encoder.encode(list(self.truth.values())) @ query[0])[::-1][
                :TOP_K
            ]
            assert [hit.similarity for hit in hits] == pytest.approx(
                expected, abs=max(1e-3, WITHIN)
            )
        else:
            assert hits == []

    @rule(text=TEXTS)
    def find_exactly(self, text: str) -> None:
        matches = self.store.questions.exact_matches(self.key, [text]).get(text, [])
        normalized = " ".join(text.split())
        assert {q.id for q in matches} == {
            i for i, t in self.truth.items() if " ".join(t.split()) == normalized
        }

    @invariant()
    def store_holds_the_truth(self) -> None:
        if hasattr(self, "store"):
            stored = self.store.questions.page(DEFAULT_COLLECTION, None, 1000)
            assert {q.id: q.text for q in stored} == self.truth
            assert self.store.collections.get(DEFAULT_COLLECTION).questions == len(self.truth)


@pytest.mark.parametrize("exact_limit", [5000, 10])
def test_store_and_index_hold_what_was_written(
    tiny_release: Release, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch, exact_limit: int
) -> None:
    _run(StoreAndIndex, tiny_release, tiny_encoder, monkeypatch, exact_limit, max_examples=15)


def test_an_index_holds_what_was_written_to_postgresql(
    tiny_release: Release,
    tiny_encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    postgres: Postgres,
    migrated: str,
) -> None:
    class OverPostgres(StoreAndIndex):
        """The same, over another store."""

    OverPostgres.postgres, OverPostgres.migrated = postgres, migrated
    _run(OverPostgres, tiny_release, tiny_encoder, monkeypatch, exact_limit=10, max_examples=5)


def _run(
    machine: type[StoreAndIndex],
    release: Release,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    exact_limit: int,
    max_examples: int,
) -> None:
    monkeypatch.setattr(index_module, "EXACT_LIMIT", exact_limit)  # 10: most indexes are graphs
    monkeypatch.setattr(index_module, "COPY_CHUNK", 4)
    monkeypatch.setattr(index_module, "ADD_CHUNK", 2)
    monkeypatch.setattr(live_release_module, "CATCH_UP_CHUNK", 5)
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER", 25)
    monkeypatch.setattr(shared_module, "EXACT_LIMIT", exact_limit)
    monkeypatch.setattr(shared_module, "PURGE_AFTER", 25)
    machine.release, machine.encoder = release, encoder
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
