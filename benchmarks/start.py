"""How long a server takes to be ready over a collection that is there, and the memory it then has at rest.

    python benchmarks/start.py --json
    python benchmarks/start.py --questions train.tsv.gz --limit 20000 --keep /tmp/serve

*Cold*: there are no converted models, so this start measures what is fastest and converts it; the questions and
the snapshot of their index are there. *Warm*: all is there, as after any restart. *Plain*: the plain server of
serve.py, given its vectors in a file. Seconds are those from the start of the process until it answers that it is
ready; its files are in the operating system's memory perhaps. At rest: some seconds later, asked nothing.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from app.engine.models.openvino import versions

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.processes import Served, memory_mb, serving
from benchmarks.servers import imported, plain, prepare

ROOT = Path(__file__).parent.parent
REST_SECONDS = 5


def main() -> None:
    """Start each, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument(
        "--rounds", type=int, default=3, help="starts of each, but for the cold one"
    )
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-questions-2")
    parser.add_argument(
        "--keep", type=Path, help="folder that keeps vectors and indexes, as serve.py's"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = read_questions(arguments.questions, arguments.limit)
    with TemporaryDirectory() as folder:
        corpus = prepare(texts, (arguments.keep or Path(folder)).resolve())
        settings = imported(corpus, arguments.release)
        shutil.rmtree(settings.data_dir / "models", ignore_errors=True)
        rows = {
            "sameask, cold": _measure(partial(serving, settings), 1),
            "sameask, warm": _measure(partial(serving, settings), arguments.rounds),
            "plain": _measure(partial(plain, corpus), arguments.rounds),
        }
    show(
        {"questions": len(texts), "cores": os.cpu_count(), **versions(), "start": rows},
        as_json=arguments.json,
    )


def _measure(start: Callable[[], AbstractContextManager[Served]], rounds: int) -> dict[str, Any]:
    """Medians over so many starts."""
    seconds, resident, peak = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        with start() as server:
            seconds.append(time.perf_counter() - started)
            time.sleep(REST_SECONDS)
            resident.append(memory_mb(server.pid, "VmRSS"))
            peak.append(memory_mb(server.pid, "VmHWM"))
        say(f"{seconds[-1]:.1f} s, {resident[-1]:.0f} MB")
    return {
        "seconds to ready": median(seconds),
        "resident MB at rest": median(resident),
        "peak resident MB": max(peak),
        "starts": rounds,
    }


if __name__ == "__main__":
    main()
