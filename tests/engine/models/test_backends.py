"""What runs a model: by value against torch, symmetric, chosen once, kept on disk, and refused in one sentence."""

import json
import random
import shutil
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.engine.bases import WEIGHTS
from app.engine.models import backends as backends_module
from app.engine.models import openvino as openvino_forward
from app.engine.models.backends import AUTO, CANDIDATES, TORCH, Measured, device_for, run_on
from app.engine.models.encoder import Encoder
from app.engine.models.model_cache import CHOICE, MODEL, ModelCache
from app.engine.models.opening import open_models
from app.engine.models.openvino import MAX_PART_TOKENS, ROWS, check_can_run, convert
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.tokens import Tokens
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.errors import BackendRefused, Unembeddable
from app.settings import Backend
from tests.conftest import publish_release
from tests.tiny_model import build_tiny_classifier

# How near the tiny model's answers are to torch's: cosine of the vectors at least, difference of the logits at most.
NEAR = {
    "openvino-fp32": (0.99999, 1e-4),
    "openvino-bf16": (0.999, 0.1),
    "openvino-int8": (0.98, 0.6),
}
LETTERS = "abcdefgh "


@pytest.fixture(scope="module")
def tiny_encoder(tiny_model: Path) -> Encoder:
    """The tiny BERT by torch, whatever the other tests take: what the backends are held against."""
    return Encoder.open(tiny_model, "cpu")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Release:
    folder = tmp_path_factory.mktemp("releases")
    classifier = build_tiny_classifier(tiny_model, folder / "classifier")
    return publish_release(folder / "tiny", tiny_model, 32, classifier=classifier)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(params=sorted(NEAR))
def backend(request: pytest.FixtureRequest) -> str:
    try:
        check_can_run(request.param.removeprefix("openvino-"))
    except BackendRefused as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
def models(release: Release, models_dir: Path, backend: str) -> tuple[Encoder, PairClassifier]:
    encoder, classifier = open_models(release, "cpu", backend, models_dir)
    assert classifier
    assert (encoder.backend, classifier.backend) == (backend, backend)
    return encoder, classifier


def texts(count: int, longest: int = 60, seed: int = 0) -> list[str]:
    chances = random.Random(seed)
    return ["".join(chances.choices(LETTERS, k=chances.randint(1, longest))) for _ in range(count)]


def test_the_setting_names_every_backend() -> None:
    assert set(get_args(Backend)) == {AUTO, TORCH, *chain(*CANDIDATES.values())}


# Values


def test_vectors_are_near_torchs_and_of_norm_one(
    models: tuple[Encoder, PairClassifier], tiny_encoder: Encoder, backend: str
) -> None:
    asked = texts(150)
    vectors = models[0].encode(asked)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)
    assert float((vectors * tiny_encoder.encode(asked)).sum(axis=1).min()) >= NEAR[backend][0]


def test_logits_are_near_torchs(
    models: tuple[Encoder, PairClassifier], release: Release, backend: str
) -> None:
    pairs = list(zip(texts(80, 20), texts(80, 20, seed=1), strict=True))
    reference = open_models(release, "cpu")[1]
    assert reference
    assert float(np.abs(models[1].score(pairs) - reference.score(pairs)).max()) <= NEAR[backend][1]


@pytest.mark.parametrize("count", [1, 2, 3, 31, 65])
def test_the_company_in_a_batch_and_its_padding_change_nothing(
    models: tuple[Encoder, PairClassifier], count: int
) -> None:
    encoder, _ = models
    tokens = encoder.tokenize(texts(count, 90, seed=count))
    alone = np.concatenate([encoder.encode_tokens([one]) for one in tokens])
    np.testing.assert_allclose(encoder.encode_tokens(tokens), alone, rtol=0, atol=1e-6)


def test_a_score_is_symmetric(models: tuple[Encoder, PairClassifier]) -> None:
    """1,000 pairs each way, the second time in another order, so in other company."""
    asked = list(zip(texts(1000, 20), texts(1000, 20, seed=1), strict=True))
    order = np.random.default_rng(0).permutation(len(asked))
    turned = models[1].score([(asked[i][1], asked[i][0]) for i in order])
    assert float(np.abs(models[1].score(asked)[order] - turned).max()) < 1e-6


def test_a_batch_is_cut_into_few_shapes(models: tuple[Encoder, PairClassifier]) -> None:
    """Whatever the lengths: each shape costs memory for good."""
    forward: Any = models[0]._forward
    shapes = set()
    chances = random.Random(0)
    for _ in range(2000):
        lengths = np.array([chances.randint(2, 256) for _ in range(chances.randint(1, 64))])
        order = np.argsort(-lengths)
        forward._max_tokens = 256
        cut = list(forward._cut(order, lengths))
        assert np.array_equal(np.concatenate([rows for rows, _ in cut]), order)
        assert all(lengths[rows].max() <= width <= 256 for rows, width in cut)
        shapes |= {(len(rows), width) for rows, width in cut}
    assert {rows for rows, _ in shapes} <= set(ROWS)
    assert all(rows == 1 or rows * width <= MAX_PART_TOKENS for rows, width in shapes)
    assert len(shapes) <= 60


def test_on_amx_widths_are_what_it_multiplies_at_a_time(
    release: Release, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a text is padded to changes its vector by int8 otherwise, and at 32 columns beyond recognition."""
    monkeypatch.setattr(openvino_forward, "has_instructions", lambda *flags: flags == ("amx_tile",))
    forward: Any = open_models(release, "cpu", "openvino-int8", models_dir)[0]._forward
    forward._max_tokens = 256
    widths = {
        columns
        for length in range(1, 100)
        for _, columns in forward._cut(np.array([0]), np.array([length]))
    }
    assert widths == {16, 32, 48, 64, 96, 128}
    assert (
        forward._requests[0]
        .get_compiled_model()
        .get_property("INFERENCE_PRECISION_HINT")
        .to_string()
        == "f32"
    )


# Models that give no numbers, and that can't be converted


def test_weights_that_are_not_finite_are_refused(
    tiny_model: Path, tmp_path: Path, backend: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    row = (folder / "vocab.txt").read_text("utf-8").split("\n").index("7")
    weights = load_file(folder / WEIGHTS)
    weights["embeddings.word_embeddings.weight"][row] = float("nan")
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    encoder = Encoder.open(folder, "cpu")
    with pytest.raises(BackendRefused, match="not finite"):
        run_on(backend, encoder, None, ModelCache(None, "0" * 64))
    started, _ = run_on(
        AUTO, encoder, None, ModelCache(None, "0" * 64)
    )  # though the yardstick has such texts
    assert started.backend == TORCH
    with pytest.raises(Unembeddable):
        started.encode(["7"])


def test_a_model_that_cannot_be_converted_stays_on_torch_with_a_warning(
    release: Release, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise BackendRefused("OpenVINO can't convert this model: for the test")

    monkeypatch.setattr(backends_module, "convert", refuse)
    monkeypatch.setattr(backends_module, "CANDIDATES", {"cpu": ["openvino-fp32"]})
    encoder, classifier = open_models(release, "cpu", AUTO)
    assert (encoder.backend, classifier and classifier.backend) == (TORCH, TORCH)
    assert "for the test" in caplog.text
    with pytest.raises(BackendRefused, match="for the test"):
        open_models(release, "cpu", "openvino-fp32")


def test_without_openvino_auto_is_torch_and_a_forced_one_says_how_to_install(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    openvino_forward._core.cache_clear()
    monkeypatch.setattr(backends_module, "_multiplies_bf16", lambda _: False)
    encoder, _ = open_models(release, "cpu", AUTO)
    assert encoder.backend == TORCH
    with pytest.raises(BackendRefused, match=r"pip install .*openvino"):
        open_models(release, "cpu", "openvino-int8")
    with pytest.raises(BackendRefused, match="no instructions for torch-bf16"):
        open_models(release, "cpu", "torch-bf16")


@pytest.mark.parametrize(
    ("backend", "taken"),
    [
        (AUTO, "auto"),
        (TORCH, "auto"),
        ("torch-bf16", "auto"),
        ("openvino-int8", "cpu"),
        ("torch-fp16", "cuda"),
    ],
)
def test_a_backend_of_one_kind_of_device_takes_that(
    backend: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for("auto", backend) == taken


@pytest.mark.parametrize(
    ("device", "backend", "why"),
    [
        ("cuda", "openvino-int8", "runs on a CPU, and SAMEASK_DEVICE is cuda"),
        ("cpu", "torch-fp16", "runs on a GPU, and SAMEASK_DEVICE is cpu"),
        ("auto", "torch-fp16", "runs on a GPU, and torch sees none here"),
    ],
)
def test_a_backend_of_another_device_is_refused(
    device: str, backend: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendRefused, match=why):
        device_for(device, backend)


def test_torch_alone_loads_no_openvino(release: Release) -> None:
    code = (
        "import sys; from pathlib import Path; from app.engine.models.opening import open_models;"
        " from app.engine.release import Release;"
        f" open_models(Release.open(Path({str(release.path)!r})), 'cpu', 'torch');"
        " sys.exit(any(name.split('.')[0] in ('openvino', 'nncf') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The choice


def measured(per_second: float, **worse: float) -> Measured:
    figures = {"average_precision": 0.8, "ndcg_at_10": 0.9, "agreement": 1.0} | worse
    return Measured(per_second, **figures)


@pytest.mark.parametrize(
    ("worse", "good"),
    [
        ({}, True),
        ({"average_precision": 0.7971, "ndcg_at_10": 0.8971, "agreement": 0.9971}, True),
        ({"average_precision": 0.7969}, False),
        ({"ndcg_at_10": 0.8969}, False),
        ({"agreement": 0.9969}, False),
        ({"average_precision": float("nan")}, False),
    ],
)
def test_what_loses_more_than_is_allowed_is_not_good_enough(
    worse: dict[str, float], good: bool
) -> None:
    assert measured(100, **worse).is_as_good_as(measured(1)) is good


def test_auto_takes_the_fastest_that_is_good_and_notes_it(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {
        "torch": measured(100),
        "openvino-int8": measured(900, agreement=0.9),
        "openvino-fp32": measured(400),  # and none in bfloat16: not every processor has that
    }
    asked: list[str] = []

    def measure(model: Encoder | PairClassifier, *_: object) -> Measured:
        asked.append(model.backend)
        return figures[model.backend]

    monkeypatch.setattr(backends_module, "_measure", measure)
    monkeypatch.setattr(
        backends_module, "CANDIDATES", {"cpu": [name for name in figures if name != TORCH]}
    )
    encoder, classifier = open_models(release, "cpu", AUTO, tmp_path)
    assert (encoder.backend, classifier and classifier.backend) == (
        "openvino-fp32",
        "openvino-fp32",
    )
    assert asked == [*figures, *figures]
    (noted,) = tmp_path.glob(f"*/{CHOICE}")
    parts = json.loads(noted.read_text("utf-8"))["parts"]
    assert {part: of["backend"] for part, of in parts.items()} == dict.fromkeys(
        (ENCODER, CLASSIFIER), "openvino-fp32"
    )
    assert open_models(release, "cpu", AUTO, tmp_path)[0].backend == "openvino-fp32"
    assert len(asked) == 6  # nothing was measured again
    monkeypatch.setattr(backends_module, "processor", lambda: "another machine")
    open_models(release, "cpu", AUTO, tmp_path)
    assert len(asked) == 12


def test_speed_is_of_batches_and_of_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass takes a second, whatever it holds: 64 texts a second in batches, one alone, 8 in the geometric mean."""

    class Passes:
        device, count = "cpu", 0

        def encode_tokens(self, batch: list[Tokens]) -> np.ndarray:
            self.count += 1
            return np.zeros((len(batch), 1), dtype=np.float32)

    model: Any = Passes()
    monkeypatch.setattr("time.perf_counter", lambda: float(model.count))
    assert backends_module._per_second(model, [Tokens("", {}, 1, truncated=False)] * 64) == 8


@pytest.mark.parametrize("backend", ["torch-fp16", "torch-bf16"])
def test_halves_by_torch_are_near_it_and_named(
    release: Release, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoder, backend: str
) -> None:
    """As a GPU has them, but for the recording: on a CPU they are slow."""
    monkeypatch.setattr(backends_module, "CANDIDATES", {"cpu": [backend]})
    monkeypatch.setattr(backends_module, "_multiplies_bf16", lambda _: True)
    encoder, classifier = open_models(release, "cpu", backend)
    assert classifier
    assert (encoder.backend, classifier.backend) == (backend, backend)
    assert {parameter.device.type for parameter in encoder.model.parameters()} == {"meta"}
    asked = texts(80)
    assert float((encoder.encode(asked) * tiny_encoder.encode(asked)).sum(axis=1).min()) >= 0.999
    pairs = list(zip(texts(80, 20), texts(80, 20, seed=1), strict=True))
    reference = open_models(release, "cpu", TORCH)[1]
    assert reference
    np.testing.assert_allclose(classifier.score(pairs), reference.score(pairs), rtol=0, atol=0.1)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"made_of": 1, "parts": 2}'])
def test_a_damaged_choice_is_made_again(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(backends_module, "CANDIDATES", {"cpu": []})
    open_models(release, "cpu", AUTO, tmp_path)
    (noted,) = tmp_path.glob(f"*/{CHOICE}")
    before = json.loads(noted.read_text("utf-8"))["made_of"]
    noted.write_text(content)
    assert open_models(release, "cpu", AUTO, tmp_path)[0].backend == TORCH
    assert json.loads(noted.read_text("utf-8"))["made_of"] == before


def test_the_yardstick_measures_what_it_says(release: Release) -> None:
    """torch against itself agrees entirely, and the figures are those of ten lines of NumPy."""
    encoder, _ = open_models(release, "cpu")
    pairs = backends_module._pairs()[1::2]
    found = backends_module._measure(encoder, pairs, backends_module._answers(encoder, pairs))
    first, second = (
        encoder.encode([getattr(pair, side) for pair in pairs])
        for side in ("question1", "question2")
    )
    labels = np.array([pair.is_duplicate for pair in pairs])
    order = np.argsort(-(first * second).sum(axis=1), kind="stable")
    hits = labels[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    rows = [(row, row[i]) for i, row in enumerate(first @ second.T) if labels[i]]
    ranks = np.array(
        [[np.count_nonzero(row > own), np.count_nonzero(row >= own) - 1] for row, own in rows]
    )
    best, worst = np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean(
        axis=0
    )  # of what is equally near, which is first
    assert found.average_precision == pytest.approx(precision[hits].mean(), abs=1e-3)
    assert found.ndcg_at_10 is not None
    assert worst - 1e-6 <= found.ndcg_at_10 <= best + 1e-6
    assert found.agreement == pytest.approx(1, abs=1e-6)


def test_a_classifier_agrees_by_what_its_logits_mean(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far beyond doubt a pair is makes no difference; which side it is on does."""
    _, classifier = open_models(release, "cpu")
    assert classifier
    pairs = backends_module._pairs()[:4]
    reference = np.array([-9, -2, 2, 9], dtype=np.float32)

    def agreement(*logits: float) -> float:
        monkeypatch.setattr(
            backends_module, "_answers", lambda *_: np.array(logits, dtype=np.float32)
        )
        return backends_module._measure(classifier, pairs, reference).agreement

    assert agreement(-30, -2, 2, 9) > 0.9999
    assert agreement(-9, 2, -2, 9) < 0.7


# Converted models on disk


@pytest.fixture
def kept(release: Release, tmp_path: Path) -> Path:
    """The folder of the encoder, converted to float32."""
    pytest.importorskip("openvino")
    encoder, _ = open_models(release, "cpu")
    run_on("openvino-fp32", encoder, None, ModelCache(tmp_path, release.digest))
    (folder,) = tmp_path.glob("*/encoder-fp32")
    return folder


def open_again(release: Release, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Open the encoder through the cache, compare it with torch; how often it was converted for that."""
    made: list[object] = []

    def counted(*given: Any) -> Any:
        made.append(given)
        return convert(*given)

    monkeypatch.setattr(backends_module, "convert", counted)
    reference = open_models(release, "cpu")[0].encode(texts(20))
    encoder, _ = run_on(
        "openvino-fp32", open_models(release, "cpu")[0], None, ModelCache(root, release.digest)
    )
    np.testing.assert_allclose(encoder.encode(texts(20)), reference, rtol=0, atol=1e-5)
    return len(made)


@pytest.mark.usefixtures("kept")
def test_a_kept_model_is_read_and_not_made_again(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_again(release, tmp_path, monkeypatch) == 0


@pytest.mark.parametrize("name", [MODEL, "model.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_model_is_made_again(
    release: Release,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: str,
) -> None:
    content = bytearray((kept / name).read_bytes())
    content[len(content) // 2] ^= 1
    (kept / name).write_bytes(content if damage == "flip" else content[: len(content) // 2])
    if damage == "remove":
        (kept / name).unlink()
    assert open_again(release, tmp_path, monkeypatch) == 1
    monkeypatch.undo()
    assert open_again(release, tmp_path, monkeypatch) == 0
    assert [path.name for path in kept.parent.iterdir()] == ["encoder-fp32"]


def test_a_model_of_another_version_is_made_again(
    release: Release, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((kept / "manifest.json").read_text("utf-8"))
    manifest["made_of"]["openvino"] = "2025.1.0"
    (kept / "manifest.json").write_text(json.dumps(manifest))
    assert open_again(release, tmp_path, monkeypatch) == 1


def test_two_at_once_leave_one_good_model(
    release: Release, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = backends_module._made(open_models(release, "cpu")[0], "fp32")
    wrong: list[BaseException] = []

    def keep() -> None:
        try:
            for _ in range(10):
                ModelCache(tmp_path, release.digest)._keep(kept, graph)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert open_again(release, tmp_path, monkeypatch) == 0


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(
    release: Release, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "models").write_text("no folder")
    encoder, _ = open_models(release, "cpu")
    found, _ = run_on(
        "openvino-fp32", encoder, None, ModelCache(tmp_path / "models", release.digest)
    )
    assert found.backend == "openvino-fp32"
    assert "can't be kept" in caplog.text
