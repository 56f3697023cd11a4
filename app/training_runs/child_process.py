"""A child process with all its descendants: started held back until it is on record, measured, and ended whole.

It outlives the server that started it, so that another server can find it again: by its number and its start, which
tell it from a process that was given the number later. All its descendants are in the session that it leads.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil

NICENESS = 10
LOOK_SECONDS = 0.05
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
UNKNOWN = 256  # no exit code is
# The shell becomes the child, under the same number; when whoever was to record it dies first, its line never comes.
HELD = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class Child:
    """A process that leads a session of its own."""

    pid: int
    started: int  # clock ticks after boot

    @staticmethod
    @contextmanager
    def held(command: Sequence[str], log: Path) -> Iterator["Child"]:
        """A child of low priority. It begins when the context is left, and never if it is left by an error. Its output
        is added to the file `log`. Raises OSError where it can't be started.
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
            own_niceness = os.getpriority(os.PRIO_PROCESS, 0)  # less than that needs rights
            os.setpriority(os.PRIO_PROCESS, process.pid, max(own_niceness, NICENESS))
            yield Child(process.pid, _start_ticks(psutil.Process(process.pid)))
            go.write(b"go\n")

    def is_running(self) -> bool:
        """Whether it lives; one that has ended and was not waited for does not."""
        process = self._process()
        return process is not None and _lives(process)

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal, as `subprocess` has it; UNKNOWN if another process started it."""
        if self._process() is None:
            return UNKNOWN
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None if self.is_running() else UNKNOWN
        return os.waitstatus_to_exitcode(status) if pid else None

    def resident_bytes(self) -> int:
        """Resident memory of the child and its descendants; shared pages are counted for each."""
        total = 0
        for process in self._members():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def end(self, grace_seconds: float) -> int | None:
        """End it and all its descendants: ask first, and kill what is still there after the grace; its exit code."""
        code = self._end(signal.SIGTERM, grace_seconds)
        return code if not self._members() else self._end(signal.SIGKILL, grace_seconds)

    def _end(self, number: signal.Signals, patience_seconds: float) -> int | None:
        deadline = monotonic() + patience_seconds
        _signal(self._members(), number)
        while (code := self.exit_code()) is None or self._members():
            if monotonic() > deadline:
                break
            sleep(LOOK_SECONDS)
            if number is signal.SIGKILL:
                _signal(self._members(), number)  # also what was born meanwhile
        return code

    def _process(self) -> psutil.Process | None:
        """None if it is gone, or its number is another's."""
        try:
            process = psutil.Process(self.pid)
            return process if _start_ticks(process) == self.started else None
        except psutil.NoSuchProcess:
            return None

    def _members(self) -> list[psutil.Process]:
        """Every living process of its session; the session lasts as long as one of them, and its number with it."""
        if self._process() is None and psutil.pid_exists(self.pid):
            return []  # the number is another's: nothing of it is left
        members = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.pid:
                    members.append(psutil.Process(pid))
        return [process for process in members if _lives(process)]


def _start_ticks(process: psutil.Process) -> int:
    """When it started, in clock ticks after boot, whatever the clock is set to meanwhile. Raises psutil.NoSuchProcess.

    psutil adds the time of boot, which the system reckons back from the clock: both have to be by the same clock.
    """
    while True:
        booted: float = psutil.boot_time()
        created: float = psutil.Process(process.pid).create_time()
        if psutil.boot_time() == booted:
            return round((created - booted) * TICKS_PER_SECOND)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() not in ENDED
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
