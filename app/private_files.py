"""Files that hold a secret: who else may read or write them, and how one is written so that nobody else may."""

import logging
import os
import stat
from pathlib import Path

OWNER_ONLY = 0o600

log = logging.getLogger(__name__)


def is_writable_by_all(file: Path) -> bool:
    """Whether any user of this machine may change the file: then it holds nobody's secret. Raises OSError."""
    return bool(file.stat().st_mode & stat.S_IWOTH)


def warn_if_open(file: Path) -> None:
    """Log a warning where the file is ours and others on this machine may read or change it. Raises OSError."""
    status = file.stat()
    others = status.st_mode & (stat.S_IWGRP | stat.S_IROTH)
    if others and status.st_uid == os.geteuid() and stat.S_ISREG(status.st_mode):
        log.warning("others on this machine may read or change %s: `chmod 600` it", file)


def write_private(file: Path, content: str) -> None:
    """Write a new file that its owner alone may read and write. Raises FileExistsError, OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(content)
