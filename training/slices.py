"""A model and many items in, its answers for all of them out: slice by slice, with progress."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.progress_writer import ProgressWriter

SLICE = 1024  # texts or pairs that are read between two reports of progress


def in_slices(
    read: Callable[[Sequence[Any]], NDArray[np.float32]],
    items: Sequence[Any],
    progress: ProgressWriter,
) -> NDArray[np.float32]:
    """A model's answers for all items, with progress after each slice, and a bar on a terminal."""
    parts = []
    starts = range(0, max(1, len(items)), SLICE)
    bar = track(
        starts,
        "reading",
        console=Console(stderr=True),
        transient=True,
        disable=len(starts) == 1,
    )
    for start in bar:
        parts.append(read(items[start : start + SLICE]))
        progress.beat()
    return np.concatenate(parts)
