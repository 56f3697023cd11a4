"""The worker and its children, by value: how a run ends, whatever the child does, and who finds it again after a crash.

A stand-in takes the place of the child that trains: `tests/stand_in_child.py`.
"""

import asyncio
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from filelock import FileLock
from pydantic import SecretStr

from app.engine.release import Release
from app.engine.store import NewLabel, Store, TrainingRun
from app.settings import Settings
from app.training_runs import watch as watch_room
from app.training_runs import worker as room
from app.training_runs.child_process import NICENESS, Child
from app.training_runs.lessons import MAX_NEAR_PAIRS
from app.training_runs.run_folder import LOG_BYTES
from app.training_runs.training_device import training_device
from app.training_runs.watch import LOG_LINES
from app.training_runs.worker import Worker
from tests.serving import PATIENCE_SECONDS, free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
STAND_IN = (sys.executable, str(ROOT / "tests" / "stand_in_child.py"))
SECRET = "How do I xyzzy?"
REQUEST = {
    "champion": "/releases/live",
    "recipe": "both",
    "data_set": None,
    "target_precision": "0.90",
}
TRAINS = ("phase:training", "wait:trained", "phase:gate", "wait:measured", "result")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow one another closely; a child that is asked to end has less time for it."""
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(room, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(watch_room, "GRACE_SECONDS", 0.5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", training_device="cpu")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    settings.data_dir.mkdir()
    with closing(Store(settings.store_url or settings.data_dir / "sameask.db")) as store:
        say(store, SECRET, "Two?")
        yield store
        for run in store.training_runs.page(None, 100):  # what a failed test has left
            if run.pid and run.pid_started:
                Child(run.pid, run.pid_started).end(0.1)


@contextmanager
def working(store: Store, settings: Settings, *plan: str, **options: Any) -> Iterator[None]:
    """A worker whose children do as planned."""
    worker = Worker(store, settings, command=(*STAND_IN, *plan), **options)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(worker.running()):
        yield


def say(store: Store, one: str, other: str, is_duplicate: bool = True, by: str = "anna") -> None:
    store.labels.write("default", [NewLabel(is_duplicate, by, questions=(one, other))])


def start(store: Store) -> int:
    return store.training_runs.start("default", REQUEST).id


def ended(store: Store, run_id: int) -> TrainingRun:
    """The run, once it has ended and its worker has tidied up."""
    wait_until(lambda: store.training_runs.get(run_id).is_over)
    return store.training_runs.get(run_id)


def reached(store: Store, run_id: int, phase: str) -> TrainingRun:
    """The run, once its child is in a phase."""

    def is_there() -> bool:
        run = store.training_runs.get(run_id)
        assert not run.is_over, run.error
        return (run.progress or {}).get("phase") == phase

    wait_until(is_there)
    return store.training_runs.get(run_id)


def child_of(run: TrainingRun) -> Child:
    assert run.pid is not None
    assert run.pid_started is not None
    return Child(run.pid, run.pid_started)


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended; asked otherwise than the worker asks."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status


def folder_of(settings: Settings, run_id: int) -> Path:
    return settings.data_dir / "training" / str(run_id)


def allow(settings: Settings, run_id: int, *names: str) -> None:
    """Let the child go on."""
    for name in names:
        (folder_of(settings, run_id) / name).touch()


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


# A run that succeeds


def test_a_release_is_made_in_the_folder_that_servers_share_and_begun_anew_there(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    run_id = start(store)
    of_another = tmp_path / "shared" / f".default-{run_id}.training"
    of_another.mkdir(parents=True)
    here = settings.model_copy(update={"releases_dir": tmp_path / "shared"})
    with working(store, here, "say:hello", *TRAINS):
        reached(store, run_id, "training")
        request = json.loads((folder_of(settings, run_id) / "request.json").read_text())
    assert request["release"] == str(tmp_path / "shared" / f"default-{run_id}")
    assert not of_another.exists()


def test_a_child_gets_what_was_asked_and_its_result_is_kept(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    with working(store, settings, "say:hello", *TRAINS):
        run = reached(store, run_id, "training")
        folder = folder_of(settings, run_id)
        release = str(settings.data_dir.absolute() / "releases" / f"default-{run_id}")
        assert json.loads((folder / "request.json").read_text()) == {
            **REQUEST,
            "release": release,
            "device": "cpu",
            "elsewhere": None,
            "margin": 0.005,
            "seed": 20,
        }
        assert run.progress == {
            "phase": "training",
            "step": 1,
            "steps": 10,
            "loss": None,
            "eta_seconds": 9.0,
        }
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, child_of(run).pid) == max(own, NICENESS)
        allow(settings, run_id, "trained")
        reached(store, run_id, "gate")
        allow(settings, run_id, "measured")
        run = ended(store, run_id)
        assert (run.state, run.release, run.error) == ("succeeded", f"default-{run_id}", None)
        assert run.gate == {
            "outcome": "passed",
            "reasons": ["better on labels"],
            "margin": None,
            "sets": [],
            "more_labels": None,
            "to_label": [],
            "served": [],
        }
        assert run.log == "hello\n"
        wait_until(lambda: not folder.exists())


def test_a_child_gets_all_labels_ever_given_and_pairs_without_one(
    store: Store, settings: Settings
) -> None:
    say(store, "Three?", "Four?", is_duplicate=False, by="bert")
    say(store, "Three?", "Four?", is_duplicate=True, by="carl")
    say(store, "Five?", "Six?")
    store.labels.undo("default", 4, "anna")

    def near_pairs(collection: str, limit: int) -> list[Any]:
        assert (collection, limit) == ("default", MAX_NEAR_PAIRS)
        return [(("a", "two?"), ("b", SECRET)), (("c", "Five?"), ("d", "Six?"))]

    run_id = start(store)
    with working(store, settings, *TRAINS, near_pairs=near_pairs):
        reached(store, run_id, "training")
        folder = folder_of(settings, run_id)
        assert [tuple(label.values()) for label in read_lines(folder / "labels.jsonl")] == [
            (SECRET, "Two?", True, True, False),
            ("Three?", "Four?", False, True, True),
            ("Three?", "Four?", True, True, True),
            ("Five?", "Six?", True, False, False),
        ]
        assert read_lines(folder / "unlabelled.jsonl") == [
            {"id1": "c", "id2": "d", "question1": "Five?", "question2": "Six?"}
        ]
        store.training_runs.cancel(run_id)
        ended(store, run_id)


def test_a_run_does_without_near_pairs_that_can_not_be_had(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def near_pairs(_: str, __: int) -> list[Any]:
        raise ValueError(SECRET)

    run_id = start(store)
    with working(store, settings, "result", near_pairs=near_pairs):
        assert ended(store, run_id).state == "succeeded"
    assert "goes without pairs to label: ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_worker_that_waits_for_the_event_loop_ends(store: Store, settings: Settings) -> None:
    """Near pairs are looked for there, while a thread of the worker waits."""
    is_looking = threading.Event()

    async def near_pairs() -> list[Any]:
        is_looking.set()
        await asyncio.sleep(0.3)
        return []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def in_the_loop(_: str, __: int) -> list[Any]:
            return asyncio.run_coroutine_threadsafe(near_pairs(), loop).result()

        worker = Worker(store, settings, command=(*STAND_IN, "result"), near_pairs=in_the_loop)
        async with worker.running():
            await asyncio.to_thread(is_looking.wait)

    start(store)
    ending = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    ending.start()
    ending.join(PATIENCE_SECONDS)
    assert not ending.is_alive()


# Children that fail


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        (("say:it broke", "exit:1"), "it ended with exit code 1; the end of its log:\nit broke"),
        (("result", "exit:3"), "it ended with exit code 3"),
        (
            ("say:last words", "kill"),
            "it was ended by SIGKILL (the system does that when memory runs out); the end of",
        ),
        (("exit:0",), "it ended with exit code 0, and left no result"),
        (("torn-result",), "it ended with exit code 0, and left no result"),
        (("fork", "exit:2"), "it ended with exit code 2"),
    ],
)
def test_a_child_that_fails_ends_its_run_with_the_last_lines_of_its_log(
    store: Store,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    plan: tuple[str, ...],
    error: str,
) -> None:
    run_id = start(store)
    with caplog.at_level(logging.DEBUG), working(store, settings, f"say:{SECRET}", *plan):
        run = ended(store, run_id)
    assert run.state == "failed"
    assert run.error is not None
    assert run.error.startswith(error.split("\n")[0])
    assert run.error.endswith(error.split("\n")[-1]) or "\n" not in error
    assert SECRET in run.log
    assert SECRET not in caplog.text  # in the store, but not in our own log
    assert not lives(child_of(run).pid)
    assert folder_of(settings, run_id).exists()  # it may be resumed
    if "fork" in plan:
        assert not lives(int((folder_of(settings, run_id) / "forked").read_text()))


def test_a_child_that_can_not_be_started_is_a_failed_run(store: Store, settings: Settings) -> None:
    run_id = start(store)
    worker = Worker(store, settings, command=("/nowhere/python",))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(worker.running()):
        run = ended(store, run_id)
    assert (run.state, "exit code 127" in str(run.error)) == ("failed", True)


def test_a_folder_that_can_not_be_made_is_a_failed_run(store: Store, settings: Settings) -> None:
    (settings.data_dir / "training").write_text("in the way")
    run_id = start(store)
    with working(store, settings, "result"):
        run = ended(store, run_id)
    assert (run.state, "can't be started" in str(run.error)) == ("failed", True)


def test_a_child_that_eats_memory_is_ended_with_its_descendants(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    limit = settings.model_copy(update={"training_max_bytes": 150 * 10**6})
    with working(store, limit, "fork", "eat:300", "phase:training", "hang"):
        run = ended(store, run_id)
    assert run.state == "failed"
    assert str(run.error).endswith("GB of memory, more than 0.1 GB (SAMEASK_TRAINING_MAX_BYTES)")
    assert not lives(child_of(run).pid)
    assert not lives(int((folder_of(settings, run_id) / "forked").read_text()))


def test_a_child_of_which_nothing_is_heard_is_ended(store: Store, settings: Settings) -> None:
    run_id = start(store)
    silent = settings.model_copy(update={"training_silence_seconds": 0.2})
    with working(store, silent, "hang"):
        run = ended(store, run_id)
    assert run.state == "failed"
    assert "nothing was heard of it for 0.2 s (SAMEASK_TRAINING_SILENCE_SECONDS)" in str(run.error)
    assert not child_of(run).is_running()


def test_only_the_end_of_a_long_log_is_kept(store: Store, settings: Settings) -> None:
    run_id = start(store)
    lines = [f"say:line {number:04} {'x' * 100}" for number in range(200)]
    with working(store, settings, *lines, "exit:1"):
        run = ended(store, run_id)
    assert len(run.log.encode()) <= LOG_BYTES
    assert run.log.startswith("line 0")
    assert run.log.endswith(f"line 0199 {'x' * 100}\n")
    assert str(run.error).count("\nline ") == LOG_LINES


# Cancelling


@pytest.mark.parametrize(
    "plan", [("phase:training", "hang"), ("deaf", "fork", "phase:training", "hang")]
)
def test_a_running_run_is_cancelled_with_all_its_processes(
    store: Store, settings: Settings, plan: tuple[str, ...]
) -> None:
    run_id = start(store)
    with working(store, settings, *plan):
        child = child_of(reached(store, run_id, "training"))
        pids = [child.pid] + (
            [int((folder_of(settings, run_id) / "forked").read_text())] if "fork" in plan else []
        )
        assert all(map(lives, pids))
        assert store.training_runs.cancel(run_id).cancelling
        run = ended(store, run_id)
        assert (run.state, run.error, run.cancelling) == ("cancelled", None, False)
        assert not any(map(lives, pids))
        wait_until(lambda: not folder_of(settings, run_id).exists())


def test_a_run_whose_collection_is_deleted_is_ended_and_nothing_of_it_stays(
    store: Store, settings: Settings
) -> None:
    store.collections.create("faq", 10)
    store.labels.write("faq", [NewLabel(True, "anna", questions=("One?", "Two?"))])
    run_id = store.training_runs.start("faq", REQUEST).id
    with working(store, settings, "phase:training", "hang"):
        child = child_of(reached(store, run_id, "training"))
        store.collections.delete("faq")
        wait_until(lambda: not lives(child.pid) and not folder_of(settings, run_id).exists())


def test_a_worker_that_has_lost_its_lease_ends_its_child(store: Store, settings: Settings) -> None:
    run_id = start(store)
    with working(store, settings, "phase:training", "hang"):
        child = child_of(reached(store, run_id, "training"))
        store.training_runs.end(run_id, room.SERVER, "interrupted")  # as another worker would
        wait_until(lambda: not lives(child.pid))
    assert store.training_runs.get(run_id).state == "interrupted"


def test_servers_over_a_shared_database_do_not_take_each_other_s_runs(
    store: Store, settings: Settings
) -> None:
    """What one holds is its own by its name: no other process has that, on whatever machine it is."""
    shared = settings.model_copy(update={"database_url": SecretStr("postgresql://host/name")})
    run_id = start(store)
    with working(store, shared, "phase:training", "hang"):
        run = reached(store, run_id, "training")
        assert run.leased_by not in (None, room.SERVER, room.name_of_process())
        assert store.training_runs.claim(room.name_of_process(), 30) is None
        store.training_runs.cancel(run_id)
        assert ended(store, run_id).state == "cancelled"


# Found again


def test_a_child_goes_on_without_its_worker_and_is_found_again(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    with working(store, settings, *TRAINS):
        before = reached(store, run_id, "training")
    assert child_of(before).is_running()
    with working(store, settings, "exit:9"):  # nothing is started again
        allow(settings, run_id, "trained")
        assert reached(store, run_id, "gate").pid == before.pid
        allow(settings, run_id, "measured")
        assert ended(store, run_id).state == "succeeded"


def test_a_child_that_has_ended_well_meanwhile_has_succeeded(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    with working(store, settings, *TRAINS):
        child = child_of(reached(store, run_id, "training"))
    allow(settings, run_id, "trained", "measured")
    wait_until(lambda: not child.is_running())
    with working(store, settings, "exit:9"):
        assert (ended(store, run_id).state, ended(store, run_id).release) == (
            "succeeded",
            f"default-{run_id}",
        )


def test_a_child_that_died_meanwhile_is_an_interrupted_run_that_goes_on_when_resumed(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    with working(store, settings, *TRAINS):
        child = child_of(reached(store, run_id, "training"))
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not child.is_running())
    with working(store, settings, *TRAINS):
        run = ended(store, run_id)
        assert (run.state, str(run.error).startswith("the service ended")) == ("interrupted", True)
        before = (folder_of(settings, run_id) / "labels.jsonl").read_bytes()
        say(store, "Said", "since?")
        store.training_runs.resume(run_id)
        reached(store, run_id, "training")
        assert (
            folder_of(settings, run_id) / "labels.jsonl"
        ).read_bytes() == before  # checkpoints belong to these
        assert len((folder_of(settings, run_id) / "starts").read_text().split()) == 2
        allow(settings, run_id, "trained", "measured")
        assert ended(store, run_id).state == "succeeded"


def test_another_process_with_the_number_of_a_child_is_not_taken_for_it(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    assert store.training_runs.claim(room.SERVER, 30)
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        try:
            store.training_runs.hold(run_id, room.SERVER, 30, pid=other.pid, pid_started=1)
            with working(store, settings, "exit:9"):
                assert ended(store, run_id).state == "interrupted"
            assert other.poll() is None
        finally:
            other.kill()


def test_a_run_that_was_claimed_but_never_begun_begins(store: Store, settings: Settings) -> None:
    run_id = start(store)
    assert store.training_runs.claim(room.SERVER, 30)
    with working(store, settings, "result"):
        assert ended(store, run_id).state == "succeeded"


def test_a_child_that_nobody_has_recorded_never_begins(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with pytest.raises(RuntimeError), Child.held(["touch", str(done)], tmp_path / "log") as child:
        raise RuntimeError("the store is full")
    wait_until(lambda: child.exit_code() is not None)
    assert not done.exists()
    with Child.held(["touch", str(done)], tmp_path / "log") as child:
        assert not done.exists()
    wait_until(lambda: child.exit_code() == 0 or done.exists())


# Telling


def test_every_end_is_told_once_and_nothing_that_comes_of_it_hurts(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[int, str]] = []

    async def on_end(run: TrainingRun) -> None:
        told.append((run.id, run.state))
        raise ValueError(SECRET)

    first = start(store)
    store.training_runs.cancel(first)
    second = start(store)
    with working(store, settings, "result", on_end=on_end):
        wait_until(lambda: len(told) == 2)
        third = start(store)
        wait_until(lambda: len(told) == 3 and not store.training_runs.unannounced())
    with working(store, settings, "result", on_end=on_end, works=False):
        fourth = start(store)
        store.training_runs.cancel(fourth)
        wait_until(lambda: not store.training_runs.unannounced())
    assert told == [
        (first, "cancelled"),
        (second, "succeeded"),
        (third, "succeeded"),
        (fourth, "cancelled"),
    ]
    assert "telling of the end of training run 1 failed: ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_of_several_processes_one_tells_of_an_end(store: Store, settings: Settings) -> None:
    told: list[str] = []

    def teller(name: str) -> Callable[[TrainingRun], Awaitable[None]]:
        async def on_end(run: TrainingRun) -> None:
            told.append(f"{name} of {run.id}")
            await asyncio.sleep(1)  # the other one looks meanwhile, twice

        return on_end

    store.training_runs.cancel(start(store))
    with (
        working(store, settings, "result", holder="one", on_end=teller("one"), works=False),
        working(store, settings, "result", holder="other", on_end=teller("other"), works=False),
    ):
        wait_until(lambda: not store.training_runs.unannounced())
    assert len(told) == 1


def test_a_fault_of_the_worker_is_not_its_end(
    store: Store,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim, faults = store.training_runs.claim, iter([ValueError(SECRET)])

    def claim_at_last(*arguments: Any) -> TrainingRun | None:
        if fault := next(faults, None):
            raise fault
        return claim(*arguments)

    monkeypatch.setattr(store.training_runs, "claim", claim_at_last)
    run_id = start(store)
    with working(store, settings, "result"):
        assert ended(store, run_id).state == "succeeded"
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


# Where it trains


@pytest.mark.parametrize(
    ("answer", "device"),
    [
        ("echo 20000", "cuda"),
        ("echo 8192", "cuda"),
        ("echo 8191", "cpu"),
        ("exit 1", "cpu"),
        ("echo '[N/A]'", "cpu"),
    ],
)
def test_auto_takes_the_gpu_only_where_serving_leaves_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, device: str
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{answer}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert training_device("auto") == device
    assert (training_device("cpu"), training_device("cuda")) == ("cpu", "cuda")


# kill -9 of a server


def script_of(*arguments: str) -> list[str]:
    """A `sameask` command of its own process, with children that do as TRAINS says."""
    script = (
        "import functools, app.training_runs.worker as room\n"
        f"room.Worker = functools.partial(room.Worker, command={(*STAND_IN, *TRAINS)})\n"
        "from app.cli.main import main; main()"
    )
    return [sys.executable, "-c", script, *arguments]


def test_a_worker_beside_a_server_takes_runs_from_the_same_queue(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    environment = {**os.environ, "SAMEASK_DATA_DIR": str(settings.data_dir)}
    with (
        FileLock(settings.data_dir / "lock", timeout=0),
        subprocess.Popen(
            script_of("worker"), env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
        ) as worker,
    ):
        run = reached(store, run_id, "training")
        assert str(run.leased_by).startswith(f"worker {worker.pid} at ")
        allow(settings, run_id, "trained", "measured")
        assert ended(store, run_id).state == "succeeded"
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=60)
        assert (worker.returncode, "Traceback" in said) == (0, False)
    assert "training run 1 has ended: succeeded" in said


@contextmanager
def serving(settings: Settings, release: Release, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """`sameask serve` in a process of its own, with children that do as TRAINS says; killed at the end, not asked."""
    values = {"DATA_DIR": settings.data_dir, "RELEASE": release.path, "PORT": port, "DEVICE": "cpu"}
    environment = {
        **os.environ,
        **{f"SAMEASK_{name}": str(value) for name, value in values.items()},
    }
    log = settings.data_dir.with_name("log")
    with log.open("ab") as output:
        process = subprocess.Popen(script_of("serve"), env=environment, cwd=ROOT, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), patience_seconds=300)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_of_the_server_in_every_phase_of_a_run_loses_nothing(
    store: Store, settings: Settings, tiny_release: Release
) -> None:
    port = free_port()
    store.collections.create("faq", 10)
    store.labels.write("faq", [NewLabel(True, "anna", questions=("One?", "Two?"))])
    url = f"http://127.0.0.1:{port}/admin"
    with serving(settings, tiny_release, port):
        first = httpx.post(f"{url}/retrain", json={}).json()["id"]
        second = httpx.post(f"{url}/retrain", json={"collection": "faq"}).json()["id"]
        before = reached(store, first, "training")
    assert child_of(before).is_running()
    with serving(settings, tiny_release, port):
        assert httpx.get(f"{url}/training-runs/{second}").json()["state"] == "queued"
        allow(settings, first, "trained")
        assert reached(store, first, "gate").pid == before.pid  # found again, and not started twice
        allow(settings, first, "measured")
        assert ended(store, first).state == "succeeded"
        reached(store, second, "training")
        allow(settings, second, "trained")
        child = child_of(reached(store, second, "gate"))
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not child.is_running())
    with serving(settings, tiny_release, port):
        assert ended(store, second).state == "interrupted"
        assert httpx.post(f"{url}/training-runs/{second}/resume").status_code == 202
        allow(settings, second, "measured")
        assert ended(store, second).state == "succeeded"
        assert [run["id"] for run in httpx.get(f"{url}/training-runs").json()["training_runs"]] == [
            second,
            first,
        ]


def test_a_run_is_held_against_the_release_that_is_live_when_it_begins(
    store: Store, settings: Settings
) -> None:
    run_id = start(store)
    later = "/releases/made-live-while-it-was-queued"
    with working(store, settings, *TRAINS, champion=lambda: Path(later)):
        run = reached(store, run_id, "training")
        asked = json.loads(
            (settings.data_dir / "training" / str(run_id) / "request.json").read_text()
        )
        assert asked["champion"] == run.request["champion"] == later


def test_a_run_that_is_resumed_is_held_against_the_release_that_it_began_with(
    store: Store, settings: Settings
) -> None:
    """Its checkpoints go on from that."""
    run_id = start(store)
    with working(store, settings, "exit:1", champion=lambda: Path("/releases/first")):
        assert ended(store, run_id).state == "failed"
    store.training_runs.resume(run_id)
    with working(store, settings, "result", champion=lambda: Path("/releases/second")):
        run = ended(store, run_id)
    assert (run.state, run.request["champion"]) == ("succeeded", "/releases/first")
