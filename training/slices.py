"""A model and many items in, its answers for all of them out: slice by slice, with progress."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.progress_writer import ProgressWriter

NUMBER_BYTES = 4
SLICE = 1024  # texts or pairs that are read between two reports of progress


def in_slices(
    read: Callable[[Sequence[Any]], NDArray[np.float32]],
    items: Sequence[Any],
    progress: ProgressWriter,
    kept: Path | None = None,
) -> NDArray[np.float32]:
    """A model's answers for all items, with progress after each slice, and a bar on a terminal.

    `kept` is a file for one number of each item: a reading of the same items that was killed goes on from there.
    """
    parts = [_whole_slices(kept)] if kept else []
    done = len(parts[0]) if kept else 0
    starts = range(done, max(1, len(items)), SLICE)
    bar = track(
        starts,
        "reading",
        console=Console(stderr=True),
        transient=True,
        disable=len(starts) <= 1,
    )
    for start in bar:
        parts.append(read(items[start : start + SLICE]))
        if kept:
            with kept.open("ab") as file:
                file.write(parts[-1].tobytes())
        progress.beat()
    return np.concatenate(parts)


def _whole_slices(kept: Path) -> NDArray[np.float32]:
    """The answers of the file, of whole slices alone; a slice that is half written is cut off."""
    if not kept.exists():
        return np.empty(0, np.float32)
    size = kept.stat().st_size
    half_written = size % (SLICE * NUMBER_BYTES)
    os.truncate(kept, size - half_written)
    return np.fromfile(kept, np.float32)
