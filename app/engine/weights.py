"""A model's weights as a small difference from a base model's, in one safetensors file.

For each parameter that differs, under its name and a suffix: `|up` (m, r) and `|down` (r, n), whose product
is added to the base's (m, n); or `|plus`, which is added; or `|is`, which stands in place of it.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from app.errors import ModelRefused

SEPARATOR = "|"
UP, DOWN, PLUS, IS = "up", "down", "plus", "is"


def apply_difference(model: nn.Module, file: Path) -> None:
    """Add the difference in `file` to a model that holds the base's weights. Raises ModelRefused if it doesn't fit."""
    differences: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(file).items():
        name, _, kind = key.rpartition(SEPARATOR)
        differences.setdefault(name, {})[kind] = value.float()
    state = model.state_dict()
    if unknown := sorted(differences.keys() - state.keys()):
        raise ModelRefused(f"{file} changes {unknown[0]!r}, which the model does not have")
    changed = {}
    for name, parts in differences.items():
        try:
            changed[name] = _changed(state[name], parts)
        except (KeyError, RuntimeError) as error:
            raise ModelRefused(f"{file} has {name!r} in parts that are not known, or of another shape") from error
        if changed[name].shape != state[name].shape:
            raise ModelRefused(f"{file} has {name!r} in parts that are not known, or of another shape")
    model.load_state_dict(changed, strict=False)


def _changed(weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    match sorted(parts):
        case ["is"]:
            return parts[IS]
        case ["plus"]:
            return weight + parts[PLUS].to(weight.device)
        case _:
            return weight + (parts[UP] @ parts[DOWN]).to(weight.device)
