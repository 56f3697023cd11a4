"""A difference gives the tuned weights back: exactly where it is whole, as nearly as its bits allow elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from app.engine.models.weight_delta import apply_difference
from app.errors import ModelRefused
from training.weight_delta import difference

ROWS, COLUMNS = 256, 300  # a row's codes don't end with a byte

# Of a Gaussian rounded to 2^bits evenly spaced values: the least mean squared error (Max, 1960, table II).
LEAST_ERROR = {1: 0.3634, 2: 0.1188, 3: 0.03744, 4: 0.01154}


def models(change: torch.Tensor) -> tuple[nn.Linear, nn.Linear]:
    """A base and a tuned layer whose weights differ by this."""
    torch.manual_seed(0)
    base, tuned = nn.Linear(COLUMNS, ROWS), nn.Linear(COLUMNS, ROWS)
    with torch.no_grad():
        tuned.weight.copy_(base.weight + change)
        tuned.bias.copy_(base.bias + 0.25)
    return base, tuned


def merged(base: nn.Linear, tuned: nn.Linear, bits: int, file: Path) -> NDArray[np.float32]:
    """What the published difference adds to the base's matrix."""
    save_file(difference(base.state_dict(), tuned.state_dict(), bits), file)
    fresh = nn.Linear(COLUMNS, ROWS)
    fresh.load_state_dict(base.state_dict())
    apply_difference(fresh, file)
    np.testing.assert_allclose(fresh.bias.detach(), tuned.bias.detach(), atol=1e-3)
    return (fresh.weight - base.weight).detach().numpy()


@pytest.mark.parametrize("bits", LEAST_ERROR)
def test_the_error_is_the_least_that_so_many_bits_allow(tmp_path: Path, bits: int) -> None:
    torch.manual_seed(1)
    change = (
        torch.randn(ROWS, COLUMNS) * torch.logspace(-3, 0, ROWS)[:, None]
    )  # each row has a size of its own
    found = merged(*models(change), bits, tmp_path / "d.safetensors")
    error = ((found - change.numpy()) ** 2).sum(axis=1) / (change.numpy() ** 2).sum(axis=1)
    assert error.mean() == pytest.approx(LEAST_ERROR[bits], rel=0.1)


def test_values_that_are_evenly_spaced_come_back_exactly(tmp_path: Path) -> None:
    torch.manual_seed(1)
    change = (torch.randint(0, 8, (ROWS, COLUMNS)) - 3.5) / 8
    change[:, 0] = 3.5 / 8  # the greatest there is, in each row
    change[1] = 0  # nothing changed in this one
    found = merged(*models(change), 3, tmp_path / "d.safetensors")
    np.testing.assert_allclose(found, change, atol=1e-6)


def test_it_is_as_small_as_its_bits() -> None:
    base, tuned = models(torch.randn(ROWS, COLUMNS))
    found = difference(base.state_dict(), tuned.state_dict(), 3)
    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "weight|codes": ((ROWS, 113), torch.uint8),
        "weight|step": ((ROWS,), torch.float16),
        "bias|plus": ((ROWS,), torch.float16),
    }


def test_the_table_of_words_has_one_bit() -> None:
    torch.manual_seed(0)
    words, places = torch.randn(1024, 64), torch.randn(512, 64)
    base = {"words": torch.zeros(1024, 64), "places": torch.zeros(512, 64)}
    found = difference(base, {"words": words, "places": places}, 4)
    shapes = {name: tuple(found[f"{name}|codes"].shape) for name in ("words", "places")}
    assert shapes == {"words": (1024, 8), "places": (512, 32)}
    signs = np.unpackbits(found["words|codes"].numpy(), axis=1).astype(bool)
    np.testing.assert_array_equal(signs, words.numpy() > 0)


def test_what_is_equal_is_left_out_and_what_is_new_is_whole() -> None:
    same, new = torch.ones(8, 8), torch.full((1, 8), 0.5)
    found = difference({"same": same}, {"same": same.clone(), "head": new}, 4)
    assert list(found) == ["head|is"]
    assert torch.equal(found["head|is"].float(), new)


CODES = torch.zeros(ROWS, 113, dtype=torch.uint8)
STEP = torch.ones(ROWS)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"nobody|plus": torch.ones(3)}, "'nobody', which the model does not have"),
        ({"bias|is": torch.ones(3)}, "'bias' in parts"),
        ({"bias|codes": CODES, "bias|step": STEP}, "'bias' in parts"),
        ({"weight|codes": CODES}, "'weight' in parts"),
        ({"weight|step": STEP}, "'weight' in parts"),
        ({"weight|codes": CODES.float(), "weight|step": STEP}, "'weight' in parts"),
        ({"weight|codes": CODES[:, :30].contiguous(), "weight|step": STEP}, "'weight' in parts"),
        ({"weight|codes": CODES.repeat(1, 4), "weight|step": STEP}, "'weight' in parts"),
        ({"weight|codes": CODES[:7].contiguous(), "weight|step": STEP}, "'weight' in parts"),
        ({"weight|codes": CODES[0].clone(), "weight|step": STEP}, "'weight' in parts"),
    ],
)
def test_a_difference_that_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    save_file(tensors, tmp_path / "d.safetensors")
    with pytest.raises(ModelRefused, match=words):
        apply_difference(nn.Linear(COLUMNS, ROWS), tmp_path / "d.safetensors")
