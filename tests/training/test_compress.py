"""A difference gives the tuned weights back: exactly where it is whole, as nearly as its rank allows elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from app.engine.weights import apply_difference
from app.errors import ModelRefused
from training.compress import difference

SIZE = 256


def models() -> tuple[nn.Linear, nn.Linear]:
    """A base and a tuned layer whose weights differ by a matrix of rank 4, and a little noise."""
    torch.manual_seed(0)
    base, tuned = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
    change = torch.randn(SIZE, 4) @ torch.randn(4, SIZE) / 50
    with torch.no_grad():
        tuned.weight.copy_(base.weight + change + 1e-4 * torch.randn(SIZE, SIZE))
        tuned.bias.copy_(base.bias + 0.25)
    return base, tuned


def merged(base: nn.Linear, tuned: nn.Linear, rank: int, file: Path) -> nn.Linear:
    save_file(difference(base.state_dict(), tuned.state_dict(), rank), file)
    fresh = nn.Linear(SIZE, SIZE)
    fresh.load_state_dict(base.state_dict())
    apply_difference(fresh, file)
    return fresh


@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_a_difference_is_the_nearest_of_its_rank(tmp_path: Path, rank: int) -> None:
    base, tuned = models()
    found = merged(base, tuned, rank, tmp_path / "d.safetensors")
    change = (tuned.weight - base.weight).detach().numpy()
    left, singular, right = np.linalg.svd(change)
    nearest = (left[:, :rank] * singular[:rank]) @ right[:rank]
    np.testing.assert_allclose((found.weight - base.weight).detach().numpy(), nearest, atol=2e-3)
    np.testing.assert_allclose(found.bias.detach().numpy(), tuned.bias.detach().numpy(), atol=1e-3)


def test_a_tall_matrix_is_cut_along_its_short_side() -> None:
    torch.manual_seed(0)
    base, change = torch.randn(1000, 64), torch.randn(1000, 2) @ torch.randn(2, 64)
    found = difference({"w": base}, {"w": base + change}, 2)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"w|up": (1000, 2), "w|down": (2, 64)}
    np.testing.assert_allclose(found["w|up"].float() @ found["w|down"].float(), change, atol=0.05)


def test_what_is_equal_is_left_out_and_what_is_new_is_whole() -> None:
    same, new = torch.ones(8, 8), torch.full((1, 8), 0.5)
    found = difference({"same": same}, {"same": same.clone(), "head": new}, 4)
    assert list(found) == ["head|is"]
    assert torch.equal(found["head|is"].float(), new)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"nobody|plus": torch.ones(3)}, "'nobody', which the model does not have"),
        ({"bias|is": torch.ones(3)}, "'bias' in parts"),
        (
            {"weight|up": torch.ones(SIZE, 2), "weight|down": torch.ones(2, 7)},
            "'weight' in parts",
        ),
        ({"weight|up": torch.ones(SIZE, 2)}, "'weight' in parts"),
    ],
)
def test_a_difference_that_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], words: str
) -> None:
    save_file(tensors, tmp_path / "d.safetensors")
    with pytest.raises(ModelRefused, match=words):
        apply_difference(nn.Linear(SIZE, SIZE), tmp_path / "d.safetensors")
