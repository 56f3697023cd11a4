"""Memory of a server under mixed load for a long time: asks, writes, deletes and pair scores of 1 to 400 words.

    python benchmarks/soak.py --minutes 20 --json

Clients work without pause, each on questions of its own beside those that are there. Resident memory is noted all the
time; what counts is the last of it over that after a quarter of the time, when models, caches and pools are warm.
Exits with 1 where it has grown by more than 5 %, or a request has failed.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from app.engine.models.openvino import versions
from app.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.processes import Served, memory_mb, serving
from benchmarks.servers import fill

ROOT = Path(__file__).parent.parent
SEED = 20
MAX_WORDS = 400
MAX_OWN = 50  # questions of one client that are stored at once
MAX_GROWTH = 1.05
NOTES = 120  # of the resident memory, over the whole time
SHARES = {"ask": 60, "score": 15, "write": 15, "delete": 10}


class Client:
    """One who asks, scores, writes and deletes until the time is over."""

    def __init__(self, number: int, http: httpx.AsyncClient, words: Sequence[str]) -> None:
        self._number = number
        self._http = http
        self._words = words
        self._own: list[str] = []
        self._random = random.Random(SEED + number)
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    async def work(self, until: float) -> None:
        """Act without pause; a refusal (429) is waited out, anything else but success is a failure."""
        while time.monotonic() < until:
            action = self._random.choices(list(SHARES), list(SHARES.values()))[0]
            try:
                response = await self._act(action)
            except httpx.HTTPError as error:
                self.failed.append(f"{action}: {type(error).__name__}: {error}")
                continue
            if response.status_code == 429:
                self.done["refused"] += 1
                await asyncio.sleep(0.1)
            elif response.is_error:
                self.failed.append(f"{action}: {response.status_code}")
            else:
                self.done[action] += 1

    async def _act(self, action: str) -> httpx.Response:
        if action == "score":
            pair = {"question1": self._text(), "question2": self._text()}
            return await self._http.post("/pair-score", json={"pairs": [pair]})
        if action == "write" and len(self._own) < MAX_OWN:
            return await self._write()
        if action != "ask" and self._own:
            return await self._http.delete(f"/questions/{self._own.pop(0)}")
        count = self._random.choice((1, 1, 1, 10))
        return await self._http.post(
            "/duplicates", json={"questions": [self._text() for _ in range(count)]}
        )

    async def _write(self) -> httpx.Response:
        name = f"client-{self._number}-{self._random.getrandbits(60)}"
        response = await self._http.post(
            "/questions", json={"questions": [{"id": name, "text": self._text()}]}
        )
        if response.is_success:
            self._own.append(name)
        return response

    def _text(self) -> str:
        """Of 1 to 400 words, short ones as often as ten times as long ones."""
        length = round(MAX_WORDS ** self._random.random())
        return " ".join(self._random.choices(self._words, k=length))


def main() -> None:
    """Serve, load, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-questions-2")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = read_questions(arguments.questions, arguments.limit)
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "data", release=arguments.release.resolve())
        fill(settings, texts, Path(folder))
        with serving(settings) as server:
            report = asyncio.run(_soak(server, texts, arguments))
    show({"questions": len(texts), **versions(), **report}, as_json=arguments.json)
    if report["growth"] > MAX_GROWTH or report["failed"]:
        raise SystemExit(1)


async def _soak(
    server: Served, texts: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Work for so many minutes; what was done, and the memory of the server over the time."""
    words = sorted({word for text in texts for word in text.split()})
    until = time.monotonic() + arguments.minutes * 60
    # The server closes what was idle for 5 s: a client that trusts such a connection at that moment finds it closed.
    limits = httpx.Limits(max_connections=arguments.clients, keepalive_expiry=2.0)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http:
        clients = [Client(number, http, words) for number in range(arguments.clients)]
        noting = asyncio.create_task(_note(server.pid, until))
        await asyncio.gather(*(client.work(until) for client in clients))
        resident = await noting
    quarter, end = median(resident[len(resident) // 4 :][:3]), median(resident[-3:])
    failed = [words for client in clients for words in client.failed]
    return {
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        "done": dict(sum((client.done for client in clients), Counter())),
        "failed": len(failed),
        "failures": failed[:10],
        "resident_mb_after_a_quarter": quarter,
        "resident_mb_at_the_end": end,
        "growth": end / quarter,
        "resident_mb": [round(of) for of in resident[:: max(1, len(resident) // 20)]],
    }


async def _note(pid: int, until: float) -> list[float]:
    """The resident memory, in MB, at equal intervals."""
    interval = (until - time.monotonic()) / NOTES
    resident = []
    while time.monotonic() < until:
        await asyncio.sleep(interval)
        resident.append(memory_mb(pid, "VmRSS"))
        if len(resident) % (NOTES // 10) == 0:
            say(f"{resident[-1]:,.0f} MB")
    return resident


if __name__ == "__main__":
    main()
