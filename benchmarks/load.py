"""Requests with one question each, sent to a server in three ways: by wrk, one at a time, and at a fixed rate.

wrk (https://github.com/wg/wrk) asks over so many connections, each asking again as soon as it is answered, in a
process of its own. Its percentiles are corrected for the requests that a slow answer held back.
"""

import asyncio
import json
import math
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

SCRIPT = Path(__file__).with_name("ask.lua")
TRIVIAL = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
REFUSED = b"429"
ENCODER = re.compile(rb"\bencode;dur=([\d.]+)")


@dataclass(frozen=True)
class Asking:
    """Where a question is sent, and the JSON before and after its text."""

    url: str
    before: str
    after: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    def body(self, text: str) -> bytes:
        """JSON that asks one question."""
        return (self.before + json.dumps(text)[1:-1] + self.after).encode()

    def request(self, text: str) -> bytes:
        """The bytes of one request."""
        body = self.body(text)
        lines = (
            f"POST {urlsplit(self.url).path} HTTP/1.1",
            f"Host: {self.address[0]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join((*lines, "", "")).encode() + body


@dataclass(frozen=True)
class Load:
    """The figures of one server under wrk; refused requests (4xx, 5xx) are not counted as done.

    Latencies are in milliseconds, infinite where nothing was answered in all of the time.
    """

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


@dataclass(frozen=True)
class Timed:
    """One request, in milliseconds: until its answer was read, infinite if it was refused (429), and what its encoder
    phase took of it."""

    milliseconds: float
    encoder_milliseconds: float


def by_wrk(
    asking: Asking, questions: Path, connections: int, seconds: int, part: int, pool: int = 0
) -> Load:
    """Ask for so many seconds; the same part asks the same. With a pool, one of so many questions each time.

    `questions` has a question a line, as JSON writes it without its quotes.
    """
    said = subprocess.run(
        _wrk(asking, questions, connections, seconds, part, pool),
        check=True,
        capture_output=True,
        text=True,
    )
    return _load(asking, said.stdout)


def one_at_a_time(asking: Asking, texts: Sequence[str]) -> list[Timed]:
    """Ask one after the other over one connection, by a blocking socket: the least a client can add."""
    timed = []
    with (
        socket.create_connection(asking.address) as connection,
        connection.makefile("rb") as answers,
    ):
        for request in map(asking.request, texts):
            started = time.perf_counter()
            connection.sendall(request)
            head = b"".join(iter(answers.readline, b"\r\n"))
            answers.read(_length(head))
            timed.append(_timed(started, head))
    return timed


def at_rate(asking: Asking, texts: Sequence[str], per_second: float) -> list[Timed]:
    """Ask at a fixed rate, whether or not what was asked before is answered; timed from when each was due."""
    return uvloop.run(_at_rate(asking, texts, per_second))


def ceiling(questions: Path, seconds: int) -> float:
    """Requests a second of wrk against a server that reads nothing and always answers the same."""
    return uvloop.run(_ceiling(questions, seconds))


def _wrk(
    asking: Asking, questions: Path, connections: int, seconds: int, part: int, pool: int
) -> list[str]:
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk, or https://github.com/wg/wrk")
    options = [
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "60s",
        "-s",
        str(SCRIPT),
        asking.url,
    ]
    return [
        "wrk",
        *options,
        "--",
        str(questions),
        str(part),
        str(pool),
        asking.before,
        asking.after,
    ]


def _load(asking: Asking, said: str) -> Load:
    figures = json.loads(said.splitlines()[-1])
    if figures["broken"]:
        raise SystemExit(f"{asking.url}: {figures['broken']} requests were not answered")
    done = figures["requests"] - figures["refused"]
    p50, p99 = (figures[name] if figures["requests"] else math.inf for name in ("p50_ms", "p99_ms"))
    return Load(done / figures["seconds"], p50, p99, figures["refused"])


async def _at_rate(asking: Asking, texts: Sequence[str], per_second: float) -> list[Timed]:
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(request: bytes, due: float) -> Timed:
        connection = idle.pop() if idle else await asyncio.open_connection(*asking.address)
        connection[1].write(request)
        head = await connection[0].readuntil(b"\r\n\r\n")
        await connection[0].readexactly(_length(head))
        idle.append(connection)
        return _timed(due, head)

    start = time.perf_counter()
    asked = []
    for number, request in enumerate(map(asking.request, texts)):
        due = start + number / per_second
        await asyncio.sleep(due - time.perf_counter())
        asked.append(asyncio.create_task(ask(request, due)))
    timed = await asyncio.gather(*asked)
    for _, writer in idle:
        writer.close()
    return timed


async def _ceiling(questions: Path, seconds: int) -> float:
    server = await asyncio.get_running_loop().create_server(_Trivial, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asking = Asking(f"http://127.0.0.1:{port}/", '{"questions": ["', '"]}')
    async with server:
        wrk = await asyncio.create_subprocess_exec(
            *_wrk(asking, questions, 64, seconds, 0, 0), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await wrk.communicate()
    return _load(asking, said.decode()).requests_per_second


class _Trivial(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._transport.write(TRIVIAL)


def _length(head: bytes) -> int:
    """Of the body; exits unless the answer is 200, or 429."""
    length = LENGTH.search(head)
    if not length or _status(head) not in (b"200", REFUSED):
        raise SystemExit(f"answered {head.decode(errors='replace')}")
    return int(length[1])


def _status(head: bytes) -> bytes:
    return head.split(maxsplit=2)[1]


def _timed(started: float, head: bytes) -> Timed:
    if _status(head) == REFUSED:
        return Timed(math.inf, 0.0)
    encoder = ENCODER.search(head)
    return Timed((time.perf_counter() - started) * 1000, float(encoder[1]) if encoder else 0.0)
