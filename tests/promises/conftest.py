"""Pairs are drawn by chance; in tests, by the same chance each time."""

import numpy as np
import pytest

from app.promises import queue


@pytest.fixture(autouse=True)
def _the_same_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "lots", lambda: np.random.default_rng(7))
