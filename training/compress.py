"""A trained model and its base in, the difference out: small enough to ship, merged again at load."""

from collections.abc import Mapping

import torch
from torch import Tensor

from app.engine.weights import DOWN, IS, PLUS, SEPARATOR, UP

MIN_ENTRIES = 2**15  # of a matrix from which two thin ones are smaller than it


def difference(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """What `app.engine.weights` adds to `base` to come near `tuned`, in float16.

    A large matrix's difference becomes the product of two thin ones, the nearest of this rank (Eckart and
    Young, 1936); a small one is kept whole, as is a parameter that the base lacks. What is equal is left out.
    """
    found: dict[str, Tensor] = {}
    for name, weight in tuned.items():
        if name not in base or base[name].shape != weight.shape:
            found[name + SEPARATOR + IS] = weight.half()
            continue
        change = (weight - base[name]).float().cpu()
        if not change.any():
            continue
        if change.dim() == 2 and change.numel() >= MIN_ENTRIES and rank < min(change.shape):
            up, down = _thin(change, rank)
            found[name + SEPARATOR + UP], found[name + SEPARATOR + DOWN] = up.half(), down.half()
        else:
            found[name + SEPARATOR + PLUS] = change.half()
    return {name: value.contiguous() for name, value in found.items()}


def _thin(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(m, r) and (r, n) whose product is the nearest to an (m, n) matrix, scaled alike."""
    tall = matrix.shape[0] >= matrix.shape[1]
    gram = (matrix.T @ matrix if tall else matrix @ matrix.T).double()
    _, vectors = torch.linalg.eigh(gram)
    basis = vectors[:, -rank:].float()
    up, down = (matrix @ basis, basis.T) if tall else (basis, basis.T @ matrix)
    balance = (up.norm() / down.norm()).sqrt()
    return up / balance, down * balance
