"""The backend of a release's models on this machine: the one that is asked for, or the fastest that is good enough.

`auto` measures once and writes down what it found. The yardstick are questions of our own writing (five domains, none
of a user's): models are quantised on one half of the pairs, and compared with torch in float32 on the other half.
"""

import copy
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import average_precision_score, ndcg_score

from app.engine.data import OUT_OF_DOMAIN
from app.engine.models.cpu import has_instructions, processor
from app.engine.models.cuda_graphs import RecordedForward
from app.engine.models.encoder import Encoder
from app.engine.models.forward import BATCH_SIZE, TorchForward
from app.engine.models.model_cache import ModelCache
from app.engine.models.openvino import OpenVinoForward, check_can_run, convert, quantize
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.tokens import Tokens, in_batches, padded
from app.engine.release import CLASSIFIER, ENCODER
from app.engine.rows import read_rows
from app.engine.scorer import similarity
from app.errors import BackendRefused, Unembeddable

AUTO = "auto"
TORCH = "torch"
TORCH_FP16 = "torch-fp16"
TORCH_BF16 = "torch-bf16"
OPENVINO = "openvino-"
CANDIDATES = {
    "cpu": ("openvino-int8", "openvino-bf16", "openvino-fp32", TORCH_BF16),
    "cuda": (TORCH_FP16, TORCH_BF16),
}
HALVES = {TORCH_FP16: torch.float16, TORCH_BF16: torch.bfloat16}
CALIBRATION_TEXTS = 300
MAX_LOSS = 0.003  # of average precision and of nDCG@10
MIN_AGREEMENT = 0.997
ROUNDS = 3
ALONE = 32  # texts or pairs that are run one at a time

log = logging.getLogger(__name__)

Part = TypeVar("Part", Encoder, PairClassifier)


@dataclass(frozen=True)
class _Pair:
    question1: str
    question2: str
    is_duplicate: bool


@dataclass(frozen=True)
class Measured:
    """A model on one backend: texts or pairs a second, and how good it is on the yardstick.

    `per_second` is the geometric mean of what it does in batches and one at a time: a server has both to do, and what
    is the fastest in batches has been three times as slow alone as the next. `agreement` is the mean cosine of its
    vectors with torch's, or the correlation of its probabilities (the sigmoid of its logits) with torch's: how far
    beyond doubt a logit lies decides nothing.
    """

    per_second: float
    average_precision: float
    ndcg_at_10: float | None  # of a bi-encoder
    agreement: float

    def is_as_good_as(self, torch: "Measured") -> bool:
        """Whether nothing that counts is lost against torch in float32."""
        losses = [torch.average_precision - self.average_precision]
        if self.ndcg_at_10 is not None and torch.ndcg_at_10 is not None:
            losses.append(torch.ndcg_at_10 - self.ndcg_at_10)
        return max(losses) <= MAX_LOSS and self.agreement >= MIN_AGREEMENT


def device_for(device: str, backend: str) -> str:
    """The device to load the models on: that of the backend that is asked for, if it has one. Raises BackendRefused."""
    runs_on = [kind for kind, names in CANDIDATES.items() if backend in names]
    if len(runs_on) != 1:
        return device
    if device not in ("auto", *runs_on):
        kinds = {"cpu": "a CPU", "cuda": "a GPU"}
        raise BackendRefused(
            f"{backend} runs on {kinds[runs_on[0]]}, and SAMEASK_DEVICE is {device}: set SAMEASK_BACKEND=auto"
        )
    if runs_on == ["cuda"] and not torch.cuda.is_available():
        raise BackendRefused(
            f"{backend} runs on a GPU, and torch sees none here: set SAMEASK_BACKEND=auto"
        )
    return runs_on[0]


def run_on(
    backend: str, encoder: Encoder, classifier: PairClassifier | None, cache: ModelCache
) -> tuple[Encoder, PairClassifier | None]:
    """A release's models, run by `backend`; the fastest for each on this machine if it is `auto`.

    By another than `torch` they can't be saved any more. Raises BackendRefused where another than `auto` can't run
    here.
    """
    if backend == TORCH:
        return encoder, classifier
    if backend == AUTO:
        encoder, classifier = _run_on_fastest(encoder, classifier, cache)
    else:
        encoder = _opened(encoder, backend, cache)
        classifier = _opened(classifier, backend, cache) if classifier else None
    for model in (encoder, classifier):
        if model and model.backend != TORCH:
            model.model.to(
                "meta"
            )  # its weights in float32, which nothing reads any more: 90 MB each
    return encoder, classifier


def _run_on_fastest(
    encoder: Encoder, classifier: PairClassifier | None, cache: ModelCache
) -> tuple[Encoder, PairClassifier | None]:
    machine = {"cpu": processor(), "cores": os.cpu_count()}
    if encoder.device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    noted = cache.choice(machine)
    encoder, of_encoder = _fastest(encoder, noted.get(ENCODER), cache)
    found = {ENCODER: of_encoder}
    if classifier:
        classifier, found[CLASSIFIER] = _fastest(classifier, noted.get(CLASSIFIER), cache)
    if found != noted:
        cache.keep_choice(machine, found)
    return encoder, classifier


def _fastest(
    model: Part, noted: Mapping[str, Any] | None, cache: ModelCache
) -> tuple[Part, Mapping[str, Any]]:
    """The model on its best backend here, and the note to keep of it: the one found before, or one measured now."""
    if noted:
        try:
            return _opened(model, noted["backend"], cache), noted
        except (BackendRefused, LookupError, TypeError) as error:
            log.warning(
                "the backend chosen before can't run any more, backends are measured again: %s",
                error,
            )
    log.info(
        "measuring on which backend the %s is fastest here; once, for half a minute to two",
        _name(model),
    )
    pairs = _pairs()[1::2]
    try:
        reference = _answers(model, pairs)
    except Unembeddable as error:
        log.warning("the %s stays on torch, the yardstick can't be read: %s", _name(model), error)
        return model, {"backend": TORCH, "measured": {}}
    best = model
    chosen = TORCH
    measured = {TORCH: _measure(model, pairs, reference)}
    for backend in CANDIDATES[model.device]:
        if not _can_run(backend, model.device):
            continue
        try:
            candidate = _opened(model, backend, cache)
            measured[backend] = found = _measure(candidate, pairs, reference)
        except (BackendRefused, Unembeddable) as error:
            log.warning("the %s goes without %s: %s", _name(model), backend, error)
            continue
        if found.is_as_good_as(measured[TORCH]) and found.per_second > measured[chosen].per_second:
            best = candidate
            chosen = backend
    log.info(
        "the %s runs on %s, %.1f times as fast as on torch",
        _name(model),
        chosen,
        measured[chosen].per_second / measured[TORCH].per_second,
    )
    return best, {
        "backend": chosen,
        "measured": {name: asdict(found) for name, found in measured.items()},
    }


def _opened(model: Part, backend: str, cache: ModelCache) -> Part:
    """The model, run by this backend. Raises BackendRefused."""
    if backend == TORCH:
        return model
    _check_can_run(backend, model.device)
    if backend in HALVES:
        half = copy.deepcopy(model.model).to(HALVES[backend])
        on_gpu = model.device == "cuda"
        return model.on(
            RecordedForward(half, model.output, model.max_tokens)
            if on_gpu
            else TorchForward(half, model.output)
        )
    precision = backend.removeprefix(OPENVINO)
    stored = (
        "int8" if precision == "int8" else "fp32"
    )  # bf16 is how float32 weights are computed with
    graph = cache.model(f"{_name(model)}-{stored}", lambda: _made(model, stored))
    return model.on(OpenVinoForward(graph, precision, model.max_tokens))


def _check_can_run(backend: str, device: str) -> None:
    """Raise BackendRefused where it is not installed, or the device has no instructions for it."""
    if backend.startswith(OPENVINO):
        check_can_run(backend.removeprefix(OPENVINO))
    elif backend == TORCH_BF16 and not _multiplies_bf16(device):
        here = "GPU" if device == "cuda" else "CPU"
        raise BackendRefused(
            f"this {here} has no instructions for torch-bf16: set SAMEASK_BACKEND=auto"
        )


def _can_run(backend: str, device: str) -> bool:
    try:
        _check_can_run(backend, device)
    except BackendRefused as error:
        log.info("without %s: %s", backend, error)
        return False
    return True


def _made(model: Part, precision: str) -> Any:
    samples = [padded([tokens], 0) for tokens in _tokens(model, _pairs()[::2])[:CALIBRATION_TEXTS]]
    if not samples[0]:
        raise BackendRefused("OpenVINO can't run a model that reads no padded tokens")
    graph = convert(model.model, model.output, samples[0])
    return quantize(graph, samples) if precision == "int8" else graph


def _measure(model: Part, pairs: Sequence[_Pair], reference: NDArray[np.float32]) -> Measured:
    answers = _answers(model, pairs)
    labels = [pair.is_duplicate for pair in pairs]
    speed = _per_second(model, _tokens(model, pairs))
    if isinstance(model, PairClassifier):
        agreement = float(np.corrcoef(expit(answers), expit(reference))[0, 1])
        return Measured(speed, float(average_precision_score(labels, answers)), None, agreement)
    first = answers[0::2]
    second = answers[1::2]
    return Measured(
        speed,
        float(average_precision_score(labels, similarity(first, second))),
        _ndcg_at_10(first, second, np.asarray(labels)),
        float(similarity(answers, reference).mean()),
    )


def _answers(model: Part, pairs: Sequence[_Pair]) -> NDArray[np.float32]:
    """Logits (n,) of the pairs, or vectors (2n, d) of their texts, each pair's two beside each other."""
    if isinstance(model, PairClassifier):
        return model.score([(pair.question1, pair.question2) for pair in pairs])
    return model.encode(_texts(pairs))


def _ndcg_at_10(
    first: NDArray[np.float32], second: NDArray[np.float32], labels: NDArray[np.bool_]
) -> float:
    """How well each duplicate's second question is found by its first, among all second questions."""
    relevant = np.eye(len(labels))[labels]
    return float(ndcg_score(relevant, first[labels] @ second.T, k=10))


def _per_second(model: Encoder | PairClassifier, tokens: Sequence[Tokens]) -> float:
    """Texts or pairs a second, tokenising left out: the geometric mean of the best round in batches and of the best
    one at a time."""
    run = model.score_tokens if isinstance(model, PairClassifier) else model.encode_tokens
    best = {"batches": 0.0, "alone": 0.0}
    for _ in range(ROUNDS):
        for way, some, batch_size in (
            ("batches", tokens, BATCH_SIZE[model.device]),
            ("alone", tokens[:ALONE], 1),
        ):
            start = time.perf_counter()
            in_batches(run, some, batch_size)
            best[way] = max(best[way], len(some) / (time.perf_counter() - start))
    return math.sqrt(best["batches"] * best["alone"])


def _tokens(model: Encoder | PairClassifier, pairs: Sequence[_Pair]) -> list[Tokens]:
    if isinstance(model, PairClassifier):
        return model.tokenize([(pair.question1, pair.question2) for pair in pairs])
    return model.tokenize(_texts(pairs))


def _texts(pairs: Sequence[_Pair]) -> list[str]:
    return [text for pair in pairs for text in (pair.question1, pair.question2)]


def _pairs() -> list[_Pair]:
    columns = ("question1", "question2", "is_duplicate")
    return [
        _Pair(a, b, label == "1")
        for a, b, label in (row.values for row in read_rows(OUT_OF_DOMAIN, columns))
    ]


def _name(model: Encoder | PairClassifier) -> str:
    return CLASSIFIER if isinstance(model, PairClassifier) else ENCODER


def _multiplies_bf16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_instructions("avx512_bf16", "amx_bf16")
