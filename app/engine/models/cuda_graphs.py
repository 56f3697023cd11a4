"""A model on a GPU, its kernels launched all at once: a forward pass of few shapes, each recorded as a CUDA graph.

A small transformer's kernels take less time than Python takes to launch them one by one. A graph has the sizes and the
addresses of its first run in it: batches are cut and filled up to few shapes, and copied into the place of the first.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.engine.models.buckets import fitted, width
from app.engine.models.forward import TorchForward, fetched, pinned

WIDTHS = ((64, 8), (256, 32), (math.inf, 128))
MAX_ROWS = 1024
MAX_PART_TOKENS = 16_384  # of one part: enough to keep a large GPU busy
PART_COST = (
    2048  # tokens that take as long as a part more, which keeps a GPU waiting for its small kernels
)
MAX_ERROR = 0.01  # of a replay against the same run eagerly, in parts of the greatest value

log = logging.getLogger(__name__)

Inputs = Mapping[str, torch.Tensor]
Run = Callable[[Inputs], torch.Tensor]
# Inputs of the recorded shape, in the processor's memory -> rows, good until the next replay of any recording.
Recording = Callable[[Inputs], torch.Tensor]
# A model and its first inputs -> their rows, and what makes those of others.
Record = Callable[[Run, Inputs], tuple[torch.Tensor, Recording]]


class RecordedForward:
    """A sentence-transformers model by torch, recorded shape by shape as they come."""

    def __init__(
        self, model: nn.Module, output: str, max_tokens: int | None, record: Record | None = None
    ) -> None:
        """`output` names the one of the model's outputs that is taken, `max_tokens` is the longest input that it has
        positions for; `record` makes the rows of the first inputs and a recording: CUDA's, unless said."""
        self._eager = TorchForward(model, output)
        self._max_tokens = max_tokens
        self._record = record or CudaRecorder()
        self._recordings: dict[
            tuple[int, int], Recording | None
        ] = {}  # None: this shape is run eagerly
        self._is_recording = True
        self.backend = self._eager.backend
        self.device = self._eager.device
        self.dtype = self._eager.dtype

    def __call__(self, features: Mapping[str, Any]) -> NDArray[np.float32]:
        """Inputs by name, (n, longest) int64 each -> n rows float32, finite or not. Parts follow each other without a
        wait; there is one at the end."""
        if "attention_mask" not in features:  # flat inputs, one pass over a table
            return self._eager(features)
        lengths = features["attention_mask"].sum(axis=1)
        order = np.argsort(-lengths, kind="stable")
        with torch.inference_mode():
            parts = [
                self._part({name: fitted(array[rows], columns) for name, array in features.items()})
                for rows, columns in self._cut(order, lengths)
            ]
            return fetched(torch.cat(parts)[: len(order)])[np.argsort(order, kind="stable")]

    def _cut(
        self, order: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Rows that run together, longest first, and the width that they are padded to. The last ones of all are filled
        up with copies of the last."""
        while len(order):
            columns = self._width(lengths[order[0]])
            count = self._share(lengths[order], columns)
            rows = order[:count]
            yield np.pad(rows, (0, count - len(rows)), mode="edge"), columns
            order = order[count:]

    def _share(self, lengths: NDArray[np.int64], columns: int) -> int:
        """How many of the rows that are left run first, a power of two: so many that the least is padded, where a part
        more has its price and those after them run as narrow as they can."""
        left = len(lengths)
        most = min(MAX_ROWS, max(1, MAX_PART_TOKENS // columns))
        powers = [
            1 << power for power in range(min((left - 1).bit_length() + 1, most.bit_length()))
        ]

        def tokens(count: int) -> int:
            others = PART_COST + (left - count) * self._width(lengths[count]) if count < left else 0
            return count * columns + others

        return min(reversed(powers), key=tokens)

    def _width(self, longest: np.int64) -> int:
        return width(int(longest), WIDTHS, self._max_tokens)

    def _part(self, features: Mapping[str, NDArray[np.int64]]) -> torch.Tensor:
        """Rows of one shape, on the device."""
        shape = features["attention_mask"].shape
        recording = self._recordings.get(shape)
        if recording:
            return recording(
                self._pinned(features)
            ).clone()  # before the next replay writes over it
        rows = self._recorded(shape, features) if shape not in self._recordings else None
        return self._eager.rows(features) if rows is None else rows

    def _recorded(
        self, shape: tuple[int, int], features: Mapping[str, NDArray[np.int64]]
    ) -> torch.Tensor | None:
        """Rows of a shape that has no recording yet, which is kept if a replay makes the same of them; None if they
        could not be computed this way."""
        if not self._is_recording:
            return None
        inputs = self._pinned(features)
        try:
            rows, recording = self._record(self._eager.run, inputs)
            difference = (recording(inputs) - rows).abs().max()
        except torch.OutOfMemoryError:
            log.warning(
                "no memory to record batches of %d x %d tokens: they are run eagerly", *shape
            )
            self._recordings[shape] = None
            return None
        except RuntimeError as error:  # whatever CUDA refuses to record
            self._give_up(str(error))
            return None
        if difference <= MAX_ERROR * rows.abs().max():
            self._recordings[shape] = recording
        elif rows.isfinite().all():  # else others of this shape may be
            self._give_up(f"a replay differs by {float(difference):.3g}")
        return rows

    def _give_up(self, why: str) -> None:
        log.warning("the model can't be recorded and is run eagerly: %s", why)
        self._is_recording = False
        self._recordings.clear()

    def _pinned(self, features: Mapping[str, NDArray[np.int64]]) -> dict[str, torch.Tensor]:
        return {name: pinned(array, self.device) for name, array in features.items()}


class CudaRecorder:
    """Makes CUDA graphs that share their memory, as no two run at once."""

    _one_at_a_time = (
        threading.Lock()
    )  # in a process: others wait for the device, which a recording forbids

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, run: Run, inputs: Inputs) -> tuple[torch.Tensor, Recording]:
        """The rows, by a first run that also sets the libraries up, and the recording of a second."""
        with self._one_at_a_time:
            held = {name: tensor.to("cuda") for name, tensor in inputs.items()}
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                rows = run(held)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph, self._pool, self._stream, capture_error_mode="thread_local"
            ):
                output = run(held)
        return rows, _CudaRecording(graph, held, output)


class _CudaRecording:
    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: Inputs, output: torch.Tensor) -> None:
        self._graph = graph
        self._inputs = inputs
        self._output = output

    def __call__(self, inputs: Inputs) -> torch.Tensor:
        for name, held in self._inputs.items():
            held.copy_(inputs[name], non_blocking=True)
        self._graph.replay()
        return self._output
