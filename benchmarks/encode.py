"""Questions encoded a second, and the time of one, beside sentence-transformers with the same weights.

    python benchmarks/encode.py --json
    python benchmarks/encode.py --questions train.tsv dev.tsv --backend openvino-int8 --rounds 7

The rivals are `SentenceTransformer.encode` by torch in float32, at the fastest batch size here, and
its own OpenVINO backend, if there is one. Every contender goes from texts to unit vectors, tokenising included, in
rounds that are interleaved; ratios are medians over rounds of the ratio within a round, so that other work on the
machine weighs on both sides. Without `--questions`: the example questions, and texts of their words and lengths.

FLOPs are counted (torch.utils.flop_counter) for each text at its own length: padding, tokenising and waiting all count
as loss. The limit they are compared with is the fastest plain matrix product of that precision, the greatest
that any round reached.

Beside the speed stands the quality of each backend, both models of the release run by it: average precision of
similarity and of probability on labelled pairs (`--pairs`, else the 480 of other domains that backends are chosen by),
and nDCG@10 of finding duplicates among the questions of these pairs.
"""

import argparse
import csv
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils.logging import disable_progress_bar

from app.engine.data import OUT_OF_DOMAIN
from app.engine.models.backends import CANDIDATES, TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.openvino import versions
from app.engine.models.tokens import padded
from app.engine.release import ENCODER, Release
from app.errors import BackendRefused
from training.evaluation import evaluate
from training.pairs import read_pairs, texts_of

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.rounds import Encode, at_its_best, by_turns, seconds

ROOT = Path(__file__).parent.parent
BACKENDS = (TORCH, *CANDIDATES["cpu"])

RIVAL = "sentence-transformers"
RIVAL_OPENVINO = "sentence-transformers, openvino"
BATCH_SIZES = (16, 32, 64)
SIZE = 2048  # of the square matrices
SEED = 20


def main() -> None:
    """Measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, help="files with question1 and question2"
    )
    parser.add_argument("--limit", type=int, default=4096, help="questions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=Path, default=OUT_OF_DOMAIN, help="file of labelled pairs")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-questions-2")
    parser.add_argument(
        "--models",
        type=Path,
        help="folder that keeps converted models, as a data directory's `models`",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    disable_progress_bar()
    texts = (
        read_questions(arguments.questions, arguments.limit)
        if arguments.questions
        else _made(arguments.limit)
    )
    with TemporaryDirectory() as folder:
        contenders, refused = _contenders(arguments, texts, arguments.models or Path(folder))
        say(f"{len(texts):,} questions, {', '.join(contenders)}")
        report = _measure(contenders, texts, arguments.rounds)
    encoder = Encoder.open(*_files(arguments.release))
    lengths = Counter(tokens.count for tokens in encoder.tokenize(texts))
    flops = _flops(encoder, lengths) / len(texts)
    for name, of in report.items():
        of["share_of_matrix_peak"] = of["per_second"] * flops / of.pop("peak_flops_per_second")
        say(f"{name}: {of['ratio']:.2f}x, {of['share_of_matrix_peak']:.0%} of the peak")
    tokens = sum(length * count for length, count in lengths.items()) / len(texts)
    about: dict[str, Any] = {
        "questions": len(texts),
        "mean_tokens": tokens,
        "flops_per_question": flops,
        "threads": torch.get_num_threads(),
    }
    quality = _quality(
        arguments.release, [name for name in arguments.backend if name in report], arguments.pairs
    )
    about |= {"pairs": arguments.pairs.name, "versions": versions()}
    show(about | {"encode": report, "quality": quality, "refused": refused}, as_json=arguments.json)


def _contenders(
    arguments: argparse.Namespace, texts: Sequence[str], models: Path
) -> tuple[dict[str, Encode], dict[str, str]]:
    """The contenders by name, and the reasons why others can't take part."""
    release = Release.open(arguments.release)
    encoder = Encoder.open(*_files(arguments.release))
    contenders: dict[str, Encode] = {RIVAL: at_its_best(encoder.model, texts[:256], BATCH_SIZES)}
    refused = {}
    try:
        with TemporaryDirectory() as folder:
            encoder.save(Path(folder))
            rival = SentenceTransformer(
                folder, device="cpu", backend="openvino", local_files_only=True
            )
        contenders[RIVAL_OPENVINO] = at_its_best(rival, texts[:256], BATCH_SIZES)
    except Exception as error:  # whatever it takes to set it up
        refused[RIVAL_OPENVINO] = f"{type(error).__name__}: {error}"
    for backend in arguments.backend:
        try:
            contenders[backend] = open_models(release, "cpu", backend, models)[0].encode
        except BackendRefused as error:
            refused[backend] = str(error)
    return contenders, refused


def _files(release: Path) -> tuple[Path, str, Path | None]:
    found = Release.open(release).model(ENCODER)
    assert found
    return found[0], "cpu", found[1]


def _quality(release: Path, backends: Sequence[str], file: Path) -> dict[str, dict[str, float]]:
    """By backend, how well it tells and finds the duplicates among the labelled pairs of a file."""
    pairs = list(read_pairs(file))
    found = {}
    for backend in backends:
        figures = evaluate(
            Release.open(release), pairs, corpus=texts_of(pairs), device="cpu", backend=backend
        )
        kinds = ("similarity", "probability")
        found[backend] = {f"{kind} AP": figures[kind]["average_precision"] for kind in kinds}
        found[backend]["nDCG@10"] = figures["retrieval"]["ndcg@10"]
        say({backend: found[backend]})
    return found


def _measure(
    contenders: dict[str, Encode], texts: Sequence[str], rounds: int
) -> dict[str, dict[str, float]]:
    """The figures of each, and the greatest product of matrices of its precision that any round reached."""
    peaks = dict.fromkeys(contenders, 0.0)
    products = {
        precision: _product(precision) for precision in {_precision(name) for name in contenders}
    }
    for encode in contenders.values():
        encode(texts[:512])  # kernels are compiled for shapes as they come

    def note_peak(name: str) -> None:
        peaks[name] = max(peaks[name], *(product() for product in products[_precision(name)]))

    figures = by_turns(contenders, RIVAL, texts, rounds, note_peak)
    return {name: {**of, "peak_flops_per_second": peaks[name]} for name, of in figures.items()}


def _precision(name: str) -> str:
    return next((precision for precision in ("bf16", "int8") if name.endswith(precision)), "fp32")


def _product(precision: str) -> list[Callable[[], float]]:
    """Plain products of two matrices: each gives the operations a second that it reached."""
    if precision == "int8":
        first, second = (torch.randint(-127, 127, (SIZE, SIZE), dtype=torch.int8) for _ in range(2))
        return [lambda: _reached(lambda: torch._int_mm(first, second)), _openvino_product()]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    return [lambda: _reached(lambda: torch.mm(a, b))]


def _openvino_product() -> Callable[[], float]:
    """An int8 product by OpenVINO: torch's own has no fast path on every CPU."""
    import openvino
    from openvino import opset13 as ops

    given = ops.parameter([SIZE, SIZE], np.float32)
    low, high = (ops.constant(np.float32(edge)) for edge in (-1, 127 / 128))
    weights = ops.constant(
        np.random.default_rng(SEED).integers(-127, 127, (SIZE, SIZE)).astype(np.int8)
    )
    scaled = ops.multiply(ops.convert(weights, np.float32), ops.constant(np.float32(0.01)))
    quantized = ops.fake_quantize(given, low, high, low, high, levels=256)
    graph = openvino.Model([ops.matmul(quantized, scaled, False, True)], [given])
    request = (
        openvino.Core()
        .compile_model(graph, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        .create_infer_request()
    )
    values = np.random.default_rng(SEED).uniform(-1, 1, (SIZE, SIZE)).astype(np.float32)
    return lambda: _reached(lambda: request.infer([values]))


def _reached(product: Callable[[], object]) -> float:
    return float(2 * SIZE**3 / min(seconds(product) for _ in range(5)))


def _flops(encoder: Encoder, lengths: Counter[int]) -> float:
    """Operations of the model on texts of these lengths, none padded; a multiplication and an addition are two."""
    total = 0.0
    for length, count in lengths.items():
        (tokens,) = encoder.tokenize(["a " * (length - 2)])
        features = {name: torch.from_numpy(array) for name, array in padded([tokens], 0).items()}
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            encoder.model(features)
        total += count * counter.get_total_flops()
    return total


def _made(limit: int) -> list[str]:
    """The example questions, and texts of their words and lengths."""
    with (ROOT / "examples" / "questions.csv").open(encoding="utf-8", newline="") as file:
        examples = [row["text"] for row in csv.DictReader(file)]
    words = [word for text in examples for word in text.split()]
    chances = random.Random(SEED)
    made = dict.fromkeys(examples)
    while len(made) < limit:
        made[" ".join(chances.choices(words, k=len(chances.choice(examples).split())))] = None
    return list(made)[:limit]


if __name__ == "__main__":
    main()
