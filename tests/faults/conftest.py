"""A small file system, mounted for a test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

KB = 1024
DISK_BYTES = 4 * 1024 * KB


class Disk:
    """A small file system, and the file that fills it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, free_bytes: int = 0) -> None:
        """Leave this much room."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4 * KB))
            except OSError:
                os.truncate(file.fileno(), max(0, file.tell() - free_bytes))

    def make_room(self) -> None:
        """Take the filler away."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 4 MB, mounted for this test; skips where mounting is not allowed."""
    path = tmp_path / "disk"
    path.mkdir()
    if not shutil.which("mount"):
        pytest.skip("there is no mount command")
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs"]
    mounted = subprocess.run(["mount", *options, path], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system can't be mounted: {mounted.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # training leaves its logs open
