"""`sameask base`: a model that releases stand on is fetched and checked."""

from pathlib import Path

import pytest

from app.engine import base_fetching, bases
from app.engine.bases import KNOWN, WEIGHTS, KnownModel
from app.engine.files import sha256
from tests.cli.commands import Sameask


def test_a_model_is_fetched_and_its_folder_printed(
    sameask: Sameask, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (bases, base_fetching):
        monkeypatch.setattr(room, "FETCHED", tmp_path / "bases")
    monkeypatch.setitem(KNOWN, "tiny", KnownModel(sha256(tiny_model / WEIGHTS)))
    outcome = sameask("base", "tiny", "--from", tiny_model)
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'bases' / 'tiny'}\n")


def test_another_name_is_refused(sameask: Sameask) -> None:
    outcome = sameask("base", "tiny-bert")
    assert outcome.code == 1
    assert "no model 'tiny-bert' is known; there are all-MiniLM-L6-v2" in outcome.err
