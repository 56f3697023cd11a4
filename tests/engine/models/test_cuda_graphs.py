"""Batches by recordings of few shapes: the same rows as eagerly, whatever the batch; by CUDA where there is a GPU."""

import random
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.engine.models.backends import run_on
from app.engine.models.buckets import width
from app.engine.models.cuda_graphs import MAX_PART_TOKENS, MAX_ROWS, RecordedForward, Recording
from app.engine.models.encoder import Encoder
from app.engine.models.model_cache import ModelCache
from app.errors import Unembeddable

Inputs = Mapping[str, torch.Tensor]
Run = Callable[[Inputs], torch.Tensor]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Recorder:
    """What CUDA graphs do, by a CPU: recordings of fixed sizes, whose outputs lie in memory that all of them share."""

    def __init__(self, refuse: Exception | None = None, wrong: float = 0) -> None:
        self.refuse, self.wrong = refuse, wrong
        self.shapes: list[tuple[int, ...]] = []
        self.replayed = 0
        self.outputs: list[torch.Tensor] = []

    def __call__(self, run: Run, inputs: Inputs) -> tuple[torch.Tensor, Recording]:
        if self.refuse:
            raise self.refuse
        self.shapes.append(tuple(inputs["attention_mask"].shape))
        held = {name: tensor.clone() for name, tensor in inputs.items()}
        rows = run(held)
        output = torch.full_like(rows, torch.nan)
        self.outputs.append(output)

        def replay(new: Inputs) -> torch.Tensor:
            self.replayed += 1
            for name, tensor in held.items():
                assert tensor.shape == new[name].shape
                tensor.copy_(new[name])
            for other in self.outputs:
                other.fill_(torch.nan)
            return output.copy_(run(held) + self.wrong)

        return rows, replay


@pytest.fixture(scope="module")
def eager(tiny_model: Path) -> Encoder:
    return Encoder.open(tiny_model, "cpu")


def recorded(encoder: Encoder, recorder: Any) -> Encoder:
    return encoder.on(RecordedForward(encoder.model, encoder.output, encoder.max_tokens, recorder))


def texts(count: int, seed: int) -> list[str]:
    chances = random.Random(seed)
    return ["".join(chances.choices("abcdefgh ", k=chances.randint(1, 60))) for _ in range(count)]


def assert_same(encoder: Encoder, eager: Encoder, asked: list[str], within: float = 1e-6) -> None:
    found = encoder.encode_tokens(encoder.tokenize(asked))
    np.testing.assert_allclose(
        found, eager.encode_tokens(eager.tokenize(asked)), rtol=0, atol=within
    )


@pytest.mark.parametrize("seed", range(3))
def test_any_batches_are_the_same_as_eagerly(
    eager: Encoder, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(
        "app.engine.models.cuda_graphs.MAX_PART_TOKENS", 512
    )  # of several parts each
    recorder = Recorder()
    encoder = recorded(eager, recorder)
    chances = random.Random(seed)
    for _ in range(30):
        assert_same(
            encoder, eager, texts(chances.choice([1, 2, 3, 17, 64, 150]), chances.randrange(1000))
        )
    assert len(recorder.shapes) == len(set(recorder.shapes)) < recorder.replayed
    assert {rows for rows, _ in recorder.shapes} <= {2**power for power in range(7)}
    assert {columns for _, columns in recorder.shapes} <= {8, 16, 24, 32, 40, 48}


def test_shapes_are_few_and_of_bounded_size(eager: Encoder) -> None:
    forward = RecordedForward(eager.model, eager.output, 512, Recorder())
    chances = random.Random(0)
    shapes = set()
    for _ in range(300):
        longest = chances.choice([10, 40, 100, 512])
        lengths = np.array(
            [chances.randint(2, longest) for _ in range(chances.choice([1, 5, 100, 5000]))]
        )
        order = np.argsort(-lengths, kind="stable")
        parts = list(forward._cut(order, lengths))
        assert np.array_equal(np.concatenate([rows for rows, _ in parts])[: len(order)], order)
        assert all(lengths[rows].max() <= columns <= 512 for rows, columns in parts)
        shapes |= {(len(rows), columns) for rows, columns in parts}
    assert all(rows <= MAX_ROWS and rows * columns <= MAX_PART_TOKENS for rows, columns in shapes)
    assert all(rows.bit_count() == 1 for rows, _ in shapes)
    assert len(shapes) <= 130


@pytest.mark.parametrize(
    ("longest", "most", "expected"),
    [(1, 256, 8), (8, 256, 8), (9, None, 16), (65, 256, 96), (250, 250, 250), (300, None, 384)],
)
def test_a_width_is_the_next_of_few(longest: int, most: int | None, expected: int) -> None:
    assert width(longest, ((64, 8), (256, 32), (float("inf"), 128)), most) == expected


def test_one_row_beyond_what_a_part_holds_is_a_part_of_its_own(eager: Encoder) -> None:
    forward = RecordedForward(eager.model, eager.output, None, Recorder())
    ((rows, columns),) = forward._cut(np.array([0]), np.array([MAX_PART_TOKENS + 1]))
    assert (len(rows), columns > MAX_PART_TOKENS) == (1, True)


def test_no_memory_to_record_leaves_that_shape_eager(
    eager: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    encoder = recorded(eager, recorder)
    recorder.refuse = torch.OutOfMemoryError("CUDA out of memory")
    assert_same(encoder, eager, texts(20, 1))
    recorder.refuse = None
    shapes = list(recorder.shapes)
    assert_same(encoder, eager, texts(20, 1))
    assert recorder.shapes == shapes
    assert caplog.text.count("no memory to record") == 1
    assert_same(encoder, eager, texts(40, 2))
    assert len(recorder.shapes) == len(shapes) + 1


def test_a_model_that_cannot_be_recorded_is_run_eagerly(
    eager: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(refuse=RuntimeError("operation not permitted when stream is capturing"))
    encoder = recorded(eager, recorder)
    for seed in range(3):
        assert_same(encoder, eager, texts(20, seed))
    assert (caplog.text.count("not permitted"), recorder.shapes) == (1, [])


def test_a_replay_that_differs_is_not_believed(
    eager: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(wrong=0.5)
    encoder = recorded(eager, recorder)
    for seed in range(3):
        assert_same(encoder, eager, texts(20, seed))
    assert caplog.text.count("a replay differs by 0.5") == 1
    assert len(recorder.shapes) == 1


def test_rows_that_are_not_finite_are_no_measure_of_a_recording(eager: Encoder) -> None:
    """The next batch of that shape is."""
    recorder = Recorder()
    encoder = recorded(eager, recorder)
    good = encoder.tokenize(["abcd"] * 4)
    forward: Any = encoder._forward
    weights = eager.model.get_parameter("0.model.embeddings.LayerNorm.bias")
    before = weights.data.clone()
    try:
        weights.data.fill_(torch.nan)
        with pytest.raises(Unembeddable):
            encoder.encode_tokens(good)
    finally:
        weights.data.copy_(before)
    assert not forward._recordings.get((4, 8))
    assert_same(encoder, eager, ["abcd"] * 4)
    assert forward._recordings[4, 8]


def test_a_model_without_padding_is_run_as_it_is() -> None:
    class Flat(torch.nn.Module):
        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
            return {"out": inputs["input_ids"][inputs["offsets"], None] * self.weight}

    recorder = Recorder()
    forward = RecordedForward(Flat(), "out", None, recorder)
    rows = forward({"input_ids": np.array([3, 4, 5, 6]), "offsets": np.array([0, 2])})
    assert (rows.tolist(), recorder.shapes) == ([[3], [5]], [])


# By CUDA


@needs_gpu
@pytest.mark.parametrize("backend", ["torch-fp16", "torch-bf16"])
def test_cuda_replays_what_a_cpu_computes(tiny_model: Path, eager: Encoder, backend: str) -> None:
    encoder, _ = run_on(backend, Encoder.open(tiny_model, "cuda"), None, ModelCache(None, "test"))
    assert (encoder.backend, encoder.device) == (backend, "cuda")
    forward: Any = encoder._forward
    for seed in range(20):
        assert_same(encoder, eager, texts(1 + 13 * seed, seed % 4), within=0.02)
    assert forward._is_recording
    assert len(forward._recordings) > 3
    assert all(forward._recordings.values())


@needs_gpu
def test_two_models_record_and_replay_in_two_threads(tiny_model: Path, eager: Encoder) -> None:
    models = [Encoder.open(tiny_model, "cuda") for _ in range(2)]
    encoders = [run_on("torch-fp16", model, None, ModelCache(None, "test"))[0] for model in models]
    wrong: list[BaseException] = []

    def ask(encoder: Encoder, first: int) -> None:
        try:
            for seed in range(first, first + 40):
                assert_same(encoder, eager, texts(1 + 7 * (seed % 20), seed), within=0.02)
        except BaseException as error:
            wrong.append(error)

    threads = [
        threading.Thread(target=ask, args=(encoder, 100 * i)) for i, encoder in enumerate(encoders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(
        of._is_recording
        for of in (encoder._forward for encoder in encoders)
        if isinstance(of, RecordedForward)
    )


@needs_gpu
def test_recordings_hold_a_bounded_share_of_memory(tiny_model: Path) -> None:
    encoder, _ = run_on(
        "torch-fp16", Encoder.open(tiny_model, "cuda"), None, ModelCache(None, "test")
    )
    for seed in range(200):
        encoder.encode(texts(1 + 5 * (seed % 50), seed))
    before = torch.cuda.memory_reserved()
    for seed in range(200, 400):
        encoder.encode(texts(1 + 5 * (seed % 50), seed))
    assert torch.cuda.memory_reserved() <= 1.05 * before
