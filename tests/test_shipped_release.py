"""The release that ships: small, whole, refused when a byte differs, and as good as its card says it is."""

import json
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from app.engine.bases import KNOWN, MPNET, WEIGHTS, BaseModel, from_hub
from app.engine.data import OUT_OF_DOMAIN
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.engine.scorer import similarity
from app.errors import ModelRefused, ReleaseRefused
from app.settings import SHIPPED_RELEASE, Settings
from training import figures
from training.evaluation import evaluate, read_evidence
from training.pairs import LabelledPair, read_pairs

ROOT = Path(__file__).parent.parent
MOST_BYTES = 12 * 2**20
MOST_BYTES_OF_LARGER = 30 * 2**20


@pytest.fixture(scope="module")
def release() -> Release:
    return Release.open(ROOT / Settings().release)


@pytest.fixture(scope="module")
def models(release: Release) -> tuple[Encoder, PairClassifier]:
    encoder, classifier = open_models(release, "cpu")
    assert classifier
    return encoder, classifier


@pytest.fixture(scope="module")
def pairs() -> list[LabelledPair]:
    return read_pairs(OUT_OF_DOMAIN)


def test_the_folder_is_small_and_has_nothing_that_the_manifest_does_not_name(
    release: Release,
) -> None:
    files = {
        str(file.relative_to(release.path)): file.stat().st_size for file in release.path.rglob("*")
    }
    assert sum(files.values()) <= MOST_BYTES
    assert files.keys() == {*release.manifest["files"], "manifest.json"}


def test_a_wheel_has_the_release_beside_the_code(tmp_path: Path, release: Release) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"  # a build leaves a folder behind
    for name in ("app", "training", "sameask-client/src", SHIPPED_RELEASE):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    named = {*release.manifest["files"], "manifest.json"}
    assert packed >= {"app/settings.py", *(f"{SHIPPED_RELEASE}/{name}" for name in named)}


def test_the_larger_release_stands_on_its_own_base_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds by that base as it is. Where the base is nowhere, the command that fetches it is named."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    larger = Release.open(ROOT / "releases" / "mpnet-questions")
    sizes = [file.stat().st_size for file in larger.path.rglob("*")]
    assert sum(sizes) <= MOST_BYTES_OF_LARGER
    assert not (larger.path / "encoder.safetensors").exists()
    assert larger.base == larger.classifier_base == BaseModel(MPNET, {WEIGHTS: KNOWN[MPNET].digest})
    assert larger.dimension == 768
    assert larger.by_pair
    with pytest.raises(ModelRefused, match=rf"`sameask base {MPNET}` fetches it"):
        from_hub(MPNET)


@pytest.mark.parametrize(
    "name", ["encoder.safetensors", "classifier.safetensors", "calibration.json", "README.md"]
)
def test_a_flipped_byte_is_refused(release: Release, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(release.path, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ReleaseRefused, match=name):
        Release.open(copy)


def test_a_score_is_symmetric(
    release: Release, models: tuple[Encoder, PairClassifier], pairs: list[LabelledPair]
) -> None:
    """200 pairs each way, in batches of other sizes: to 1e-6 in similarity, logit's probability, and verdict's."""
    texts = [text for pair in pairs for text in (pair.question1, pair.question2)]
    chances = random.Random(0)
    asked = [(chances.choice(texts), chances.choice(texts)) for _ in range(200)]
    encoder, classifier = models
    row = {text: i for i, text in enumerate(sorted({text for pair in asked for text in pair}))}
    vectors = encoder.encode(list(row))
    scorer = release.scorer("0.90")
    probabilities = []
    for turned in (asked, [(b, a) for a, b in asked]):
        first, second = zip(*((vectors[row[a]], vectors[row[b]]) for a, b in turned), strict=True)
        logits = classifier.score(turned)
        probabilities.append(
            scorer.probability(similarity(np.stack(first), np.stack(second)), logits)
        )
    assert np.abs(probabilities[0] - probabilities[1]).max() < 1e-6


def test_it_reaches_the_figures_that_its_card_shows(
    release: Release, pairs: list[LabelledPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESAMPLES", 10)  # intervals are not looked at
    (told,) = (
        f for f in release.metrics["report"] if f["pairs_from"].endswith("out_of_domain.tsv")
    )
    found = evaluate(release, pairs, device="cpu")
    for kind in ("similarity", "probability"):
        assert found[kind]["average_precision"] == pytest.approx(
            told[kind]["average_precision"],
            abs=0.01,  # it leaves out pairs that were learnt from
        )
    card = (release.path / "README.md").read_text("utf-8")
    for each in release.metrics["report"]:
        for kind in ("base", "similarity", "probability"):
            assert f"{each[kind]['average_precision']:.3f}" in card


def test_it_ranks_no_worse_than_its_base_where_it_was_not_trained(release: Release) -> None:
    for told in release.metrics["report"]:
        base, own = (told[kind]["average_precision"] for kind in ("base", "probability"))
        assert own >= base, told["pairs_from"]


def test_the_classifier_joins_in(release: Release, models: tuple[Encoder, PairClassifier]) -> None:
    """A negation that similarity hardly sees: read by the classifier, the pair is less probable."""
    question, negated = (
        "Which file types are ignored by the sync client?",
        "Which file types are not ignored by the sync client?",
    )
    evidence = read_evidence(*models, [LabelledPair(question, negated, is_duplicate=False)])
    assert evidence.similarities[0] > 0.95
    scorer = release.scorer("0.90")
    assert (
        scorer.probability(*evidence.features)[0]
        < scorer.probability(evidence.similarities)[0] - 0.1
    )


def test_the_manifest_says_where_it_comes_from(release: Release) -> None:
    manifest = json.loads((release.path / "manifest.json").read_text("utf-8"))
    assert manifest["base_model"]["name"] == "all-MiniLM-L6-v2"
    assert manifest["training"].keys() == {"encoder", "classifier"}
    assert not manifest["leaks"]
    assert all(
        len(of["sha256"]) == 64 for of in (manifest["data"]["train"], manifest["data"]["tune"])
    )
