"""A `sameask serve` of its own process, and the endpoint that its webhook calls."""

import base64
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.record.project import HERE, Project

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 600.0
PAUSE_SECONDS = 0.05
START = (
    "import pkgutil, sys; sys.argv = ['sameask', 'serve']; pkgutil.resolve_name('{entry_point}')()"
)
SECRET_KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(SECRET_KEY).decode()}\n"
SETTINGS: dict[str, object] = {
    "data_dir": f"{HERE}/data",
    "release": f"{HERE}/releases/first",
    "elsewhere": f"{HERE}/elsewhere.tsv",
    "device": "cpu",
    "training_device": "cpu",
    "backend": "torch",
}


@dataclass
class Event:
    """A request of the webhook."""

    path: str
    headers: dict[str, str]
    body: bytes

    def is_signed(self) -> bool:
        """Whether its signature is right."""
        content = b".".join(
            (
                self.headers["webhook-id"].encode(),
                self.headers["webhook-timestamp"].encode(),
                self.body,
            )
        )
        signature = base64.b64encode(hmac.digest(SECRET_KEY, content, hashlib.sha256)).decode()
        return self.headers["webhook-signature"] == f"v1,{signature}"


@dataclass
class Endpoint:
    """Where the webhook's requests arrive."""

    port: int
    events: list[Event] = field(default_factory=list)

    def wait_for(self, count: int) -> list[Event]:
        """The requests, once there are so many."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.events) < count and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        return list(self.events)

    def settings(self, folder: Path) -> dict[str, object]:
        """The settings by which a server calls this endpoint; writes the secret into the folder."""
        secret = folder / "secret"
        secret.write_text(SECRET, "ascii")
        return {
            "webhook_url": f"http://{LOOPBACK}:{self.port}/hook?token=t",
            "webhook_secret_file": secret,
            "webhook_allowed_hosts": LOOPBACK,
            "webhook_allow_private": f"{LOOPBACK}/32",
        }


@contextmanager
def listening() -> Iterator[Endpoint]:
    """An endpoint that takes every event."""
    endpoint = Endpoint(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(204)
            self.end_headers()
            endpoint.events.append(Event(self.path, headers, body))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    endpoint.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Server:
    """A server in a folder that holds `releases/first` and `data`."""

    def __init__(self, project: Project, folder: Path, settings: dict[str, object]) -> None:
        """Starts it; `is_ready` or `wait` says when it answers. It writes its log to `log` in the folder."""
        self.port = _free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.log = folder / "log"
        environment = project.environment({**SETTINGS, "port": self.port, **settings})
        command = [sys.executable, "-c", START.format(entry_point=project.entry_point)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=output
            )

    def wait(self) -> None:
        """Return when it is ready. Raises RuntimeError with its log when it is not."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready:\n{self.log.read_text('utf-8')}")
            time.sleep(PAUSE_SECONDS)

    def children(self) -> list[int]:
        """The numbers of its child processes."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(number) for task in tasks for number in task.read_text().split()]

    def stop(self) -> None:
        """End it in order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(project: Project, folder: Path, settings: dict[str, object]) -> Iterator[Server]:
    """A server, ready; killed at the end unless it was ended before."""
    server = Server(project, folder, settings)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def event_record(event: Event) -> dict[str, Any]:
    """An event as it is recorded."""
    names = ("content-type", "user-agent", "webhook-id", "webhook-timestamp")
    headers = {name: event.headers.get(name) for name in names}
    return {
        "path": event.path,
        "headers": headers,
        "is_signed": event.is_signed(),
        "body": json.loads(event.body),
    }


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as free:
        return int(free.getsockname()[1])
