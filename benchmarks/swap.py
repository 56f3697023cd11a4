"""The cost of a swap to those who ask and write meanwhile, and that of re-embedding, against a real server over HTTP.

    python benchmarks/swap.py --json
    python benchmarks/swap.py --json --releases releases/minilm-quora releases/minilm-base --questions train.tsv.gz

Clients ask, write and delete without pause, each with a collection of its own beside a large one that all ask. After
each of its writes and deletes a client asks for as many candidates as its collection has questions: what it wrote must
be there and what it deleted must not, or the read is wrong. *Idle*: that load with no swap. *Swaps*: the same load
while releases of different dimension take each other's place by turns. *Shadow*: the same load while a release that
has no snapshot embeds the large collection. Without `--releases` two tiny models are built, whose figures say what
the swap itself costs. Latencies are those of `POST /duplicates`, in milliseconds.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np

from app.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.processes import Served, memory_mb, serving
from tests.conftest import publish_release
from tests.tiny_model import build_tiny_model

SEED = 20
MAX_OWN = 8  # questions in a client's own collection
WRITE_BATCH = 500
WORDS = (
    "how",
    "what",
    "where",
    "when",
    "why",
    "can",
    "is",
    "my",
    "the",
    "order",
    "invoice",
    "password",
    "refund",
    "app",
)


@dataclass
class Seen:
    """The observations of the clients: latencies in seconds, failures in words, wrong reads."""

    asked: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def p99_ms(self) -> float:
        """Of the requests to /duplicates."""
        return float(np.percentile(self.asked, 99) * 1000)


class Client:
    """One who asks, writes and deletes until told to stop, and compares what comes back with what it wrote."""

    def __init__(self, number: int, http: httpx.AsyncClient, texts: Sequence[str]) -> None:
        self._collection = f"client-{number}"
        self._http = http
        self._texts = texts
        self._own: dict[str, str] = {}
        self._random = random.Random(SEED + number)
        self._count = 0

    async def begin(self) -> None:
        """Make the collection of its own."""
        (await self._http.put(f"/collections/{self._collection}")).raise_for_status()

    async def work(self, seen: Seen, done: asyncio.Event) -> None:
        while not done.is_set():
            self._count += 1
            try:
                await self._act(seen)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                seen.failed.append(f"{type(error).__name__}: {error}")

    async def _act(self, seen: Seen) -> None:
        chance = self._random.random()
        if chance < 0.6:
            body = {"questions": [f"{self._random.choice(self._texts)} {self._count}"], "top_k": 5}
            await self._timed(seen.asked, "POST", "/duplicates", json=body)
        elif chance < 0.8 and len(self._own) < MAX_OWN:
            id_, text = f"q{self._count}", f"{self._random.choice(self._texts)} {self._count}"
            body = {"collection": self._collection, "questions": [{"id": id_, "text": text}]}
            await self._timed(seen.written, "POST", "/questions", json=body)
            self._own[id_] = text
            await self._check(seen)
        elif self._own:
            id_ = self._random.choice(list(self._own))
            path = f"/questions/{id_}"
            await self._timed(seen.written, "DELETE", path, params={"collection": self._collection})
            del self._own[id_]
            await self._check(seen)

    async def _check(self, seen: Seen) -> None:
        body = {
            "questions": ["anything else"],
            "collection": self._collection,
            "top_k": MAX_OWN + 4,
            "verify": "never",
        }
        answer = await self._timed(seen.asked, "POST", "/duplicates", json=body)
        found = {
            candidate["id"]: candidate["text"] for candidate in answer["results"][0]["candidates"]
        }
        if found != self._own:
            seen.wrong.append(f"{self._collection}: {sorted(found)} instead of {sorted(self._own)}")

    async def _timed(
        self, latencies: list[float], method: str, path: str, **arguments: Any
    ) -> dict[str, Any]:
        started = time.perf_counter()
        response = await self._http.request(method, path, **arguments)
        latencies.append(time.perf_counter() - started)
        response.raise_for_status()
        return dict(response.json())


def main() -> None:
    """Build or take two releases, serve one, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--releases", nargs=2, type=Path, help="the one to begin with, and the other"
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, help="files with question1 and question2"
    )
    parser.add_argument("--limit", type=int, default=4000, help="questions in the large collection")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="of the idle load, and of the load beside a shadow",
    )
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two swaps")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = (
        read_questions(arguments.questions, arguments.limit)
        if arguments.questions
        else _made(arguments.limit)
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        first, second = arguments.releases or _tiny_releases(folder)
        settings = Settings(data_dir=folder / "data", release=first.resolve())
        others = [_trained(settings, second, "second"), _trained(settings, second, "third")]
        with serving(settings) as server:
            report = asyncio.run(_measure(server, texts, arguments, others))
    show(report, as_json=arguments.json)


async def _measure(
    server: Served, texts: Sequence[str], arguments: argparse.Namespace, others: Sequence[str]
) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=arguments.clients + 4)
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as http,
        httpx.AsyncClient(base_url=server.url, timeout=120) as admin,
    ):
        await _fill(http, texts)
        first = (await admin.get("/admin/releases/live")).json()["release"]
        clients = [Client(number, http, texts) for number in range(arguments.clients)]
        for client in clients:
            await client.begin()
        await _load(clients, asyncio.sleep(arguments.seconds / 3))  # warm up
        say("idle")
        idle = await _load(clients, asyncio.sleep(arguments.seconds))
        say("swaps")
        memory: dict[int, float] = {}
        swaps: list[float] = []
        turns = [others[0], first] * arguments.swaps
        swapping = await _load(
            clients, _swap(admin, server, turns[: arguments.swaps], arguments.pause, swaps, memory)
        )
        say("shadow")
        shares: list[float] = []
        shadow = await _load(clients, _shadow(admin, others[1], arguments.seconds, shares))
    seen = (idle, swapping, shadow)
    after_two, after_all = memory[min(2, arguments.swaps)], memory[arguments.swaps]
    return {
        "clients": arguments.clients,
        "questions": len(texts),
        "swaps": arguments.swaps,
        "failed_requests": sum(len(of.failed) for of in seen),
        "wrong_reads": sum(len(of.wrong) for of in seen),
        "requests": sum(len(of.asked) + len(of.written) for of in seen),
        "p99_ms": swapping.p99_ms(),
        "idle_p99_ms": idle.p99_ms(),
        "p99_ratio": swapping.p99_ms() / idle.p99_ms(),
        "longest_ms": max(swapping.asked) * 1000,
        "seconds_a_swap": float(np.median(swaps)),
        "memory_mb_after_2": after_two,
        "memory_mb_after_all": after_all,
        "memory_ratio": after_all / after_two,
        "shadow_p99_ms": shadow.p99_ms(),
        "shadow_p99_ratio": shadow.p99_ms() / idle.p99_ms(),
        "shadow_indexed_share": shares,
        "faults": [*(words for of in seen for words in (*of.failed, *of.wrong))][:10],
    }


async def _load(clients: Sequence[Client], meanwhile: Any) -> Seen:
    """The observations of the clients while something else goes on."""
    seen, done = Seen(), asyncio.Event()
    tasks = [asyncio.create_task(client.work(seen, done)) for client in clients]
    try:
        await meanwhile
    finally:
        done.set()
        await asyncio.gather(*tasks)
    return seen


async def _swap(
    http: httpx.AsyncClient,
    server: Served,
    names: Sequence[str],
    pause: float,
    seconds: list[float],
    memory: dict[int, float],
) -> None:
    """Make one release after the other live; every second one is a rollback by its route."""
    for number, name in enumerate(names, 1):
        started = time.perf_counter()
        if number % 2:
            response = await http.put(
                "/admin/releases/live", json={"release": name, "reason": "a benchmark"}
            )
        else:
            response = await http.post("/admin/releases/live/rollback", json={})
        response.raise_for_status()
        while (live := (await http.get("/admin/releases/live")).json())["swap"] or live[
            "release"
        ] != name:
            if live["swap"] and live["swap"]["failure"]:
                raise SystemExit(live["swap"]["failure"])
            await asyncio.sleep(0.05)
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(pause)
        memory[number] = memory_mb(server.pid, "VmRSS")


async def _shadow(http: httpx.AsyncClient, name: str, seconds: float, shares: list[float]) -> None:
    """Let a release embed everything beside the live one, for so long or until it is done; how far it came."""
    until = time.perf_counter() + seconds
    (await http.put("/admin/releases/shadow", json={"release": name})).raise_for_status()
    while time.perf_counter() < until:
        progress = (await http.get("/admin/releases/shadow")).json()
        if progress["phase"] == "ready":
            break
        await asyncio.sleep(0.2)
    shares.append(progress["questions_indexed"] / max(progress["questions"], 1))
    (await http.delete("/admin/releases/shadow")).raise_for_status()


async def _fill(http: httpx.AsyncClient, texts: Sequence[str]) -> None:
    for start in range(0, len(texts), WRITE_BATCH):
        chunk = enumerate(texts[start : start + WRITE_BATCH], start)
        questions = [{"id": str(number), "text": text} for number, text in chunk]
        (await http.post("/questions", json={"questions": questions})).raise_for_status()


def _made(count: int) -> list[str]:
    chosen = random.Random(SEED)
    return [" ".join(chosen.choices(WORDS, k=10)) + f" {number}?" for number in range(count)]


def _tiny_releases(folder: Path) -> tuple[Path, Path]:
    models = [build_tiny_model(folder / f"model-{d}", dimension=d, seed=d) for d in (32, 48)]
    first, second = (
        publish_release(folder / f"tiny-{d}", model, d).path
        for d, model in zip((32, 48), models, strict=True)
    )
    return first, second


def _trained(settings: Settings, release: Path, name: str) -> str:
    """A copy of a release under another name, where trained ones stand."""
    folder = settings.data_dir / "releases" / name
    shutil.copytree(release, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": name}), "utf-8")
    return name


if __name__ == "__main__":
    main()
