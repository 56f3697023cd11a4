"""Servers and the `sameask` command as child processes: started, waited for, measured."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.settings import Settings

SAMEASK = str(Path(sys.executable).with_name("sameask"))
START_SECONDS = 600  # a server may take this long to be ready


@dataclass(frozen=True)
class Served:
    """A server that is ready: its process, and where it answers."""

    pid: int
    url: str


def run(settings: Settings, *arguments: str) -> float:
    """Run a command to its end; the most memory that was resident, in MB."""
    command = [SAMEASK, *arguments]
    process = subprocess.Popen(command, env=os.environ | _environment(settings), stdout=sys.stderr)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid, "VmHWM"))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"sameask {arguments[0]} failed with exit code {process.returncode}")
    return peak


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """`sameask serve`, ready, on a free port of this machine."""
    port = free_port()
    address = {"SAMEASK_HOST": "127.0.0.1", "SAMEASK_PORT": str(port)}
    with started([SAMEASK, "serve"], port, "/readyz", _environment(settings) | address) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    ready: str,
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> Iterator[Served]:
    """A server as a child process, once it answers 200 at the path `ready`; what it prints goes to stderr.

    It runs in `folder`, else where this process does.
    """
    process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=sys.stderr)
    deadline = time.monotonic() + START_SECONDS
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(url + ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"{' '.join(command)} did not get ready (exit code {process.returncode})"
                )
            time.sleep(0.05)
        yield Served(process.pid, url)
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_mb(pid: int, field: str) -> float:
    """VmRSS (resident now) or VmHWM (the most there was) of a process, in MB of 10^6 bytes; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:"))


def cpu_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _environment(settings: Settings) -> dict[str, str]:
    """The settings that were given."""
    return {
        f"SAMEASK_{name.upper()}": str(getattr(settings, name))
        for name in settings.model_fields_set
    }


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False
