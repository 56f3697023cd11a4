"""Thousands of idle connections, and clients that vanish, against a real server process."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.engine.release import Release
from tests.serving import free_port

IDLE = 2000
VANISHING = 200
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tiny_release: Release
) -> Iterator[tuple[int, int, Path]]:
    """A `sameask serve` of its own: its port, its process, and the file of what it says."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    environment = os.environ | {
        "SAMEASK_PORT": str(port),
        "SAMEASK_DATA_DIR": str(folder / "data"),
        "SAMEASK_RELEASE": str(tiny_release.path),
        "SAMEASK_DEVICE": "cpu",
    }
    said = folder / "said.txt"
    command = [sys.executable, "-c", "from app.cli.main import main; main()", "serve"]
    with (
        said.open("w") as file,
        subprocess.Popen(command, env=environment, stderr=file, stdout=file) as process,
    ):
        wait_until(lambda: is_ready(port))
        yield port, process.pid, said
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_idle_and_half_spoken_connections_keep_nobody_waiting(
    server: tuple[int, int, Path],
) -> None:
    port, pid, _ = server
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, IDLE + 500), hard), hard))
    before = open_sockets(pid)
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE)]
    try:
        for connection in connections[::2]:
            connection.sendall(
                b"POST /duplicates HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 100\r\n\r\n{"
            )
        wait_until(lambda: open_sockets(pid) >= IDLE)  # what was open before may be closed by now
        assert_answers(port, "asked beside idle connections")
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: open_sockets(pid) <= before + 5)
    assert_answers(port, "asked after idle connections")


@pytest.mark.parametrize("vanish", ["in the body", "after asking"])
def test_clients_that_vanish_harm_nobody(server: tuple[int, int, Path], vanish: str) -> None:
    port, pid, said = server
    before = open_sockets(pid)
    for i in range(VANISHING):
        body = json.dumps({"questions": [f"does client {i} wait for this?"]}).encode()
        sent = request("/duplicates", body)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent[: -len(body) // 2] if vanish == "in the body" else sent)
    assert_answers(port, f"asked after clients that vanished {vanish}")
    wait_until(lambda: open_sockets(pid) <= before + 5)
    assert "Traceback" not in said.read_text("utf-8")


def test_a_write_whose_client_vanished_is_there_and_indexed_or_not_there_at_all(
    server: tuple[int, int, Path],
) -> None:
    port, _, said = server
    for i in range(VANISHING):
        body = json.dumps(
            {"questions": [{"id": f"v{i}", "text": f"{i} vanished while writing"}]}
        ).encode()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request("/questions", body))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        assert_answers(port, "written after clients that vanished")  # behind what they left
        page = client.get("/questions", params={"limit": 1000}).json()["questions"]
        there = {
            question["id"]: question["text"] for question in page if question["id"].startswith("v")
        }
        assert (
            there.items()
            <= {f"v{i}": f"{i} vanished while writing" for i in range(VANISHING)}.items()
        )
        readiness = client.get("/readyz").json()
        assert readiness["questions_indexed"] == readiness["questions"] == len(page)
    assert "Traceback" not in said.read_text("utf-8")


def assert_answers(port: int, text: str) -> None:
    """The server is alive, takes a write, and knows it in the next answer."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
        assert client.get("/livez").json() == {"status": "alive"}
        written = client.post("/questions", json={"questions": [{"id": text, "text": text}]})
        assert written.status_code == 200
        found = client.post("/duplicates", json={"questions": [f"{text}!"], "top_k": 1}).json()
        assert [candidate["id"] for candidate in found["results"][0]["candidates"]] == [text]


def request(path: str, body: bytes) -> bytes:
    """A whole HTTP request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: [::1]\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def open_sockets(pid: int) -> int:
    """How many sockets a process holds open."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def is_ready(port: int) -> bool:
    """Whether a server answers there, and is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail when it does not in a minute."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
