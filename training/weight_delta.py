"""A trained model and its base in, the difference out: a few bits for each weight, small enough to ship, added again
at load."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from app.engine.models.weight_delta import CODES, IS, PLUS, SEPARATOR, STEP

MIN_ENTRIES = 2**15  # of a matrix that is worth its codes
MIN_COLUMNS = (
    8  # so that the padding of a row's last byte can't be taken for another bit of each weight
)
WORDS_AT_LEAST, WORD_BITS = (
    16,
    1,
)  # rows for each column, of the table of word pieces' vectors: it changes little
SHRINKS = np.linspace(0.1, 1.0, 37)  # of the widest step, that reaches the row's greatest change


def difference(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], bits: int
) -> dict[str, Tensor]:
    """What `app.engine.models.weight_delta` adds to `base` to come near `tuned`.

    A large matrix's difference is rounded to 2^bits evenly spaced values, the spacing chosen for each row so that the
    squared error is least; that of the table of word pieces' vectors to two. A small one is kept in float16, as is a
    parameter that the base lacks. What is equal is left out.
    """
    found: dict[str, Tensor] = {}
    for name, weight in tuned.items():
        if name not in base or base[name].shape != weight.shape:
            found[name + SEPARATOR + IS] = weight.half()
            continue
        change = (weight - base[name]).float().cpu()
        if not change.any():
            continue
        if change.dim() == 2 and change.numel() >= MIN_ENTRIES and change.shape[1] >= MIN_COLUMNS:
            is_words = change.shape[0] >= WORDS_AT_LEAST * change.shape[1]
            codes, step = rounded(change, WORD_BITS if is_words else bits)
            found[name + SEPARATOR + CODES], found[name + SEPARATOR + STEP] = codes, step
        else:
            found[name + SEPARATOR + PLUS] = change.half()
    return {name: value.contiguous() for name, value in found.items()}


def rounded(matrix: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(m, n) -> codes (m, ceil(n · bits / 8)) uint8, highest bit first, and step (m,) float16, so that step · (code -
    (2^bits - 1) / 2) is near each entry."""
    middle = (2**bits - 1) / 2
    widest = matrix.abs().amax(dim=1) / middle
    step, least = torch.zeros(len(matrix)), torch.full((len(matrix),), torch.inf)
    for shrink in SHRINKS:
        tried = (widest * float(shrink)).half().float()
        error = (_levels(matrix, tried, middle) * tried[:, None] - matrix).square().sum(dim=1)
        step, least = torch.where(error < least, tried, step), torch.minimum(error, least)
    codes = (_levels(matrix, step, middle) + middle).to(torch.uint8).numpy()
    single = np.unpackbits(codes[:, :, None], axis=2)[:, :, 8 - bits :]
    return torch.from_numpy(np.packbits(single.reshape(len(codes), -1), axis=1)), step.half()


def _levels(matrix: Tensor, step: Tensor, middle: float) -> Tensor:
    """For each entry the nearest of the values -middle, …, middle, in steps of its row; a row of zeros has no step."""
    scaled = matrix / step.where(step > 0, 1.0)[:, None]
    return (scaled + middle).round().clamp(0, 2 * middle) - middle
