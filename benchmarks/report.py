"""Every benchmark, one after the other, its tables put between its markers in docs/performance.md.

    python benchmarks/report.py                                  # the example corpus: small, for a first look
    python benchmarks/report.py --questions train.tsv.gz dev.tsv --pairs dev.tsv --keep /tmp/bench
    python benchmarks/report.py --only start --questions train.tsv.gz
    python benchmarks/report.py --put serve < tables.md          # what serve.py printed, measured elsewhere

What stands outside of the markers is written by hand and stays. A benchmark that fails leaves its tables as they were,
and the others are still run; the exit code then says so.
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
SEMHASH = ROOT / ".venv" / "peers" / "semhash"
EXAMPLE = ROOT / "examples" / "questions.csv"
NAMES = ("encode", "serve", "index", "mine", "start", "retrieval", "gpu")
LARGE = ("retrieval",)  # needs labelled pairs, which the example corpus lacks


def main() -> None:
    """Run what is asked for, renew the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        type=Path,
        default=[EXAMPLE],
        help="files of questions or of pairs",
    )
    parser.add_argument("--pairs", type=Path, help="file of labelled pairs, for retrieval")
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--keep", type=Path, help="folder that keeps what is made of the questions")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument(
        "--put", choices=NAMES, help="run nothing: take these tables from standard input"
    )
    arguments = parser.parse_args()
    if arguments.put:
        _put(arguments.put, sys.stdin.read().strip())
        return
    failed = [
        name for name in arguments.only if _can(name, arguments) and not _renew(name, arguments)
    ]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _can(name: str, arguments: argparse.Namespace) -> bool:
    """Whether there is what the benchmark needs."""
    return bool(arguments.pairs) if name in LARGE else name != "gpu" or torch.cuda.is_available()


def _renew(name: str, arguments: argparse.Namespace) -> bool:
    """Run a benchmark, print its tables and put them on the page; whether it succeeded."""
    command = [
        sys.executable,
        str(Path(__file__).with_name(f"{name}.py")),
        *_options(name, arguments),
    ]
    print(f"## {name}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode == 0:
        _put(name, done.stdout.strip())
    return done.returncode == 0


def _options(name: str, arguments: argparse.Namespace) -> list[str]:
    options = ["--questions", *map(str, arguments.questions)]
    if arguments.limit:
        options += ["--limit", str(arguments.limit)]
    if arguments.keep and name in ("serve", "start", "mine"):
        options += ["--keep", str(arguments.keep / ("mine" if name == "mine" else "serve"))]
    if name == "mine" and SEMHASH.is_dir():
        options += ["--semhash", str(SEMHASH)]
    if arguments.pairs and name in (*LARGE, "encode"):
        options += ["--pairs", str(arguments.pairs)]
    return options


def _put(name: str, tables: str) -> None:
    """Between the markers of this name: when and on what, and the tables."""
    page = PAGE.read_text("utf-8")
    begin, end = f"<!-- {name}: made by `make bench` -->", f"<!-- end of {name} -->"
    new, count = re.subn(
        f"({re.escape(begin)}\n).*?({re.escape(end)})",
        lambda found: f"{found[1]}{_measured_on()}\n\n{tables}\n{found[2]}",
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{PAGE} lacks the lines {begin} and {end}")
    PAGE.write_text(new, "utf-8")


def _measured_on() -> str:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{today}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _processor() -> str:
    """Its name, and of the instructions that models are run by those that it has."""
    try:
        said = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*: (.+)$", said, re.MULTILINE)
    has = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
        if f" {flag} " in said
    ]
    return f"{name[1] if name else platform.machine()} ({', '.join(has)})"


if __name__ == "__main__":
    main()
