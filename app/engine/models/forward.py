"""A model's forward pass: padded token arrays in, float32 rows out. By torch here, by OpenVINO next door.

All else that an encoder or a pair classifier does stands once, in front of either.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

# The name of torch's backend, by the type of its weights.
NAMES = {"float32": "torch", "float16": "torch-fp16", "bfloat16": "torch-bf16"}
BATCH_SIZE = {"cpu": 64, "cuda": 4096}  # texts or pairs that keep a device busy


class Forward(Protocol):
    """The forward pass of a model on one backend; not for use by two threads at once."""

    @property
    def backend(self) -> str:
        """Its name, as the setting has it."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""

    @property
    def dtype(self) -> str:
        """The weights' type: `float32`, `float16`, `bfloat16` or `int8`."""

    def __call__(self, features: Mapping[str, Any]) -> NDArray[np.float32]:
        """Inputs by name, (n, longest) int64 each -> n rows, finite or not."""


class TorchForward:
    """A sentence-transformers model by torch, on its device and in the type of its weights."""

    def __init__(self, model: nn.Module, output: str) -> None:
        """`output` names the one of the model's outputs that is taken."""
        self._model = model
        self._output = output

    @property
    def backend(self) -> str:
        """`torch`, `torch-fp16` or `torch-bf16`."""
        return NAMES[self.dtype]

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self._model.device.type)

    @property
    def dtype(self) -> str:
        """The weights' type: `float32`, `float16` or `bfloat16`."""
        return str(next(self._model.parameters()).dtype).removeprefix("torch.")

    def __call__(self, features: Mapping[str, Any]) -> NDArray[np.float32]:
        """Rows of these inputs. Arrays go to the model's device; other inputs are passed on as they are."""
        with torch.inference_mode():
            return fetched(self.rows(features))

    def rows(self, features: Mapping[str, Any]) -> torch.Tensor:
        """The n rows, still on the device; for use within `torch.inference_mode()`.

        A batch that a GPU has no memory for is run in halves, until one row alone does not fit.
        """
        try:
            return self.run(self.sent(features))
        except torch.OutOfMemoryError:
            count = len(
                features.get("attention_mask", ())
            )  # other models take flat inputs, and little memory
            if count < 2:
                raise
        torch.cuda.empty_cache()  # out of the handler, whose error holds on to what was being computed
        halves = (slice(None, count // 2), slice(count // 2, None))
        return torch.cat(
            [self.rows({name: value[half] for name, value in features.items()}) for half in halves]
        )

    def run(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """The model's rows of inputs on its device, in float32."""
        found: torch.Tensor = self._model(dict(inputs))[self._output]
        return found.float()

    def sent(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays as tensors on the model's device."""
        return {
            name: pinned(value, self.device).to(self.device, non_blocking=True)
            if isinstance(value, np.ndarray)
            else value
            for name, value in features.items()
        }


def pinned(array: NDArray[np.int64], device: str) -> torch.Tensor:
    """The array where a GPU can fetch it while the processor goes on; as it is for a CPU."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device == "cuda" else tensor


def fetched(rows: torch.Tensor) -> NDArray[np.float32]:
    """Rows on any device as an array, once they are computed."""
    if rows.device.type == "cuda":
        rows = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True).copy_(
            rows, non_blocking=True
        )
        torch.cuda.current_stream().synchronize()
    return np.asarray(rows.numpy(), dtype=np.float32)
