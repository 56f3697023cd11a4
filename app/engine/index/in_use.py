"""Which releases' folders of snapshots are in use, and which of the others were not used for a week.

Versions of questions that were replaced stay in the store as long as a snapshot may need them. One that nobody has
used for a week holds them no longer.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from time import time
from weakref import WeakKeyDictionary

UNUSED_SECONDS = 7 * 24 * 3600
NOTED_SECONDS = 3600
# An empty folder in that of a release: its time of change is when that was last used.
MARK = ".used"

_lock = threading.Lock()
_in_use: WeakKeyDictionary[object, Path] = WeakKeyDictionary()  # by who uses it, in this process


def begin_use(user: object, folder: Path) -> None:
    """From now on the folder is in use, until this user ends that or is gone."""
    with _lock:
        _in_use[user] = folder
    note_use(folder)


def end_use(user: object, folder: Path) -> None:
    """This user uses it no more."""
    with _lock:
        _in_use.pop(user, None)
    note_use(folder)


def keep_noted(folder: Path) -> None:
    """Note once an hour that it is still used: a process that is killed ends nothing."""
    with suppress(OSError):
        if not 0 <= time() - (folder / MARK).stat().st_mtime < NOTED_SECONDS:
            note_use(folder)


def note_use(folder: Path) -> None:
    """It is used now. One that is not there, or can't be written to, stays as it is."""
    with suppress(OSError):
        (folder / MARK).mkdir(exist_ok=True)
        os.utime(folder / MARK)


def is_long_unused(folder: Path) -> bool:
    """Whether nobody uses it, nor did within a week. One of which nothing is known counts as used now."""
    with _lock:
        if folder in _in_use.values():
            return False
    try:
        seconds = time() - (folder / MARK).stat().st_mtime
    except OSError:
        seconds = -1.0
    if seconds < 0:  # or it was noted before the clock was set back
        note_use(folder)
    return seconds > UNUSED_SECONDS
