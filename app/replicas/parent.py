"""The parent of several servers at one port: it starts them, starts one that died again, and ends all of them.

Each server listens at the port itself (SO_REUSEPORT), and begins when it is open. The kernel spreads connections evenly
over those that listen, so one that starts, or died, gets none.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from time import monotonic

from app.errors import CommandError, SameaskError

COMMAND = (sys.executable, "-P", "-m", "app.cli", "serve", "--replica")
LOOK_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
GRACE_SECONDS = 30.0  # longer than a server takes to answer what it has begun, and to close

log = logging.getLogger(__name__)

Process = subprocess.Popen[bytes]


class Kept:
    """A process that is started again when it ends: after a pause, longer each time until one has lived for a while."""

    def __init__(self, name: str, start: Callable[[], Process]) -> None:
        self.name = name
        self.process: Process | None = None
        self._start = start
        self._began = 0.0
        self._due = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def start(self) -> None:
        """Start the process."""
        self._began = monotonic()
        self.process = self._start()

    def look(self) -> None:
        """Note that the process has ended, or start it again if it is time for that."""
        if self.process is None:
            if monotonic() >= self._due:
                self._try()
        elif self.process.poll() is not None:
            log.warning("%s has ended (%s)", self.name, self.process.returncode)
            close_pipes(self.process)
            self.process = None
            self._put_off()

    def _try(self) -> None:
        try:
            self.start()
        except (SameaskError, OSError) as error:
            log.error("%s can't be started: %s", self.name, error)
            self._put_off()

    def _put_off(self) -> None:
        """Let the next start wait for as long as the last one did, twice."""
        if monotonic() - self._began > LONGEST_PAUSE_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        self._due = monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


class Replica(Kept):
    """A server of its own process. It ends when its standard input does: that of a parent that died."""

    def __init__(self, number: int, environment: Mapping[str, str]) -> None:
        """`environment`: its settings, and all else that it finds there."""
        super().__init__(f"replica {number}", self._begin)
        self._environment = environment
        self._said = b""

    def is_open(self) -> bool:
        """Whether it listens. Raises CommandError for one that ended before it did."""
        assert self.process is not None
        assert self.process.stdout is not None
        if not self._said:
            self._said = self.process.stdout.read() or b""
        code = self.process.poll()
        if code is not None:
            raise CommandError(f"{self.name} ended before it could answer (exit code {code})")
        return bool(self._said)

    def ask_to_end(self) -> None:
        """Let it answer what it has begun, and end."""
        if self.process:
            self.process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, and kill it if that takes longer."""
        if self.process is None:
            return
        try:
            self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            log.error("%s did not end, and is killed", self.name)
            self.process.kill()
            self.process.wait()
        close_pipes(self.process)

    def _begin(self) -> Process:
        self._said = b""
        process = subprocess.Popen(
            COMMAND,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process


def close_pipes(process: Process) -> None:
    """Close what leads to a process that has ended, and from it."""
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def told_to_stop() -> Event:
    """An event that SIGINT or SIGTERM sets, from now on."""
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def keep(
    replicas: list[Replica], beside: list[Kept], stopped: Event, on_open: Callable[[], None]
) -> None:
    """Run the replicas, beside what they need and is running, until they are to stop.

    The first one starts alone: it finds out for all of them what runs the models fastest. `on_open` is called when all
    of them answer. Raises CommandError if one never does.
    """
    try:
        for some in (replicas[:1], replicas[1:]):
            for replica in some:
                replica.start()
            _wait_until_open(some, beside, stopped)
        if not stopped.is_set():
            on_open()
        while not stopped.wait(LOOK_SECONDS):
            for kept in (*beside, *replicas):
                kept.look()
    finally:
        _end(replicas)


def environments(
    count: int, data_dir: Path, releases_dir: Path, database_url: str
) -> list[dict[str, str]]:
    """What each replica finds in its environment: ours, with a data directory of its own; one of them trains.

    What runs the models is found out once, and kept for all. They share the processors.
    """
    models = data_dir / "models"
    models.mkdir(exist_ok=True)
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    found = []
    for number in range(1, count + 1):
        own = data_dir / "replicas" / str(number)
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (own / "models").exists():
            (own / "models").symlink_to(models)
        changed = {
            "SAMEASK_DATA_DIR": str(own),
            "SAMEASK_RELEASES_DIR": str(releases_dir),
            "SAMEASK_DATABASE_URL": database_url,
        }
        if number > 1:
            changed["SAMEASK_TRAINING_WORKER"] = "false"
        inherited = {
            name: value for name, value in os.environ.items() if name.upper() not in changed
        }
        found.append({"OMP_NUM_THREADS": str(threads), **inherited, **changed})
    return found


def _wait_until_open(replicas: list[Replica], beside: list[Kept], stopped: Event) -> None:
    waiting = list(replicas)
    while waiting and not stopped.wait(LOOK_SECONDS):
        waiting = [replica for replica in waiting if not replica.is_open()]
        for kept in beside:
            kept.look()


def _end(replicas: list[Replica]) -> None:
    """End all at once: each is asked first, and killed if it does not end."""
    for replica in replicas:
        replica.ask_to_end()
    deadline = monotonic() + GRACE_SECONDS
    for replica in replicas:
        replica.wait(deadline - monotonic())
