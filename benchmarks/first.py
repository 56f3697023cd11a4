"""`POST /duplicates` beside a plain FastAPI + sentence-transformers + FAISS server, over HTTP, in one run.

Both serve the same weights (all-MiniLM-L6-v2) and the same questions, each in a process of its own; both are up
all the time and only one is asked at a time, in rounds that take turns. Both are asked the same sequence, one
question a request: stored questions drawn with a fixed seed and given a running number, so that none is stored
word for word and none is asked of one server twice. The load comes from this process and takes its share of the
machine: the same for each request to either server, so it hides a part of what the faster one gains.
"""

import asyncio
import itertools
import json
import operator
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from app.engine.release import find_base
from app.engine.table import read_rows

ROOT = Path(__file__).parent.parent
MODEL = "all-MiniLM-L6-v2"
SEED = 20
WARM_UP_SECONDS = 3.0
START_SECONDS = 600  # a server may take this long to start
WRITE_BATCH = 500
QUIET = {"TQDM_DISABLE": "1"}  # no progress bars
SAMPLE = 50  # questions whose answers are compared
MAX_DIFFERENCE = 1e-4  # of two similarities that are the same

Question = dict[str, str]


@dataclass(frozen=True)
class Round:
    """What one server did in one round; latencies in milliseconds, until the answer is read."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def main(
    questions: Annotated[
        Path, typer.Option(help="CSV or TSV with the columns id and text.", exists=True, dir_okay=False)
    ] = ROOT / "examples" / "questions.csv",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds in one round.")] = 8.0,
    connections: Annotated[int, typer.Option(min=1)] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure POST /duplicates beside a plain server."""
    corpus = _read(questions)
    texts = [question["text"] for question in corpus]
    with _both_servers(corpus) as urls:
        agreement = _compare(urls, list(itertools.islice(_sequence(texts, 0), SAMPLE)))
        for url in urls.values():
            asyncio.run(_measure(url, _sequence(texts, 1), WARM_UP_SECONDS, connections))
        measured: dict[str, list[Round]] = {name: [] for name in urls}
        for number in range(rounds):
            for name in list(urls)[:: -1 if number % 2 else 1]:  # who is asked first takes turns too
                sequence = _sequence(texts, 2 + number)
                measured[name].append(asyncio.run(_measure(urls[name], sequence, seconds, connections)))
    report = {
        "questions": len(corpus),
        "connections": connections,
        "rounds": rounds,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "servers": {name: _summary(of) for name, of in measured.items()},
        "ratio": _ratio(*measured.values()),
        "agreement": agreement,
    }
    print(json.dumps(report, indent=2) if as_json else _table(report))


# The servers


@contextmanager
def _both_servers(corpus: list[Question]) -> Iterator[dict[str, str]]:
    """Both at work with the corpus: name -> URL."""
    ports = _free_ports(2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "questions.json"
        file.write_text(json.dumps(corpus), "utf-8")
        settings = {
            "SAMEASK_HOST": "127.0.0.1",
            "SAMEASK_PORT": str(ports[0]),
            "SAMEASK_DATA_DIR": str(folder / "data"),
        }
        sameask = [str(Path(sys.executable).with_name("sameask")), "serve"]
        plain = [str(Path(__file__).with_name("plain_server.py")), str(find_base(MODEL)), str(file), str(ports[1])]
        urls = {
            "sameask": stack.enter_context(_server(sameask, ports[0], "/readyz", settings)),
            "plain": stack.enter_context(_server([sys.executable, *plain], ports[1], "/openapi.json", QUIET)),
        }
        for start in range(0, len(corpus), WRITE_BATCH):
            body = {"questions": corpus[start : start + WRITE_BATCH]}
            _checked(httpx.post(f"{urls['sameask']}/questions", json=body, timeout=600))
        yield urls


@contextmanager
def _server(command: list[str], port: int, ready: str, environment: dict[str, str]) -> Iterator[str]:
    """A child process that answers 200 at the path `ready`; its URL."""
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url + ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} did not start (exit code {process.returncode})")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


# The load


def _read(file: Path) -> list[Question]:
    rows = list(read_rows(file, ("id", "text")))
    if broken := next((row for row in rows if row.error), None):
        raise SystemExit(f"{file}:{broken.line}: {broken.error}")
    return [{"id": row.values[0], "text": row.values[1]} for row in rows]


def _sequence(texts: list[str], part: int) -> Iterator[str]:
    """An endless sequence of questions, the same for the same part; none of them is stored word for word."""
    draw = random.Random(SEED + part)
    return (f"{draw.choice(texts)} {number}" for number in itertools.count(part * 1_000_000))


async def _measure(url: str, sequence: Iterator[str], seconds: float, connections: int) -> Round:
    """Ask for so many seconds over so many connections, each asking again as soon as it is answered."""
    latencies: list[float] = []
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        start = time.perf_counter()

        async def ask() -> None:
            while (asked := time.perf_counter()) < start + seconds:
                _checked(await client.post("/duplicates", json={"questions": [next(sequence)]}))
                latencies.append(time.perf_counter() - asked)

        await asyncio.gather(*(ask() for _ in range(connections)))
        elapsed = time.perf_counter() - start
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return Round(len(latencies) / elapsed, float(p50), float(p99))


def _checked(response: httpx.Response) -> httpx.Response:
    if response.status_code != 200:
        raise RuntimeError(f"{response.url} answered {response.status_code}: {response.text}")
    return response


# The figures


def _compare(urls: dict[str, str], sample: list[str]) -> dict[str, float]:
    """Ask both servers the sample; their first candidates must be the same, by id and similarity."""
    greatest = 0.0
    with httpx.Client(timeout=60) as client:
        for text in sample:
            ours, plain = (_first(client, url, text) for url in urls.values())
            greatest = max(greatest, difference := abs(ours["similarity"] - plain["similarity"]))
            if ours["id"] != plain["id"] or difference > MAX_DIFFERENCE:
                raise SystemExit(f"the servers disagree on {text!r}:\n  {ours}\n  {plain}")
    return {"questions": len(sample), "greatest_difference": greatest}


def _first(client: httpx.Client, url: str, text: str) -> dict[str, Any]:
    answer = _checked(client.post(f"{url}/duplicates", json={"questions": [text]}))
    return dict(answer.json()["results"][0]["candidates"][0])


def _summary(rounds: list[Round]) -> dict[str, Any]:
    """Medians over the rounds, and the rounds."""
    each = [asdict(one) for one in rounds]
    return {**{name: median(one[name] for one in each) for name in each[0]}, "rounds": each}


def _ratio(ours: list[Round], plain: list[Round]) -> dict[str, float]:
    """Requests a second, ours to the plain server's: of the medians, and the extremes over pairs of rounds."""
    pairs = [a.requests_per_second / b.requests_per_second for a, b in zip(ours, plain, strict=True)]
    medians = (median(one.requests_per_second for one in rounds) for rounds in (ours, plain))
    return {"median": operator.truediv(*medians), "min": min(pairs), "max": max(pairs)}


def _table(report: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {s['requests_per_second']:.1f} | {s['p50_ms']:.1f} | {s['p99_ms']:.1f} |"
        for name, s in report["servers"].items()
    ]
    agreement, ratio = report["agreement"], report["ratio"]
    return "\n".join(
        [
            f"{report['questions']:,} stored questions, {report['connections']} connections, {report['cores']} cores;"
            f" medians of {report['rounds']} rounds of {report['seconds']:g} s",
            "",
            "| server | requests/s | p50 ms | p99 ms |",
            "|---|---|---|---|",
            *rows,
            "",
            f"ratio {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f} over pairs of rounds)",
            f"both give the same first candidate for {agreement['questions']} of {agreement['questions']} questions;"
            f" greatest difference of similarity {agreement['greatest_difference']:.1e}",
        ]
    )


if __name__ == "__main__":
    typer.run(main)
