"""The catalogue: which folder SAMEASK_RELEASE names, wherever the command is called from."""

from pathlib import Path

import pytest

from app.releases.catalogue import ROOT, Catalogue, shipped

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
