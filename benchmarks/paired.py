"""Two checkouts of the service side by side: time to ready, resident memory, requests, mining and a swap, in turns.

    python benchmarks/paired.py --before ../sameask-before --after .

Each checkout has its own environment in `.venv` and its own data directory with the same questions. A round starts
each checkout once, in turn, and measures; every other round begins with the other one. A figure's ratio is that of
after and before within a round, so that above 1 the later one does more work in a second. The table has the median of
the ratios and a 95 % interval of it over resampled rounds (bootstrap). The cache of embeddings is off. Interrupted, it
prints the rounds that are whole.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say
from benchmarks.load import Asking, by_wrk
from benchmarks.processes import free_port, memory_mb, started

ROOT = Path(__file__).parent.parent
SEED = 20
RESAMPLES = 5000
PROGRAM = "from app.cli{main} import main; main()"
OTHER_RELEASE = "minilm-base"  # swapped in and out again
LOADS = (("never", 1), ("never", 16), ("auto", 1), ("auto", 16))  # verify, connections

Figures = dict[str, float]


def main() -> None:
    """Fill two data directories, measure in turns, print the ratios."""
    arguments = _arguments()
    checkouts = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    texts = read_questions(arguments.questions, arguments.limit)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = folder / "questions.txt"
        lines.write_text("".join(json.dumps(text)[1:-1] + "\n" for text in texts), "utf-8")
        table = folder / "questions.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
        for side, checkout in checkouts.items():
            say(f"{side}: {len(texts):,} questions are imported")
            _run(checkout, _environment(folder / side, arguments), "import", str(table))
            other = folder / side / "releases" / OTHER_RELEASE
            shutil.copytree(arguments.before / "releases" / OTHER_RELEASE, other)
        rounds: list[dict[str, Figures]] = []
        with suppress(KeyboardInterrupt):
            for number in range(arguments.rounds):
                order = ("before", "after") if number % 2 == 0 else ("after", "before")
                measured = {}
                for side in order:
                    say(f"round {number + 1}: {side}")
                    environment = _environment(folder / side, arguments)
                    measured[side] = _measure(
                        checkouts[side], environment, table, lines, number, arguments.seconds
                    )
                rounds.append(measured)
    if rounds:
        _print(rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="a checkout")
    parser.add_argument("--after", type=Path, default=ROOT, help="another")
    parser.add_argument(
        "--release", type=Path, help="of both; else the earlier checkout's minilm-quora"
    )
    parser.add_argument("--backend", default="torch", help="of both")
    parser.add_argument(
        "--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    return parser.parse_args()


def _environment(data: Path, arguments: argparse.Namespace) -> dict[str, str]:
    release = arguments.release or arguments.before / "releases" / "minilm-quora"
    return {
        "SAMEASK_DATA_DIR": str(data),
        "SAMEASK_RELEASE": str(release.resolve()),
        "SAMEASK_BACKEND": arguments.backend,
        "SAMEASK_HOST": "127.0.0.1",
        "SAMEASK_MAX_CACHED_EMBEDDINGS": "0",
        "HF_HUB_OFFLINE": "1",
    }


def _command(checkout: Path, *arguments: str) -> list[str]:
    """The command of a checkout, wherever its entry point lies."""
    is_folder = (checkout / "app" / "cli" / "main.py").exists()
    program = PROGRAM.format(main=".main" if is_folder else "")
    return [str(checkout / ".venv" / "bin" / "python"), "-c", program, *arguments]


def _run(checkout: Path, environment: Mapping[str, str], *arguments: str) -> float:
    """Run a command to its end; the seconds that it took."""
    begun = time.perf_counter()
    subprocess.run(
        _command(checkout, *arguments),
        cwd=checkout,
        env=os.environ | environment,
        check=True,
        stdout=sys.stderr,
    )
    return time.perf_counter() - begun


def _measure(
    checkout: Path,
    environment: Mapping[str, str],
    table: Path,
    lines: Path,
    number: int,
    seconds: int,
) -> Figures:
    """The figures of one start; of all, more is better."""
    port = free_port()
    begun = time.perf_counter()
    serve = _command(checkout, "serve")
    given = {**environment, "SAMEASK_PORT": str(port)}
    figures: Figures = {}
    with started(serve, port, "/readyz", given, checkout) as server:
        figures["starts a second, until ready"] = 1 / (time.perf_counter() - begun)
        for verify, connections in LOADS:
            asking = Asking(
                f"{server.url}/duplicates", '{"questions": ["', f'"], "verify": "{verify}"}}'
            )
            by_wrk(asking, lines, connections, 1, 1000 + number)
            load = by_wrk(asking, lines, connections, seconds, number)
            name = f"requests a second, verify {verify}, {connections} connections"
            figures[name] = load.requests_per_second
        figures["inverse of resident memory"] = 1 / memory_mb(server.pid, "VmRSS")
        figures["swaps a second, there and back"] = 1 / _swap(server.url)
    mined = table.with_name("mined.ndjson")
    figures["minings a second"] = 1 / _run(
        checkout, environment, "mine", str(table), "--out", str(mined), "--overwrite"
    )
    return figures


def _swap(url: str) -> float:
    """Seconds until another release is live, and the first one again."""
    with httpx.Client(base_url=url, timeout=60) as client:
        first = client.get("/admin/releases/live").raise_for_status().json()["release"]
        begun = time.perf_counter()
        for name in (OTHER_RELEASE, first):
            body = {"release": name, "reason": "a benchmark"}
            client.put("/admin/releases/live", json=body).raise_for_status()
            while True:
                live = client.get("/admin/releases/live").json()
                if live["release"] == name and live["swap"] is None:
                    break
                time.sleep(0.02)
        return time.perf_counter() - begun


def _print(rounds: list[dict[str, Figures]]) -> None:
    print(
        f"{len(rounds)} rounds\n\n| after / before, more is better | median | 95 % |\n|---|---|---|"
    )
    chances = np.random.default_rng(SEED)
    for name in rounds[0]["after"]:
        ratios = np.array([of["after"][name] / of["before"][name] for of in rounds])
        drawn = ratios[chances.integers(0, len(ratios), (RESAMPLES, len(ratios)))]
        low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
        print(f"| {name} | {median(ratios):.3f} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    main()
