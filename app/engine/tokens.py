"""Texts and pairs as a model's inputs: tokenised once, padded batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """One tokenised text or pair: its model inputs without padding, how many, and whether it was cut."""

    text: str
    features: Mapping[str, torch.Tensor]  # name -> (count,) int64; empty for models that pad nothing
    count: int
    truncated: bool


def rows(batch: Mapping[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The inputs of each text of a padded batch, without its padding."""
    mask = batch["attention_mask"].bool()
    names = [name for name, value in batch.items() if isinstance(value, torch.Tensor) and value.shape == mask.shape]
    return [{name: batch[name][row][mask[row]] for name in names} for row in range(len(mask))]


def padded(batch: Sequence[Tokens], pad_id: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Inputs of n texts as (n, longest) tensors on the device."""
    longest = max(tokens.count for tokens in batch)
    padding = {"input_ids": pad_id}
    return {
        name: torch.stack(
            [
                torch.nn.functional.pad(t.features[name], (0, longest - t.count), value=padding.get(name, 0))
                for t in batch
            ]
        ).to(device, non_blocking=True)
        for name in batch[0].features
    }


def in_batches(
    run: Callable[[Sequence[Tokens]], NDArray[np.float32]], tokens: Sequence[Tokens], batch_size: int
) -> NDArray[np.float32]:
    """The rows that `run` makes of all tokens, in their order, through batches of like length."""
    order = np.argsort([t.count for t in tokens], kind="stable")
    parts = [run([tokens[i] for i in order[start : start + batch_size]]) for start in range(0, len(tokens), batch_size)]
    return np.concatenate(parts)[np.argsort(order, kind="stable")]
