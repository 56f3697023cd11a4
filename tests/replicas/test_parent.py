"""The parent of replicas, over processes that are quick to start: shells."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from app.errors import CommandError
from app.replicas import parent
from app.replicas.parent import Kept, Replica, environments, keep
from tests.clock import Clock
from tests.serving import wait_until

ENVIRONMENT = {"PATH": os.environ["PATH"]}
ENDS_WITH_PARENT = "echo open; read -r _; exit 0"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have replicas run a line of shell."""

    def run(line: str) -> None:
        monkeypatch.setattr(parent, "COMMAND", ("/bin/sh", "-c", line))

    return run


def ended(code: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({code})"])
    process.wait()
    return process


def test_the_pause_doubles_until_a_process_has_lived_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(parent, "monotonic", clock)
    started: list[float] = []

    def start() -> "subprocess.Popen[bytes]":
        started.append(clock.now)
        return ended(1)

    kept = Kept("it", start)
    kept.start()
    for tenth in range(1, 1250):
        clock.now = tenth / 10
        kept.look()
    assert [round(at, 1) for at in started] == [
        0.0,
        0.6,
        1.7,
        3.8,
        7.9,
        16.0,
        32.1,
        62.2,
        92.3,
        122.4,
    ]
    kept.process = ended(1)
    clock.now += parent.LONGEST_PAUSE_SECONDS + 1
    kept.look()
    clock.now += parent.FIRST_PAUSE_SECONDS
    kept.look()
    assert started[-1] == clock.now


def test_one_that_can_not_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(parent, "monotonic", clock)
    tries: list[float] = []

    def start() -> "subprocess.Popen[bytes]":
        tries.append(clock.now)
        raise CommandError("not now")

    kept = Kept("it", start)
    for second in range(4):
        clock.now = float(second)
        kept.look()
    assert tries == [0.0, 1.0, 2.0]


def test_the_first_answers_before_the_others_start(
    runs: Callable[[str], None], tmp_path: Path
) -> None:
    runs('echo $$ >>"$STARTED"; sleep 0.5; echo open; read -r _')
    log = tmp_path / "started"
    replicas = [Replica(number, {**ENVIRONMENT, "STARTED": str(log)}) for number in (1, 2, 3)]
    stopped = Event()
    told: list[int] = []
    thread = threading.Thread(target=keep, args=(replicas, [], stopped, lambda: told.append(1)))
    thread.start()
    wait_until(lambda: replicas[1].process is not None)
    assert replicas[0].is_open()
    assert told == []
    wait_until(lambda: told == [1])
    assert len(log.read_text().split()) == 3
    stopped.set()
    thread.join()
    assert [one.process and one.process.returncode for one in replicas] == [-signal.SIGTERM] * 3


def test_one_that_ends_before_it_answers_ends_all(runs: Callable[[str], None]) -> None:
    runs('[ "$NUMBER" = 2 ] && exit 3; echo open; read -r _')
    replicas = [Replica(number, {**ENVIRONMENT, "NUMBER": str(number)}) for number in (1, 2)]
    with pytest.raises(
        CommandError, match=r"replica 2 ended before it could answer \(exit code 3\)"
    ):
        keep(replicas, [], Event(), lambda: pytest.fail("it never answered"))
    assert replicas[0].process is not None
    assert replicas[0].process.returncode == -signal.SIGTERM


def test_one_that_does_not_end_is_killed(
    runs: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent, "GRACE_SECONDS", 0.3)
    runs("trap '' TERM; echo open; while :; do sleep 0.1; done")
    replica = Replica(1, ENVIRONMENT)
    stopped = Event()
    keep([replica], [], stopped, stopped.set)
    assert replica.process is not None
    assert replica.process.returncode == -signal.SIGKILL


def test_a_replica_ends_with_its_standard_input(runs: Callable[[str], None]) -> None:
    runs(ENDS_WITH_PARENT)
    replica = Replica(1, ENVIRONMENT)
    replica.start()
    wait_until(replica.is_open)
    assert replica.process is not None
    assert replica.process.stdin is not None
    replica.process.stdin.close()
    replica.wait(10)
    assert replica.process.returncode == 0


def test_each_has_a_data_directory_and_one_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("sameask_data_dir", "elsewhere")  # settings are read whatever their case
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    first, second, third = environments(3, tmp_path, tmp_path / "releases", "postgresql:///x")
    for number, found in enumerate((first, second, third), 1):
        own = tmp_path / "replicas" / str(number)
        assert found["SAMEASK_DATA_DIR"] == str(own)
        assert "sameask_data_dir" not in found
        assert found["SAMEASK_RELEASES_DIR"] == str(tmp_path / "releases")
        assert found["SAMEASK_DATABASE_URL"] == "postgresql:///x"
        assert found["OMP_NUM_THREADS"] == "2"
        assert (own / "models").resolve() == (tmp_path / "models").resolve()
    trains = [found.get("SAMEASK_TRAINING_WORKER") for found in (first, second, third)]
    assert trains == [None, "false", "false"]
