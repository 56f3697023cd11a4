"""A snapshot gives back what was saved, or is set aside: never anything else."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine import files as files_module
from app.engine.files import sha256
from app.engine.index import snapshot as snapshot_module
from app.engine.index.faiss_index import Index
from app.engine.index.snapshot import ContentsOf, Snapshots
from app.engine.store import Contents
from tests.engine.index.test_faiss_index import DIMENSION, filled, unit_vectors

KEY = 1
RELEASE = "a" * 64


def contents_of(index: Index, skip: int = 0, texts: int = 0) -> ContentsOf:
    """What a store in agreement with the index says; or one that lacks questions, or holds other texts."""

    def contents(_revision: int, _held: NDArray[np.int64]) -> Contents:
        ids = index.ids()[skip:]
        return Contents(
            ids, np.ones(len(ids), dtype=np.bool_), np.full((len(ids), 16), texts, dtype=np.uint8)
        )

    return contents


def assert_alike(loaded: Index | None, index: Index) -> None:
    assert loaded is not None
    assert loaded.revision == index.revision
    assert loaded.ids().tolist() == index.ids().tolist()
    queries = unit_vectors(10, seed=5)
    for one, other in zip(loaded.search(queries, 5)[1], index.search(queries, 5)[1], strict=True):
        assert one == other
    ids = index.ids().tolist()
    vectors, expected = loaded.vectors(ids), index.vectors(ids)
    assert np.array_equal([*vectors.values()], [*expected.values()])


@pytest.mark.parametrize("exact_limit", [5000, 50])
def test_base_and_tail_give_back_the_index(tmp_path: Path, exact_limit: int) -> None:
    index, _ = filled(200, exact_limit)
    index.rebuild()
    saving = Snapshots(tmp_path, RELEASE)
    assert saving.save(KEY, index, contents_of(index)) == 200
    for start in (200, 210):  # two pieces behind the base
        index.apply(
            start + 10,
            range(start + 1, start + 11),
            unit_vectors(10, seed=start),
            [start - 150, start - 5],
        )
        saving.save(KEY, index, contents_of(index))
    names = {path.name for path in (tmp_path / RELEASE[:16] / str(KEY)).iterdir()}
    assert names == {"0-200", "200-210", "210-220"}
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 220, contents_of(index)), index)


def test_saving_again_without_a_change_writes_nothing(tmp_path: Path) -> None:
    index, _ = filled(5)
    saving = Snapshots(tmp_path, RELEASE)
    saving.save(KEY, index, contents_of(index))
    before = sorted(tmp_path.rglob("*"))
    assert saving.save(KEY, index, contents_of(index)) == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_tail_becomes_a_new_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "MIN_TAIL", 15)
    index, _ = filled(100)
    saving = Snapshots(tmp_path, RELEASE)
    for end in (100, 110, 120):
        if end > 100:
            index.apply(end, range(end - 9, end + 1), unit_vectors(10, seed=end), [])
        saving.save(KEY, index, contents_of(index))
    assert [path.name for path in (tmp_path / RELEASE[:16] / str(KEY)).iterdir()] == ["0-120"]
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 120, contents_of(index)), index)


def test_a_long_tail_of_replaced_questions_becomes_a_new_base_over_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "MIN_TAIL", 15)
    index, _ = filled(100)
    Snapshots(tmp_path, RELEASE).save(KEY, index, contents_of(index))
    for end in (105, 110, 115):
        restarted = Snapshots(tmp_path, RELEASE)
        loaded = restarted.load(KEY, DIMENSION, end, contents_of(index))
        assert loaded is not None
        index = loaded
        replaced = range(end - 104, end - 99)
        index.apply(end, range(end - 4, end + 1), unit_vectors(5, seed=end), replaced)
        restarted.save(KEY, index, contents_of(index))
    names = {path.name for path in (tmp_path / RELEASE[:16] / str(KEY)).iterdir()}
    assert names == {"0-110", "110-115"}
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 115, contents_of(index)), index)


OTHER = "b" * 64


def taken(folder: Path, index: Index, same_vectors: str | None = RELEASE) -> Index | None:
    """What another release begins with."""
    snapshots = Snapshots(folder, OTHER, same_vectors)
    loaded = snapshots.load(KEY, DIMENSION, 210, contents_of(index))
    assert snapshots.saved_revision(KEY) == (loaded.revision if loaded else 0)
    return loaded


@pytest.mark.parametrize("exact_limit", [5000, 50])
def test_a_release_with_the_same_vectors_begins_with_what_the_other_saved(
    tmp_path: Path, exact_limit: int
) -> None:
    index, folder = saved_index(tmp_path, exact_limit)
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    assert taken(tmp_path, index, None) is None
    assert taken(tmp_path, index, "c" * 64) is None
    assert_alike(taken(tmp_path, index), index)
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    assert_alike(taken(tmp_path, index, None), index)  # they are its own now


def test_what_the_other_removes_meanwhile_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index, folder = saved_index(tmp_path)
    (folder / "200-210" / "entries.npz").unlink()
    base, _ = filled(200)
    loaded = Snapshots(tmp_path, OTHER, RELEASE).load(KEY, DIMENSION, 210, contents_of(base))
    assert_alike(loaded, base)
    assert "is not taken in full" in caplog.text
    assert [path.name for path in (tmp_path / OTHER[:16] / str(KEY)).iterdir()] == ["0-200"]
    (folder / "0-200" / "manifest.json").write_text("[]", "utf-8")
    third = Snapshots(tmp_path, "d" * 64, RELEASE)
    assert third.load(KEY, DIMENSION, 210, contents_of(index)) is None


def test_a_damaged_file_of_the_other_is_not_taken(tmp_path: Path) -> None:
    index, folder = saved_index(tmp_path)
    (folder / "0-200" / "entries.npz").write_bytes(b"damaged")
    assert taken(tmp_path, index) is None


@pytest.mark.parametrize("piece", ["0-200", "200-210"])
@pytest.mark.parametrize("exact_limit", [5000, 50])
def test_a_flipped_byte_is_detected_or_harmless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, piece: str, exact_limit: int
) -> None:
    index, folder = saved_index(tmp_path, exact_limit)
    for file in sorted((folder / piece).iterdir()):
        original = file.read_bytes()
        for place in np.random.default_rng(0).integers(0, len(original), 10):
            damaged = bytearray(original)
            damaged[place] ^= 0x10
            file.write_bytes(damaged)
            caplog.clear()
            loaded = Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 210, contents_of(index))
            if loaded:
                assert (
                    file.name == "manifest.json"
                )  # where a fingerprint that a later piece supersedes may stand
                assert_alike(loaded, index)
            else:
                assert "set aside" in caplog.text
                folder.with_name(f"{KEY}.set-aside").rename(folder)
        file.write_bytes(original)
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 210, contents_of(index)), index)


def test_a_snapshot_newer_than_the_store_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index, _ = saved_index(tmp_path)
    assert Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 209, contents_of(index)) is None
    assert "newer than the store" in caplog.text


def test_a_snapshot_of_other_questions_or_texts_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index, folder = saved_index(tmp_path)
    assert (
        Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 210, contents_of(index, skip=1)) is None
    )
    folder.with_name(f"{KEY}.set-aside").rename(folder)
    assert (
        Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 210, contents_of(index, texts=1)) is None
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_snapshot_of_another_release_is_not_looked_at(tmp_path: Path) -> None:
    index, folder = saved_index(tmp_path)
    assert Snapshots(tmp_path, "b" * 64).load(KEY, DIMENSION, 210, contents_of(index)) is None
    assert folder.exists()


@pytest.mark.parametrize(("release", "key"), [("a" * 16 + "b" * 48, KEY), (RELEASE, 2)])
def test_a_snapshot_moved_to_another_place_is_set_aside(
    tmp_path: Path, release: str, key: int
) -> None:
    index, folder = saved_index(tmp_path)
    folder.rename(folder.with_name(str(key)))
    assert Snapshots(tmp_path, release).load(key, DIMENSION, 210, contents_of(index)) is None
    assert not folder.with_name(str(key)).exists()


def test_a_snapshot_of_another_dimension_is_set_aside(tmp_path: Path) -> None:
    index, folder = saved_index(tmp_path)
    assert Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION + 1, 210, contents_of(index)) is None
    assert not folder.exists()


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, folder = saved_index(tmp_path)
    saving = Snapshots(tmp_path, RELEASE)
    assert_alike(saving.load(KEY, DIMENSION, 210, contents_of(index)), index)
    index.apply(211, [211], unit_vectors(1), [])
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "sync", fail_for_want_of_room)
        with pytest.raises(OSError, match="no room"):
            saving.save(KEY, index, contents_of(index))
    assert {path.name for path in folder.iterdir()} == {"0-200", "200-210"}
    assert saving.save(KEY, index, contents_of(index)) == 211
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 211, contents_of(index)), index)


def test_the_floor_is_the_oldest_release_that_still_has_a_snapshot(tmp_path: Path) -> None:
    index, _ = saved_index(tmp_path)
    index.apply(300, [], unit_vectors(0), [1])
    Snapshots(tmp_path, "b" * 64).save(KEY, index, contents_of(index))
    assert Snapshots(tmp_path, RELEASE).floor(KEY) == 210
    assert Snapshots(tmp_path, RELEASE).collection_keys() == {KEY}
    Snapshots(tmp_path, RELEASE).remove(KEY)
    assert Snapshots(tmp_path, RELEASE).floor(KEY) == 0


def test_nothing_of_a_deleted_collection_stays_set_aside(tmp_path: Path) -> None:
    index, folder = saved_index(tmp_path)
    assert Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 209, contents_of(index)) is None
    aside = folder.with_name(f"{KEY}.set-aside")
    assert (aside.exists(), folder.exists()) == (True, False)
    snapshots = Snapshots(tmp_path, RELEASE)
    assert (snapshots.collection_keys(), snapshots.collection_keys(of_all=False)) == ({KEY}, set())
    snapshots.remove(KEY)
    assert not aside.exists()


def test_a_snapshot_that_goes_while_it_is_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the collection is deleted while another release begins with it."""
    index, folder = saved_index(tmp_path)

    def removed_meanwhile(file: Path) -> str:
        Snapshots(tmp_path, OTHER).remove(KEY)
        return sha256(file)

    monkeypatch.setattr(snapshot_module, "sha256", removed_meanwhile)
    assert Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 210, contents_of(index)) is None
    assert not folder.exists()


def saved_index(folder: Path, exact_limit: int = 5000) -> tuple[Index, Path]:
    """An index at revision 210, saved as a base and one piece; and the folder they are in."""
    index, _ = filled(200, exact_limit)
    index.rebuild()
    saving = Snapshots(folder, RELEASE)
    saving.save(KEY, index, contents_of(index))
    index.apply(210, range(201, 211), unit_vectors(10, seed=3), [5, 7])
    saving.save(KEY, index, contents_of(index))
    return index, folder / RELEASE[:16] / str(KEY)


def fail_for_want_of_room(_path: Path) -> None:
    raise OSError("no room")


def test_a_snapshot_may_lack_what_was_superseded_since(tmp_path: Path) -> None:
    index, _ = saved_index(tmp_path)
    agreed = contents_of(index)(0, index.ids())
    assert agreed
    ids = np.append(agreed.ids, 211)
    known = Contents(
        ids, np.append(agreed.required, False), np.zeros((len(ids), 16), dtype=np.uint8)
    )
    assert_alike(Snapshots(tmp_path, RELEASE).load(KEY, DIMENSION, 300, lambda *_: known), index)


def test_of_a_collection_that_is_gone_nothing_is_saved_or_loaded(tmp_path: Path) -> None:
    index, _ = filled(5)
    snapshots = Snapshots(tmp_path, RELEASE)
    assert snapshots.save(KEY, index, lambda *_: None) == 0
    assert snapshots.saved_revision(KEY) == 0
    snapshots.save(KEY, index, contents_of(index))
    assert snapshots.load(KEY, DIMENSION, 5, lambda *_: None) is None
