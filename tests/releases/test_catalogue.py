"""The catalogue: which folder SAMEASK_RELEASE names, wherever the command is called from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from app.errors import ReleaseNotFound
from app.releases.catalogue import ROOT, Catalogue, Entry, shipped

SHIPPED = Path("releases/minilm-questions-2")


def test_a_release_that_ships_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped(SHIPPED) == ROOT / SHIPPED
    catalogue = Catalogue(SHIPPED, tmp_path / "trained")
    assert [(entry.name, entry.path, entry.refused) for entry in catalogue.entries()] == [
        ("minilm-questions-2", ROOT / SHIPPED, None)
    ]


def test_a_folder_that_is_there_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED).mkdir(parents=True)
    assert shipped(SHIPPED) == SHIPPED
    assert shipped(Path("nowhere")) == Path("nowhere")
    assert shipped(tmp_path / "nowhere") == tmp_path / "nowhere"


def test_a_manifest_nested_without_end_hides_no_other_release(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "manifest.json").write_text('{"a":' + "[" * 100_000)
    catalogue = Catalogue(ROOT / SHIPPED, tmp_path)
    own, nested = catalogue.entries()
    assert (own.name, own.refused) == (SHIPPED.name, None)
    assert nested.name == "nested"
    assert nested.refused
    assert "recursion limit exceeded" in nested.refused


def test_of_several_who_remove_a_release_one_does_and_nothing_is_left(tmp_path: Path) -> None:
    """A second click, another admin, another replica."""
    removers = 4
    (tmp_path / ".removed-before-1").mkdir()  # by a process that was killed
    for number in range(10):
        folder = tmp_path / f"trained-{number}"
        (folder / "encoder").mkdir(parents=True)
        for file in range(20):
            (folder / "encoder" / str(file)).write_text("x")
        entry = Entry(folder.name, folder, True, None, "it is no release")
        barrier = Barrier(removers)

        def remove(entry: Entry = entry, barrier: Barrier = barrier) -> str:
            barrier.wait()
            try:
                Catalogue(ROOT / SHIPPED, tmp_path).remove(entry)
            except ReleaseNotFound:
                return "not found"
            return "removed"

        with ThreadPoolExecutor(removers) as threads:
            outcomes = [threads.submit(remove) for _ in range(removers)]
        found = sorted(outcome.result() for outcome in outcomes)
        assert found == ["not found"] * (removers - 1) + ["removed"]
    assert list(tmp_path.iterdir()) == []
