"""How much memory something takes, native code included: Linux tells it of any process."""

from pathlib import Path

import psutil


class Memory:
    """The resident memory of a process, and how high it rose."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._folder = Path(f"/proc/{pid}")
        self._before = 0

    def begin(self) -> None:
        """Forget how high it was, and count from here."""
        (self._folder / "clear_refs").write_text("5")
        self._before = self._process.memory_info().rss

    def rise(self) -> int:
        """By how many bytes it rose since, at its highest."""
        status = (self._folder / "status").read_text()
        highest = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return highest - self._before
