"""A torch module in, the same by OpenVINO out: converted straight from torch, in float32, bfloat16 or int8.

OpenVINO is an optional dependency and loaded on first use; nothing here is called while torch runs the models.
"""

import importlib
import importlib.metadata
import io
import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers.utils import logging as transformers_logging

from app.engine.models.buckets import fitted, width
from app.engine.models.cpu import has_instructions
from app.errors import BackendRefused

# The capability that each precision needs of a CPU, and the type in which everything but int8 is computed.
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
SMOOTH_QUANT_ALPHA = 0.9

# Every shape that a model sees has kernels compiled for it, megabytes each: batches are cut into few shapes.
ROWS = (32, 16, 8, 4, 2, 1)
WIDTHS = ((32, 4), (64, 8), (256, 32), (math.inf, 128))
# AMX multiplies 16 columns at a time. In other widths a text's vector depends on its padding (OpenVINO 2026.4).
# And int8 in a graph that computes in bfloat16 is wrong at a width of 32.
AMX_WIDTHS = ((64, 16), *WIDTHS[2:])
CORES_A_STREAM = (
    2  # that take turns at one part: when a request's Python has one of them, the other does more
)
MAX_PART_TOKENS = 512  # of one part; larger ones gain next to nothing
RUNTIME_CACHE = 2000  # kernels kept for a model: some 30 shapes', which bounds its memory


def versions() -> dict[str, str | None]:
    """The versions that a converted model depends on; of a package that is not installed, None."""
    return {name: _version(name) for name in ("openvino", "nncf", "torch", "transformers")}


def check_can_run(precision: str) -> None:
    """Raise BackendRefused unless OpenVINO is installed and has instructions for the precision here."""
    if CAPABILITIES[precision] not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BackendRefused(
            f"this CPU has no instructions for openvino-{precision}: set SAMEASK_BACKEND=auto"
        )
    if precision == "int8":
        _load("nncf")


def convert(model: nn.Module, output: str, example: Mapping[str, NDArray[np.int64]]) -> Any:
    """An `openvino.Model` with the inputs of the example, of any shape, and one output in float32.

    Raises BackendRefused for a model that can't be converted.
    """
    if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters()):
        raise BackendRefused(
            "OpenVINO can't run a model whose weights are not finite"
        )  # int8 would hide it
    try:
        with _quietly():
            arrays = tuple(torch.from_numpy(array) for array in example.values())
            graph = _load("openvino").convert_model(
                _Graph(model, output, list(example)), example_input=arrays
            )
        for port, name in zip(graph.inputs, example, strict=True):
            port.get_tensor().set_names({name})
    except Exception as error:  # whatever tracer and converter raise
        raise BackendRefused(
            f"OpenVINO can't convert this model: {type(error).__name__}: {error}"
        ) from error
    return graph


def quantize(graph: Any, samples: Sequence[Mapping[str, NDArray[np.int64]]]) -> Any:
    """The model in int8: ranges of activations as the samples have them, outliers moved into the weights before.

    SmoothQuant (Xiao et al., 2023), as NNCF does it. Raises BackendRefused if that fails.
    """
    nncf = _load("nncf")
    logging.getLogger(nncf.__name__).setLevel(
        logging.ERROR
    )  # its own way would quieten the handlers of others too
    advanced = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True,  # was measured to change nothing but the time taken
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=SMOOTH_QUANT_ALPHA),
    )
    try:
        with _quietly():
            return nncf.quantize(
                graph,
                nncf.Dataset(list(samples)),
                subset_size=len(samples),
                preset=nncf.QuantizationPreset.MIXED,
                model_type=nncf.ModelType.TRANSFORMER,
                advanced_parameters=advanced,
            )
    except Exception as error:  # whatever NNCF raises
        raise BackendRefused(
            f"NNCF can't quantise this model: {type(error).__name__}: {error}"
        ) from error


def save(graph: Any, file: Path) -> None:
    """Write a model as IR: `file` (.xml) and the weights beside it (.bin)."""
    _load("openvino").save_model(graph, str(file), compress_to_fp16=False)


def read(file: Path) -> Any:
    """A model from its IR. Raises RuntimeError."""
    return _core().read_model(str(file))


class OpenVinoForward:
    """A converted model on the CPU; a batch is cut into parts of few shapes, which run beside each other."""

    device = "cpu"

    def __init__(self, graph: Any, precision: str, max_tokens: int | None) -> None:
        """`max_tokens` is the longest input that the model has positions for."""
        self.backend = f"openvino-{precision}"
        self.dtype = DTYPES[precision]
        self._max_tokens = max_tokens
        has_amx = has_instructions("amx_tile")
        self._widths = AMX_WIDTHS if has_amx else WIDTHS
        in_bf16 = precision == "bf16" or (precision == "int8" and _has("BF16") and not has_amx)
        wanted = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": max(1, (os.cpu_count() or 1) // CORES_A_STREAM),
            "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
            "ENABLE_CPU_PINNING": False,  # two models and a web server share the cores
            "CPU_RUNTIME_CACHE_CAPACITY": RUNTIME_CACHE,
        }
        compiled = _core().compile_model(graph, "CPU", wanted)
        streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._names = [port.get_any_name() for port in compiled.inputs]
        self._requests = [compiled.create_infer_request() for _ in range(streams)]

    def __call__(self, features: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Inputs by name, (n, longest) int64 each -> n rows float32, finite or not."""
        lengths = features["attention_mask"].sum(axis=1)
        order = np.argsort(-lengths, kind="stable")
        parts = list(self._cut(order, lengths))
        outcomes: list[NDArray[np.float32]] = []
        for start in range(0, len(parts), len(self._requests)):
            at_once = list(
                zip(parts[start : start + len(self._requests)], self._requests, strict=False)
            )
            for (rows, columns), request in at_once:
                request.start_async(
                    {name: fitted(features[name][rows], columns) for name in self._names}
                )
            for _, request in at_once:
                request.wait()
                outcomes.append(request.get_output_tensor(0).data.copy())
        return np.concatenate(outcomes)[np.argsort(order, kind="stable")]

    def _cut(
        self, order: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Rows that run together, longest first, and the width that they are padded to."""
        share = -(-len(order) // len(self._requests))
        start = 0
        while start < len(order):
            columns = width(int(lengths[order[start]]), self._widths, self._max_tokens)
            most = min(len(order) - start, share, max(1, MAX_PART_TOKENS // columns))
            count = next(rows for rows in ROWS if rows <= most)
            yield order[start : start + count], columns
            start += count


class _Graph(nn.Module):
    """A model that takes named tensors, as one that takes them in order."""

    def __init__(self, model: nn.Module, output: str, names: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        self._output = output
        self._names = names

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._model(dict(zip(self._names, arrays, strict=True)))[self._output]
        return found.float()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without progress bars on standard output, and without the tracer's warnings: they are about branches that
    padded tokens never take."""
    told = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(told)


@cache
def _core() -> Any:
    return _load("openvino").Core()


def _has(capability: str) -> bool:
    return capability in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _load(package: str) -> Any:
    """`openvino` or `nncf`, without their telemetry: they take it for not installed."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that importing it fails
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise BackendRefused(
            f"SAMEASK_BACKEND asks for OpenVINO, but {package} can't be loaded ({error}): install it with"
            " `pip install -c constraints.txt -e '.[openvino]'`, or set SAMEASK_BACKEND=torch"
        ) from error


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
