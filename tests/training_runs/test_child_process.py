"""A child process by its number and its start, as rows of training runs note them."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.training_runs.child_process import Child


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own."""
    process = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_start_is_noted_in_clock_ticks_after_boot(sleeper: subprocess.Popen[bytes]) -> None:
    """As Linux tells it, field 22 of proc_pid_stat(5): rows of earlier versions hold that."""
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    noted = Child(sleeper.pid, int(stat[19]))
    assert noted.is_running()
    assert noted.resident_bytes() > 0
    assert not replace(noted, started=noted.started - 1).is_running()


def test_a_clock_that_is_set_while_a_start_is_read_makes_no_difference(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    booted: float = psutil.boot_time()
    calls = 0

    def boot_time() -> float:
        nonlocal calls
        calls += 1
        return booted + (1 if calls > 1 else 0)  # set forward by a second after the first look

    monkeypatch.setattr(psutil, "boot_time", boot_time)
    monkeypatch.setattr(
        psutil.Process,
        "create_time",
        lambda _: boot_time() + int(stat[19]) / os.sysconf("SC_CLK_TCK"),
    )
    assert Child(sleeper.pid, int(stat[19])).is_running()
