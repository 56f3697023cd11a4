"""Reading by slices gives what reading at once gives, also after a kill."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.progress_writer import ProgressWriter
from training.slices import SLICE, in_slices

ITEMS = list(range(5 * SLICE // 2))


class Reader:
    """Halves numbers, and fails at one of the items."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.asked: list[int] = []

    def __call__(self, items: Sequence[int]) -> NDArray[np.float32]:
        if self.fails_at in items:
            raise InterruptedError
        self.asked += items
        return np.array(items, np.float32) / np.float32(2)


def test_a_killed_reading_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with pytest.raises(InterruptedError):
        in_slices(Reader(fails_at=SLICE + 1), ITEMS, ProgressWriter(), kept)
    with kept.open("ab") as file:
        file.write(b"half a number, or some of them")
    second = Reader()
    read = in_slices(second, ITEMS, ProgressWriter(), kept)
    np.testing.assert_array_equal(read, np.array(ITEMS, np.float32) / 2)
    assert second.asked == ITEMS[SLICE:]


def test_a_reading_that_had_ended_reads_no_whole_slice_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = in_slices(Reader(), ITEMS, ProgressWriter(), kept)
    again = Reader()
    np.testing.assert_array_equal(in_slices(again, ITEMS, ProgressWriter(), kept), first)
    assert again.asked == ITEMS[2 * SLICE :]
    whole = in_slices(Reader(), ITEMS[:SLICE], ProgressWriter(), tmp_path / "whole")
    nothing = Reader(fails_at=0)
    np.testing.assert_array_equal(
        in_slices(nothing, ITEMS[:SLICE], ProgressWriter(), tmp_path / "whole"), whole
    )
