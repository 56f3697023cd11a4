"""A release at work: what a restart costs, what a bad text does, and what a full disk does not."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine import live_release as live_release_module
from app.engine.coroutines import run
from app.engine.index import in_memory as in_memory_module
from app.engine.index.faiss_index import Index
from app.engine.index.snapshot import ContentsOf, Snapshots, remove_snapshots
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.store import DEFAULT_COLLECTION, Store
from app.errors import ModelFailing, NotReady, Unembeddable

Open = Callable[[], tuple[Store, LiveRelease]]


class CountingEncoder:
    """The encoder, with a count of the texts it embedded, and a text it can't embed."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.embedded = 0
        self.poison = "poison"
        self.broken = False
        self.dimension, self.device, self.dtype = encoder.dimension, encoder.device, encoder.dtype
        self.tokenize = encoder.tokenize

    def encode_tokens(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        if self.broken:
            raise RuntimeError("the device is gone")
        if any(self.poison in tokens.text for tokens in batch):
            raise Unembeddable("poison")
        self.embedded += len(batch)
        return self._encoder.encode_tokens(batch)

    def vector(self, text: str) -> NDArray[np.float32]:
        """The vector of a text, which is not counted."""
        vector: NDArray[np.float32] = self._encoder.encode_tokens(self.tokenize([text]))[0]
        return vector


@pytest.fixture
def encoder(tiny_encoder: Encoder) -> CountingEncoder:
    return CountingEncoder(tiny_encoder)


@pytest.fixture
def open_live(tmp_path: Path, tiny_release: Release, encoder: CountingEncoder) -> Open:
    """Opens store and live release over one data directory, as often as asked."""

    def open_() -> tuple[Store, LiveRelease]:
        store = Store(tmp_path / "sameask.db")
        live = LiveRelease(
            tiny_release,
            encoder,  # type: ignore[arg-type]  # an encoder in all that is used here
            None,
            store,
            ServingOptions(
                tmp_path / "snapshots", "0.90", max_waiting_texts=10, max_cached_embeddings=100
            ),
        )
        return store, live

    return open_


def write(store: Store, count: int, start: int = 0) -> None:
    store.questions.upsert(
        DEFAULT_COLLECTION, [(f"q{i}", f"question number {i}") for i in range(start, start + count)]
    )


def test_a_restart_after_a_clean_end_embeds_nothing(
    open_live: Open, encoder: CountingEncoder
) -> None:
    store, live = open_live()
    write(store, 300)
    live.catch_up(1)
    live.close()
    store.close()
    encoder.embedded = 0
    store, live = open_live()
    assert (live.catch_up(1), live.state(1).size, encoder.embedded) == (300, 300, 0)
    live.close()
    store.close()


def test_a_restart_after_a_crash_embeds_what_was_not_saved_alone(
    open_live: Open, encoder: CountingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER", 100)
    monkeypatch.setattr(live_release_module, "CATCH_UP_CHUNK", 20)
    store, live = open_live()
    for start in range(0, 330, 30):
        write(store, 30, start)
        live.catch_up(1)
    live.models.batcher.close()  # no save
    store.close()
    encoder.embedded = 0
    store, live = open_live()
    assert live.catch_up(1) == 330
    assert (
        encoder.embedded == 330 - 320
    )  # saved at 110, 210 and 320, the ends of the chunks that made it due
    live.close()
    store.close()


def test_a_save_is_due_after_more_changes_where_there_is_more(
    open_live: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save looks at all questions: after a fixed number, an import would grow with the square of its size."""
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER", 5)
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER_SHARE", 0.2)
    monkeypatch.setattr(live_release_module, "CATCH_UP_CHUNK", 5)
    saved_at = list[int]()
    save = Snapshots.save

    def noted(snapshots: Snapshots, key: int, index: Index, contents: ContentsOf) -> int:
        saved_at.append(len(index))
        return save(snapshots, key, index, contents)

    monkeypatch.setattr(Snapshots, "save", noted)
    store, live = open_live()
    write(store, 150)
    live.catch_up(1)
    assert saved_at == [5, 10, 15, 20, 25, 35, 45, 60, 75, 95, 120, 150]
    live.close()
    store.close()


def test_search_refuses_until_the_index_has_caught_up(
    open_live: Open, tiny_encoder: Encoder
) -> None:
    store, live = open_live()
    write(store, 1)
    query = tiny_encoder.encode(["question number 0"])
    with pytest.raises(NotReady):
        live.index(1).search(query, 5)
    live.catch_up(1)
    revision, (hits,) = live.index(1).search(query, 5)
    assert (revision, [hit.revision for hit in hits]) == (1, [1])
    assert hits[0].similarity == pytest.approx(1.0, abs=1e-6)
    live.close()
    store.close()


def test_a_text_that_cannot_be_embedded_blocks_nobody_behind_it(
    open_live: Open, encoder: CountingEncoder
) -> None:
    store, live = open_live()
    store.questions.upsert(
        DEFAULT_COLLECTION, [("a", "fine"), ("b", f"bad {encoder.poison}"), ("c", "fine too")]
    )
    assert live.catch_up(1) == 3
    assert live.index(1).ids().tolist() == [1, 3]
    assert store.questions.get(DEFAULT_COLLECTION, "b").quarantined == "Unembeddable: poison"
    assert store.revisions.quarantined_count() == 1
    live.close()
    store.close()
    store, live = open_live()  # and its snapshot agrees with the store
    encoder.embedded = 0
    assert (live.catch_up(1), encoder.embedded) == (3, 0)
    store.questions.upsert(DEFAULT_COLLECTION, [("b", "mended")])
    live.catch_up(1)
    assert (live.index(1).ids().tolist(), store.revisions.quarantined_count()) == ([1, 3, 4], 0)
    live.close()
    store.close()


def test_a_broken_model_quarantines_nothing(open_live: Open, encoder: CountingEncoder) -> None:
    store, live = open_live()
    write(store, 3)
    encoder.broken = True
    with pytest.raises(ModelFailing):
        live.catch_up(1)
    assert (store.revisions.quarantined_count(), live.state(1).revision) == (0, 0)
    encoder.broken = False
    assert (live.catch_up(1), live.state(1).size) == (3, 3)
    live.close()
    store.close()


def test_a_full_disk_costs_the_snapshot_and_not_the_write(
    open_live: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(in_memory_module, "SAVE_AFTER", 10)
    store, live = open_live()
    with monkeypatch.context() as patch:
        patch.setattr(live.indexes, "save", no_room)
        write(store, 25)
        assert live.catch_up(1) == 25
    assert "can't be saved" in caplog.text
    write(store, 40, start=25)
    assert live.catch_up(1) == 65
    assert live.state(1).size == 65
    live.close()
    store.close()


def test_superseded_versions_are_purged_once_no_snapshot_needs_them(open_live: Open) -> None:
    store, live = open_live()
    write(store, 2)
    store.questions.upsert(DEFAULT_COLLECTION, [("q0", "changed")])
    assert store.questions.read(1, [1])[1].text == "question number 0"
    live.catch_up(1)
    live.indexes.save()
    assert store.questions.read(1, [1, 2, 3]).keys() == {2, 3}
    live.close()
    store.close()


def test_a_shadow_purges_nothing_that_the_live_release_has_yet_to_learn_of(
    open_live: Open, tmp_path: Path, tiny_release: Release, encoder: CountingEncoder
) -> None:
    store, live = open_live()
    shadow = LiveRelease(
        replace(tiny_release, digest="b" * 64),
        encoder,  # type: ignore[arg-type]
        None,
        store,
        ServingOptions(tmp_path / "snapshots", "0.90", max_waiting_texts=10),
        is_shadow=True,
    )
    write(store, 2)
    live.catch_up(1)  # and saves nothing yet
    store.questions.upsert(DEFAULT_COLLECTION, [("q0", "changed")])
    shadow.follow(1)
    shadow.indexes.save()
    live.catch_up(1)
    assert live.index(1).ids().tolist() == [2, 3]
    live.indexes.save()
    assert store.questions.read(1, [1, 2, 3]).keys() == {2, 3}
    for opened in (live, shadow, store):
        opened.close()


def test_a_deleted_collection_is_forgotten_with_its_snapshots(
    open_live: Open, tmp_path: Path
) -> None:
    store, live = open_live()
    collection, _ = store.collections.create("other", 10)
    store.questions.upsert("other", [("a", "text")])
    live.catch_up(collection.key)
    live.indexes.save()
    assert len(list(tmp_path.glob(f"snapshots/*/{collection.key}"))) == 1
    store.collections.delete("other")
    live.forget(collection.key)
    assert list(tmp_path.glob(f"snapshots/*/{collection.key}")) == []
    assert live.catch_up(collection.key) == 0
    live.close()
    store.close()


def no_room() -> None:
    raise OSError("no room")


def asked(live: LiveRelease, *texts: str) -> list[NDArray[np.float32] | Exception]:
    """What comes of texts that are asked."""
    with ThreadPoolExecutor(1) as pool:
        return run(pool, live.models.embed_asked(live.models.encoder.tokenize(texts))).result()


def test_what_was_asked_is_not_embedded_again(open_live: Open, encoder: CountingEncoder) -> None:
    store, live = open_live()
    encoder.embedded = 0
    first = asked(live, "One?", "Two?")
    assert encoder.embedded == 2
    again = asked(live, "Three?", "two?", "One?")
    assert encoder.embedded == 3
    assert [v.tobytes() for v in (again[2], again[1])] == [v.tobytes() for v in first]  # type: ignore[union-attr]
    alone = encoder.encode_tokens(encoder.tokenize(["Three?"]))[0]
    np.testing.assert_allclose(np.asarray(again[0]), alone, atol=1e-6)
    live.close()
    store.close()


def test_a_text_that_can_not_be_embedded_is_asked_for_again(
    open_live: Open, encoder: CountingEncoder
) -> None:
    store, live = open_live()
    encoder.poison = "wo"
    (one, two) = asked(live, "One?", "Two?")
    assert (type(one), type(two)) == (np.ndarray, Unembeddable)
    encoder.poison = "poison"
    assert [type(o) for o in asked(live, "One?", "Two?")] == [np.ndarray, np.ndarray]
    assert (live.models.recent.hits, live.models.recent.misses) == (1, 3)
    live.close()
    store.close()


def test_what_is_written_takes_no_place_of_what_was_asked(open_live: Open) -> None:
    store, live = open_live()
    asked(live, "One?")
    write(store, 300)
    live.catch_up(1)
    assert (len(live.models.recent), live.models.recent.misses) == (1, 1)
    live.close()
    store.close()


def test_another_release_knows_nothing_of_what_was_asked(
    open_live: Open, encoder: CountingEncoder
) -> None:
    (store, live), (other_store, other) = open_live(), open_live()
    asked(live, "One?")
    encoder.embedded = 0
    asked(other, "One?")
    assert encoder.embedded == 1
    for opened in (live, store, other, other_store):
        opened.close()


def test_the_snapshots_of_a_removed_release_go_whatever_made_their_vectors(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "snapshots"
    for name in ("0123456789abcdefgh", "int8-0123456789abcdefgh", "another-release-1"):
        Snapshots(folder, name).reserve(1)
    remove_snapshots(folder, "0123456789abcdefgh")
    assert [left.name for left in folder.iterdir()] == ["another-release-"]
