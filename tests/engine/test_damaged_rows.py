"""A damaged row is passed over wherever its table is read; what stands beside it goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.engine.index.in_memory import IndexesInMemory, IndexInMemory
from app.engine.store import NewLabel, NewOffer, Store
from app.engine.store.labels import labels
from app.engine.store.question_rows import questions

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)

WORDS = ("How old are you?", "What is your age?")


def damage(store: Store, table: sa.Table, id_: object, **values: Any) -> None:
    """Change a row as no one may: its checksum stays."""
    with store.database.writing() as connection:
        connection.execute(sa.update(table).where(table.c.id == id_).values(**values))


# Snapshots


def opened(store: Store, folder: Path) -> IndexesInMemory:
    return IndexesInMemory(store, 4, folder / "snapshots", "a" * 64)


def followed(store: Store, indexes: IndexesInMemory, key: int) -> IndexInMemory:
    """The index of a collection, up to the store."""
    index = indexes[key]
    index.open()
    changes = store.revisions.changes_since(key, index.revision, 512)
    assert changes
    assert changes.complete
    revisions = [question.revision for question in changes.added]
    vectors = np.eye(4, dtype=np.float32)[[revision % 4 for revision in revisions]]
    index.apply(changes.revision, revisions, vectors, changes.removed)
    index.caught_up()
    return index


def test_a_damaged_question_is_no_part_of_a_snapshot_and_stops_none(
    store: Store, key: int, tmp_path: Path
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
    damage(store, questions, "b", text="too")
    indexes = opened(store, tmp_path)
    assert followed(store, indexes, key).ids().tolist() == [1, 3]
    indexes.save()
    index = opened(store, tmp_path)[key]
    index.open()
    assert (index.revision, index.ids().tolist()) == (3, [1, 3])
    assert list(tmp_path.rglob("*.set-aside")) == []


@pytest.mark.parametrize("digest", [b"", b"\x00" * 15, b"\x00" * 17])
def test_a_question_that_was_damaged_after_it_was_indexed_stops_no_snapshot(
    store: Store, key: int, tmp_path: Path, digest: bytes
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two")])
    indexes = opened(store, tmp_path)
    followed(store, indexes, key)
    damage(store, questions, "b", digest=digest)
    store.questions.upsert("default", [("c", "three")])
    followed(store, indexes, key)
    indexes.save()
    index = opened(store, tmp_path)[key]
    index.open()
    assert (index.revision, index.ids().tolist()) == (3, [1, 2, 3])


def test_a_sound_question_that_an_index_lacks_is_noticed_beside_a_damaged_one(
    store: Store, key: int
) -> None:
    store.questions.upsert("default", [("a", "one"), ("b", "two"), ("c", "three")])
    damage(store, questions, "b", text="too")
    contents = store.revisions.contents(key, 3, np.array([1]))
    assert contents
    assert contents.required.tolist() == [True, False, True]


def test_a_collection_that_cannot_be_saved_holds_up_no_other(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [store.collections.create(name, 10)[0].key for name in ("one", "two", "three")]
    indexes = opened(store, tmp_path)
    for name, key in zip(("one", "two", "three"), keys, strict=True):
        store.questions.upsert(name, [("a", "one")])
        followed(store, indexes, key)
    monkeypatch.setattr(indexes[keys[0]], "save", failing)
    with pytest.raises(OSError, match="no room"):
        indexes.save()
    assert [indexes[key].unsaved for key in keys] == [1, 0, 0]


def failing() -> None:
    raise OSError("no room")


# Labels on offered pairs


@pytest.fixture
def pair(store: Store) -> bytes:
    """A pair that was offered, and labelled as different."""
    store.labels.write("default", [NewLabel(False, "anna", questions=WORDS)])
    (label,) = store.labels.page("default", 0, 10)
    collection = store.collections.get("default")
    store.offers.write(collection, [NewOffer(label.pair, "near", 10, "anna", 0.1)])
    return label.pair


def test_a_sound_label_answers_an_offer(store: Store, key: int, pair: bytes) -> None:
    for answered in (store.offers.answered(key), store.offers.answered(key, [pair])):
        assert (answered[pair].is_duplicate, answered[pair].by) == (False, "anna")
    assert store.offers.texts(key, [pair]) == {pair: WORDS}
    assert store.offers.pairs_of_labels(key, [1, 2]) == [pair]


def test_a_damaged_label_answers_no_offer(store: Store, key: int, pair: bytes) -> None:
    damage(store, labels, 1, is_duplicate=True)
    assert store.offers.answered(key) == store.offers.answered(key, [pair]) == {}
    assert store.offers.texts(key, [pair]) == {}
    assert store.offers.pairs_of_labels(key, [1]) == []
    assert store.database.damaged == 1


def test_the_latest_sound_label_answers_an_offer(store: Store, key: int, pair: bytes) -> None:
    store.labels.write("default", [NewLabel(False, by, questions=WORDS) for by in ("bob", "carl")])
    assert store.offers.answered(key)[pair].by == "carl"
    damage(store, labels, 3, is_duplicate=True)
    assert store.offers.answered(key)[pair].by == "bob"
    assert store.offers.answered(key, [pair])[pair].by == "bob"
