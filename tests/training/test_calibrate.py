"""`python -m training calibrate`: from a model folder and pairs to a release that serves."""

import random
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from training.build import tuned_on
from training.cli import cli

WORDS = ["apple", "bread", "cider", "dough", "elder", "flour", "grape", "honey", "icing", "jelly"]


def pairs_file(folder: Path, name: str, template: str) -> Path:
    """400 pairs of our own making: duplicates share all words but one, others share none."""
    generator = random.Random(0)
    rows = ["question1\tquestion2\tis_duplicate"]
    for i in range(400):
        words = generator.sample(WORDS, 4)
        others = [word for word in WORDS if word not in words]
        other = [*words[:3], generator.choice(others)] if i % 2 else generator.sample(others, 4)
        first, second = (template.format(" ".join(chosen)) for chosen in (words, other))
        rows.append(f"{first}\t{second}\t{i % 2}")
    file = folder / f"{name}.tsv"
    file.write_text("\n".join(rows) + "\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Release:
    folder = tmp_path_factory.mktemp("calibrate")
    pairs, report = (
        pairs_file(folder, "fit", "how is {} made"),
        pairs_file(folder, "report", "who eats {}"),
    )
    arguments = [
        "calibrate",
        "--base",
        tiny_model,
        "--pairs",
        pairs,
        "--report-pairs",
        report,
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(
        cli, [*map(str, arguments), "--out", str(folder / "mine")], catch_exceptions=False
    )
    assert result.exit_code == 0
    return Release.open(folder / "mine")


def test_duplicates_become_more_probable_than_others(
    release: Release, tiny_encoder: Encoder
) -> None:
    vectors = tiny_encoder.encode(
        [
            "how is apple bread made",
            "how is apple bread dough made",
            "how is jelly icing honey made",
        ]
    )
    near, far = release.by_similarity.calibration.probability(
        (vectors[1:] @ vectors[0]).astype(np.float32)
    )
    assert near > 0.5 > far


def test_figures_and_fingerprint_are_in_the_release(release: Release) -> None:
    assert release.metrics["tune"]["pairs"] == sum(
        release.manifest["data"]["tune"][c] for c in ("duplicate", "different")
    )
    assert release.metrics["tune"]["similarity"]["average_precision"] > 0.95
    assert [figures["pairs_from"].split("/")[1] for figures in release.metrics["report"]] == [
        "report.tsv"
    ]
    assert "| 0.90 |" in (release.path / "README.md").read_text("utf-8")


def test_the_release_serves(release: Release, tmp_path: Path) -> None:
    with TestClient(
        create_app(Settings(data_dir=tmp_path, release=release.path, device="cpu"))
    ) as client:
        wait_until_ready(client)
        body = {
            "pairs": [
                {
                    "question1": "how is apple bread made",
                    "question2": "how is apple bread dough made",
                }
            ]
        }
        scored = client.post("/pair-score", json=body).json()
    assert scored["release"] == "mine"
    assert scored["scores"][0]["probability"] > 0.5


def test_the_shipped_release_says_what_it_was_fitted_on() -> None:
    release = Release.open(Path("releases/minilm-base"))
    assert release.base.name == "all-MiniLM-L6-v2"
    described = tuned_on(release)  # it was made when these pairs were called `fit`
    assert described["from"] == release.metrics["fit"]["pairs_from"] == "quora/dev_fit.tsv.gz"
