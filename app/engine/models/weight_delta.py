"""A model's weights as a small difference from a base model's, in one safetensors file.

For each parameter that differs, under its name and a suffix: `|codes` (m, ceil(n · bits / 8)) uint8 and `|step` (m,),
of which step · (code - (2^bits - 1) / 2) is added to the base's (m, n), a code being `bits` bits, the highest first;
or `|plus`, which is added; or `|is`, which stands in place of it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from app.errors import ModelRefused

SEPARATOR = "|"
CODES = "codes"
STEP = "step"
PLUS = "plus"
IS = "is"


def apply_difference(model: nn.Module, file: Path) -> None:
    """Add the difference in `file` to a model that holds the base's weights. Raises ModelRefused if it doesn't fit."""
    differences: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(file).items():
        name, _, kind = key.rpartition(SEPARATOR)
        differences.setdefault(name, {})[kind] = value
    state = model.state_dict()
    if unknown := sorted(differences.keys() - state.keys()):
        raise ModelRefused(f"{file} changes {unknown[0]!r}, which the model does not have")
    changed = {}
    for name, parts in differences.items():
        refusal = f"{file} has {name!r} in parts that are not known, or of another shape"
        try:
            weight = _changed(state[name], parts)
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ModelRefused(refusal) from error
        if weight.shape != state[name].shape:
            raise ModelRefused(refusal)
        changed[name] = weight
    model.load_state_dict(changed, strict=False)


def _changed(weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """A base's weight with its difference. Raises KeyError and others for parts that don't fit it."""
    if parts.keys() == {IS}:
        return parts[IS].float()
    if parts.keys() == {PLUS}:
        change = parts[PLUS].float()
    else:
        steps = parts[STEP].float()
        change = decoded(parts[CODES], weight.shape[1]) * steps[:, None]
    return weight + change.to(weight.device)


def decoded(codes: Tensor, columns: int) -> Tensor:
    """Codes (m, bytes) uint8 -> (m, columns) float32: how many steps each entry is above 0. There are 8 columns or
    more, so that the number of bytes says how many bits a code has. Raises TypeError, ValueError."""
    bits = codes.shape[1] * 8 // columns
    if not 1 <= bits <= 8:
        raise ValueError(f"{codes.shape[1]} bytes don't hold {columns} codes of 1 to 8 bits")
    stream = np.unpackbits(codes.numpy(), axis=1, count=columns * bits)
    of_each = stream.reshape(len(codes), columns, bits)
    values = np.packbits(of_each, axis=2)[:, :, 0] >> (8 - bits)
    middle = (2**bits - 1) / 2
    return torch.from_numpy(values.astype(np.float32) - middle)
