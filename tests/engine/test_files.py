import os
from pathlib import Path

import pytest

from app.engine.files import new_folder, replace_file, replacing, sha256, write_synced


def test_a_file_takes_the_place_of_the_old_one_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    replace_file(file, "old")
    replace_file(file, "straße\n")
    assert file.read_bytes() == "straße\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]


def test_after_an_error_the_old_content_stands_alone(tmp_path: Path) -> None:
    file = tmp_path / "near.npz"
    replace_file(file, b"old")

    def write_half() -> None:
        with replacing(file) as written:
            assert written.suffix == ".npz"
            written.write_bytes(b"half of the n")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["near.npz"]


def test_a_file_is_synced_before_it_is_shown_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, synced = tmp_path / "a", []

    def note(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), file.exists()))

    monkeypatch.setattr(os, "fsync", note)
    replace_file(file, "x")
    assert synced == [(str(tmp_path / ".writing-a"), False), (str(tmp_path), True)]
    synced.clear()
    replace_file(file, "y", durable=False)
    assert synced == []


def test_a_file_keeps_the_rights_that_new_files_have(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    replace_file(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def write_half() -> None:
        with new_folder(tmp_path / "piece") as folder:
            (folder / "half").write_bytes(b"x")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "piece") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_bytes(b"x")
        assert not (tmp_path / "piece").exists()
    assert (tmp_path / "piece" / "inner" / "file").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["piece"]


def test_a_folder_that_exists_already_is_left_as_it_is(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", "old")
    with pytest.raises(OSError, match=r"not empty|exists"), new_folder(tmp_path) as folder:
        (folder / "file").write_bytes(b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert not (tmp_path.parent / f".writing-{tmp_path.name}").exists()


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    write_synced(tmp_path / "abc", ["a", b"b", "c"])
    assert sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
