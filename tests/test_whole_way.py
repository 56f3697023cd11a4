"""From a label to a release that answers, and back: the example that shows it, run against a service of its own."""

from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from examples.retrain import walk
from tests.conftest import publish_release
from tests.serving import served
from tests.tiny_model import DIMENSION, PIECES, build_tiny_model
from tests.training.generated import WORDS, generated_pairs


@pytest.mark.timeout(400)
def test_labels_make_a_release_that_passes_goes_live_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = build_tiny_model(tmp_path / "tiny", pieces=[*PIECES, *WORDS])
    champion = publish_release(tmp_path / "champion", base, DIMENSION)
    settings = Settings(
        data_dir=tmp_path / "data", release=champion.path, device="cpu", training_device="cpu"
    )
    pairs = [(pair.question1, pair.question2, pair.is_duplicate) for pair in generated_pairs(800)]
    with served(create_app(settings)) as url, httpx.Client(base_url=url, timeout=60) as client:
        # a model this small unlearns its few labels where it also replays written questions
        walk(client, "whole-way", pairs, "calibration", None)
    said = capsys.readouterr().out
    assert "gate: passed" in said
    assert "rolled back to champion; 0 probabilities differ" in said
