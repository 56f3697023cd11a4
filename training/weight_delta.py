"""A trained model and its base in, the difference out: few bits a weight, small enough to ship, added at load."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from app.engine.models.weight_delta import (
    CODES,
    IS,
    PLUS,
    SEPARATOR,
    STEP,
)

MIN_ENTRIES = 2**15  # of a matrix that is worth its codes
MIN_COLUMNS = 8  # so that the padding of a row's last byte is never taken for another bit
WORDS_AT_LEAST = 16  # rows for each column, of the table of word pieces' vectors
WORD_BITS = 1  # for each of its weights: it changes little
SHRINKS = np.linspace(0.1, 1.0, 37)  # of the widest step, that reaches the row's greatest change


def difference(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], bits: int
) -> dict[str, Tensor]:
    """The difference that `app.engine.models.weight_delta` adds to `base` to come near `tuned`.

    A large matrix's difference is rounded to 2^bits evenly spaced values, the spacing chosen for each row so that the
    squared error is least; that of the table of word pieces' vectors to two. A small one is kept in float16, as is a
    parameter that the base lacks. A parameter that did not change is left out.
    """
    parts: dict[str, Tensor] = {}
    for name, weight in tuned.items():
        if name not in base or base[name].shape != weight.shape:
            parts[name + SEPARATOR + IS] = weight.half().contiguous()
            continue
        change = (weight - base[name]).float().cpu()
        if not change.any():
            continue
        if _is_worth_codes(change):
            codes, step = rounded(change, WORD_BITS if _is_word_table(change) else bits)
            parts[name + SEPARATOR + CODES] = codes.contiguous()
            parts[name + SEPARATOR + STEP] = step.contiguous()
        else:
            parts[name + SEPARATOR + PLUS] = change.half().contiguous()
    return parts


def _is_worth_codes(change: Tensor) -> bool:
    if change.dim() != 2 or change.shape[1] < MIN_COLUMNS:
        return False
    return change.numel() >= MIN_ENTRIES


def _is_word_table(change: Tensor) -> bool:
    rows, columns = change.shape
    return rows >= WORDS_AT_LEAST * columns


def rounded(matrix: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(m, n) -> codes (m, ceil(n · bits / 8)) uint8, highest bit first, and step (m,) float16.

    step · (code - (2^bits - 1) / 2) is near each entry.
    """
    middle = (2**bits - 1) / 2
    step = _best_step(matrix, middle)
    codes = (_levels(matrix, step, middle) + middle).to(torch.uint8).numpy()
    all_bits = np.unpackbits(codes[:, :, None], axis=2)
    lowest = all_bits[:, :, 8 - bits :].reshape(len(codes), -1)
    return torch.from_numpy(np.packbits(lowest, axis=1)), step.half()


def _best_step(matrix: Tensor, middle: float) -> Tensor:
    """The step (m,) of each row that gives the least squared error."""
    widest = matrix.abs().amax(dim=1) / middle
    best = torch.zeros(len(matrix))
    least = torch.full((len(matrix),), torch.inf)
    for shrink in SHRINKS:
        step = (widest * float(shrink)).half().float()
        near = _levels(matrix, step, middle) * step[:, None]
        error = (near - matrix).square().sum(dim=1)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
    return best


def _levels(matrix: Tensor, step: Tensor, middle: float) -> Tensor:
    """For each entry the nearest of the values -middle, …, middle, in steps of its row; a row of zeros has no step."""
    divisor = step.where(step > 0, 1.0)
    scaled = matrix / divisor[:, None]
    return (scaled + middle).round().clamp(0, 2 * middle) - middle
