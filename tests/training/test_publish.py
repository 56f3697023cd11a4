"""A release appears whole or not at all."""

import json
from pathlib import Path

import pytest

from app.engine.release import Release
from app.errors import CommandError
from tests.conftest import publish_release
from training import publish as publishing
from training.publish import publish


def test_a_published_release_opens_with_what_was_written(tmp_path: Path, tiny_model: Path) -> None:
    published = publish_release(tmp_path / "mine", tiny_model, 32)
    assert Release.open(tmp_path / "mine") == published
    assert (published.name, published.dimension, published.base.name) == (
        "mine",
        32,
        str(tiny_model),
    )


def test_a_release_is_never_written_over(tmp_path: Path, tiny_model: Path) -> None:
    publish_release(tmp_path / "mine", tiny_model, 32)
    before = (tmp_path / "mine" / "manifest.json").read_bytes()
    with pytest.raises(CommandError, match="a release never changes"):
        publish_release(tmp_path / "mine", tiny_model, 32)
    assert (tmp_path / "mine" / "manifest.json").read_bytes() == before


def test_nothing_is_left_of_a_release_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = publishing._write

    def fail_at_the_manifest(path: Path, content: str | bytes | Path) -> None:
        if path.name == "manifest.json":
            raise OSError("no room")
        write(path, content)

    monkeypatch.setattr(publishing, "_write", fail_at_the_manifest)
    with pytest.raises(OSError, match="no room"):
        publish(tmp_path / "mine", {}, {"metrics.json": "{}"})
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_names_versions_and_digests(tmp_path: Path, tiny_model: Path) -> None:
    publish_release(tmp_path / "mine", tiny_model, 32)
    manifest = json.loads((tmp_path / "mine" / "manifest.json").read_text("utf-8"))
    assert manifest["files"].keys() == {
        "README.md",
        "calibration.json",
        "metrics.json",
        "thresholds.json",
    }
    assert {"torch", "sentence-transformers", "transformers"} <= manifest["versions"].keys()
