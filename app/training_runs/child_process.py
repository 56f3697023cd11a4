"""A child process with all its descendants: started held back until it is on record, measured, and ended whole.

It outlives the server that started it, so that another can find it again: by its number and the moment it began, which
tell it from a process that was given its number later. Both are read from /proc, as Linux has it.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NICENESS = 10
LOOK_SECONDS = 0.05
UNKNOWN = 256  # no exit code is
# The shell becomes the child, under the same number; when whoever was to record it dies first, its line never comes.
HELD = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class _Stat:
    """What /proc says of a process: its state, its session's leader, clock ticks from boot to its start, its memory."""

    state: str
    session: int
    started: int
    resident_bytes: int


@dataclass(frozen=True)
class Child:
    """A process that leads a session of its own, in which all its descendants are."""

    pid: int
    started: int  # clock ticks after boot

    @staticmethod
    @contextmanager
    def held(command: Sequence[str], log: Path) -> Iterator["Child"]:
        """A child of low priority that begins when the context is left, and never if it is left by an error.

        What it writes is added to the file `log`. Raises OSError where it can't be started.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", HELD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.returncode = UNKNOWN  # nobody waits for it by this object: it may outlive us
        assert process.stdin is not None
        with process.stdin as go, suppress(BrokenPipeError):
            own = os.getpriority(os.PRIO_PROCESS, 0)  # less than that needs rights
            os.setpriority(os.PRIO_PROCESS, process.pid, max(own, NICENESS))
            yield Child(process.pid, _of(process.pid).started)
            go.write(b"go\n")

    def is_running(self) -> bool:
        """Whether it lives; one that has ended and was not waited for does not."""
        stat = self._stat()
        return stat is not None and stat.state not in "ZX"

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as `subprocess` has it; UNKNOWN if another process started it."""
        if self._stat() is None:
            return UNKNOWN
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None if self.is_running() else UNKNOWN
        return os.waitstatus_to_exitcode(status) if pid else None

    def resident_bytes(self) -> int:
        """Resident memory of it and its descendants; pages that they share are counted for each."""
        return sum(stat.resident_bytes for _, stat in self._members())

    def end(self, grace_seconds: float) -> int | None:
        """End it and all its descendants: ask first, and kill what is still there after the grace; its exit code."""
        code = self._end(signal.SIGTERM, grace_seconds)
        return code if not self._members() else self._end(signal.SIGKILL, grace_seconds)

    def _end(self, number: signal.Signals, patience_seconds: float) -> int | None:
        deadline = monotonic() + patience_seconds
        members = self._members()
        _signal([pid for pid, _ in members], number)
        while (code := self.exit_code()) is None or self._members():
            if monotonic() > deadline:
                break
            sleep(LOOK_SECONDS)
            if number is signal.SIGKILL:
                _signal([pid for pid, _ in self._members()], number)  # also what was born meanwhile
        return code

    def _stat(self) -> _Stat | None:
        """None if it is gone, or its number is another's."""
        try:
            stat = _of(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return stat if stat.started == self.started else None

    def _members(self) -> list[tuple[int, _Stat]]:
        """Every living process of its session; the session lasts as long as one of them, and its number with it."""
        if self._stat() is None and (PROC / str(self.pid)).exists():
            return []  # the number is another's: nothing of it is left
        found = []
        for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = _of(pid)
                if stat.session == self.pid and stat.state not in "ZX":
                    found.append((pid, stat))
        return found


def _of(pid: int) -> _Stat:
    """Raises FileNotFoundError, ProcessLookupError. Fields by their numbers in proc_pid_stat(5), less 3."""
    fields = (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return _Stat(fields[0], int(fields[3]), int(fields[19]), int(fields[21]) * PAGE_BYTES)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
