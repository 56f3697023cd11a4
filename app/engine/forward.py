"""A model's forward pass: padded token arrays in, float32 rows out. By torch here, by OpenVINO next door.

All else that an encoder or a pair classifier does stands once, in front of either.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class Forward(Protocol):
    """What runs a model; not for use by two threads at once."""

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
        """`output` names what is taken of all that the model gives."""
        self._model = model
        self._output = output

    @property
    def backend(self) -> str:
        """`torch`, or `torch-bf16` on a CPU."""
        return "torch-bf16" if (self.device, self.dtype) == ("cpu", "bfloat16") else "torch"

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return str(self._model.device.type)

    @property
    def dtype(self) -> str:
        """The weights' type: `float32`, `float16` or `bfloat16`."""
        return str(next(self._model.parameters()).dtype).removeprefix("torch.")

    def __call__(self, features: Mapping[str, Any]) -> NDArray[np.float32]:
        """Arrays go to the model's device; what is no array is passed on as it is.

        A batch that a GPU has no memory for is run in halves, until one row alone does not fit.
        """
        try:
            return self._run(features)
        except torch.OutOfMemoryError:
            rows = len(features.get("attention_mask", ()))  # other models take flat inputs, and little memory
            if rows < 2:
                raise
        torch.cuda.empty_cache()  # out of the handler, whose error holds on to what was being computed
        halves = (slice(None, rows // 2), slice(rows // 2, None))
        return np.concatenate([self({name: value[half] for name, value in features.items()}) for half in halves])

    def _run(self, features: Mapping[str, Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = {
                name: torch.from_numpy(value).to(self.device, non_blocking=True)
                if isinstance(value, np.ndarray)
                else value
                for name, value in features.items()
            }
            return np.asarray(self._model(inputs)[self._output].float().cpu().numpy(), dtype=np.float32)
