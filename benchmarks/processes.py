"""The `sameask` command as a child process: started with settings, waited for, measured."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
    process = _start(settings, *arguments)
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deadline = time.monotonic() + START_SECONDS
    process = _start(settings, "serve", SAMEASK_HOST="127.0.0.1", SAMEASK_PORT=str(port))
    try:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(f"{url}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not get ready (exit code {process.returncode})")
            time.sleep(0.05)
        yield Served(process.pid, url)
    finally:
        process.terminate()
        process.wait(60)


def memory_mb(pid: int, field: str) -> float:
    """VmRSS (resident now) or VmHWM (the most there was) of a process, in MB of 10^6 bytes; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:"))


def cpu_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _start(settings: Settings, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    """The command as a child; what it prints goes to stderr."""
    environment |= {"SAMEASK_DATA_DIR": str(settings.data_dir.resolve()), "SAMEASK_RELEASE": str(settings.release)}
    return subprocess.Popen([SAMEASK, *arguments], env=os.environ | environment, stdout=sys.stderr)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False
