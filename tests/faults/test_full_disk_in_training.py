"""A file system that fills up while a model is trained: one clear error, no half release, and it goes on from there."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.engine.release import Release
from app.errors import CommandError
from tests.faults.conftest import KB, Disk
from tests.tiny_model import PIECES, build_tiny_model
from tests.training.generated import WORDS, generated_pairs, write_pairs
from training import figures
from training.cli import cli


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESAMPLES", 10)


@pytest.mark.slow
def test_training_goes_on_when_there_is_room_again(disk: Disk, tmp_path: Path) -> None:
    base = build_tiny_model(tmp_path / "base", pieces=[*PIECES, *WORDS])
    pairs = write_pairs(tmp_path / "pairs.tsv", generated_pairs(500))

    def fit(out: Path) -> Release:
        arguments = [
            "fit",
            "--objective",
            "joint",
            "--pairs",
            pairs,
            "--base",
            base,
            "--out",
            out,
            "--device",
            "cpu",
        ]
        assert (
            CliRunner()
            .invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
            .exit_code
            == 0
        )
        return Release.open(out)

    undisturbed = fit(tmp_path / "mine")
    for free in (700 * KB, 300 * KB, 0):
        disk.fill(free)
        with pytest.raises((CommandError, OSError), match=r"no room|No space left"):
            fit(disk.path / "mine")
        assert not (disk.path / "mine").exists()
        disk.make_room()
    assert fit(disk.path / "mine").metrics == undisturbed.metrics
