"""An index of many questions: import, restart, search, deletes, each through the real thing.

    python benchmarks/index.py --questions train.tsv.gz dev.tsv --json --keep /tmp/data
    python benchmarks/index.py --vectors kept/vectors.npy --synthetic 200000 1000000

*Import*: `sameask import` in a process of its own, in seconds from its start to its end. Beside it stands what the
encoder alone does on a sample right before and right after. *Restart*: `sameask serve` from its start until /readyz
says
200, its files still in the operating system's memory perhaps. *Search*: one vector at a time through
`LiveRelease.search` in this process. The vectors asked are those of indexed questions, so a question itself is one
of its ten; recall is against the exactly nearest ten by the same vectors. *Deletes* are made in a copy of the data
directory, one transaction each; nothing is rebuilt before they are measured, though a server would have begun.

*Beside* others: exact, FAISS's graph as it comes, and ours, over vectors alone (`benchmarks/indexes.py` says how): of
the questions, of a file (such as `benchmarks/mine.py` keeps), and made ones in clusters. The last 1,000 vectors are
asked and not indexed, so that nobody finds himself; three tenths of the others are then deleted.
"""

import argparse
import csv
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np

from app.engine.index.in_memory import faiss_index_of
from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.engine.store import DEFAULT_COLLECTION
from app.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import (
    Opened,
    holds,
    ids_of,
    import_by_engine,
    opened,
    read_questions,
    say,
    show,
    stored,
)
from benchmarks.indexes import compare, write_clustered
from benchmarks.processes import cpu_seconds, memory_mb, run, serving

SEED = 20
SAMPLE = 2000  # questions the encoder's own speed is measured on
QUERIES, WARM_UP, TOP_K = 1000, 200, 10
DELETED_SHARE = 0.3
DIMENSION = 384  # of made vectors
QUESTIONS = "questions.npy"  # the vectors of the questions
FIGURES = "import.json"  # in a kept data directory: what its import took


def main() -> None:
    """Measure all of it, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, help="files with question1 and question2"
    )
    parser.add_argument(
        "--vectors", nargs="+", type=Path, default=[], help=".npy files of (n, d) unit vectors"
    )
    parser.add_argument(
        "--synthetic", nargs="+", type=int, default=[], help="sizes of made sets of vectors"
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument(
        "--release",
        type=Path,
        default=Path(__file__).parent.parent / "releases" / "minilm-questions-2",
    )
    parser.add_argument(
        "--keep", type=Path, help="data directory to make, or to use if it holds the questions"
    )
    parser.add_argument(
        "--engine", action="store_true", help="import in this process, without the command"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    with TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.questions:
            report |= _measure_questions(arguments, folder)
        beside = _measure_beside(arguments, folder)
    show(report | {"beside": beside}, as_json=arguments.json)


def _measure_questions(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures of the service with these questions; their vectors are left in a file."""
    texts = read_questions(arguments.questions, arguments.limit)
    say(f"{len(texts):,} questions")
    report: dict[str, Any] = {"questions": len(texts)}
    settings = Settings(
        data_dir=arguments.keep or folder / "data", release=arguments.release.resolve()
    )
    report["import"] = _said(_import_or_recall(settings, texts, by_engine=arguments.engine))
    report["restart"] = _said(_measure_restart(settings))
    copy = Path(copytree(settings.data_dir, folder / "copy"))
    with opened(settings.model_copy(update={"data_dir": copy})) as data:
        data.live.indexes.upkeep()  # as a server does, a second after its start
        with faiss_index_of(data.live.index(data.key)).reading() as (_, body):
            np.save(folder / QUESTIONS, body.living_after(-1, len(body))[1])
        report["search"] = _said(_measure_search(data))
        report["after_deletes"] = _said(_measure_deletes(data))
        report["after_deletes"]["after_rebuild"] = _said(_measure_rebuild(data))
    return report


def _measure_beside(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of each index over each set of vectors."""
    files = [*folder.glob(QUESTIONS), *arguments.vectors]
    found = {f"{file.stem}, {name}": _said(of) for file in files for name, of in compare(file)}
    for size in arguments.synthetic:
        file = folder / "made.npy"
        write_clustered(file, size, DIMENSION)
        found |= {f"made {size:,}, {name}": _said(of) for name, of in compare(file)}
    return found


def _said(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures, said as soon as they are known."""
    say(json.dumps(figures))
    return figures


def _import_or_recall(
    settings: Settings, texts: Sequence[str], *, by_engine: bool
) -> dict[str, Any]:
    """The figures of an import now, or of the one that made the kept data directory."""
    file = settings.data_dir / FIGURES
    if holds(settings.data_dir, texts):
        return {
            "in_this_run": False,
            **(json.loads(file.read_text("utf-8")) if file.exists() else {}),
        }
    figures = _measure_import(settings, texts, by_engine=by_engine)
    file.write_text(json.dumps(figures), "utf-8")
    return {"in_this_run": True, **figures}


def _measure_import(settings: Settings, texts: Sequence[str], *, by_engine: bool) -> dict[str, Any]:
    encoder = Encoder.open(Release.open(settings.release).base.open(), settings.device)
    sample = random.Random(SEED).sample(texts, min(SAMPLE, len(texts)))
    speed = _encoder_speed(encoder, sample)
    say(f"the encoder alone: {speed:.0f} questions/s")
    cpu, started = cpu_seconds(), time.perf_counter()
    if by_engine:
        import_by_engine(settings, texts)
        peak = memory_mb(os.getpid(), "VmHWM")
    else:
        peak = _import_by_command(settings, texts)
    seconds = time.perf_counter() - started
    return {
        "by": "engine" if by_engine else "command",
        "seconds": seconds,
        "questions_per_s": len(texts) / seconds,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_resident_mb": peak,
        "encoder_questions_per_s": speed,
        "encoder_questions_per_s_after": _encoder_speed(encoder, sample),
    }


def _encoder_speed(encoder: Encoder, sample: Sequence[str]) -> float:
    """Questions a second of the encoder alone, tokenising included."""
    encoder.encode(sample[:WARM_UP])
    started = time.perf_counter()
    encoder.encode(sample)
    return len(sample) / (time.perf_counter() - started)


def _import_by_command(settings: Settings, texts: Sequence[str]) -> float:
    """Import as a user does; the command's greatest resident memory in MB."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "questions.csv")
        with file.open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows([("id", "text"), *ids_of(texts)])
        return run(settings, "import", str(file))


def _measure_restart(settings: Settings) -> dict[str, float]:
    started = time.perf_counter()
    with serving(settings) as server:
        seconds = time.perf_counter() - started
        return {
            "seconds_to_ready": seconds,
            "resident_mb": memory_mb(server.pid, "VmRSS"),
            "peak_resident_mb": memory_mb(server.pid, "VmHWM"),
        }


def _measure_search(data: Opened) -> dict[str, float]:
    """Latencies of single queries after a warm-up with others, and recall over the same queries."""
    with faiss_index_of(data.live.index(data.key)).reading() as (_, body):
        ids, vectors = body.living_after(-1, len(body))
    rows = np.random.default_rng(SEED).permutation(len(ids))
    rows, warm_up = rows[:QUERIES], rows[QUERIES : QUERIES + WARM_UP]
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    _, nearest = exact.search(vectors[rows], min(TOP_K, len(ids)))
    for row in warm_up:
        data.live.index(data.key).search(vectors[row : row + 1], TOP_K)
    latencies, found = [], 0
    for row, expected in zip(rows, nearest, strict=True):
        asked = time.perf_counter()
        _, (hits,) = data.live.index(data.key).search(vectors[row : row + 1], TOP_K)
        latencies.append(time.perf_counter() - asked)
        found += len({hit.revision for hit in hits} & set(ids[expected].tolist()))
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return {"p50_ms": float(p50), "p99_ms": float(p99), "recall_at_10": found / nearest.size}


def _measure_deletes(data: Opened) -> dict[str, Any]:
    ids = [question.id for question in stored(data.store)]
    deleted = random.Random(SEED).sample(ids, int(len(ids) * DELETED_SHARE))
    started = time.perf_counter()
    for question_id in deleted:
        data.store.questions.delete(DEFAULT_COLLECTION, question_id)
    committed = time.perf_counter()
    data.live.catch_up(data.key)
    return {
        "deleted": len(deleted),
        "deletes_per_s": len(deleted) / (committed - started),
        "catch_up_seconds": time.perf_counter() - committed,
        "dead_share": faiss_index_of(data.live.index(data.key)).dead_share,
        **_measure_search(data),
    }


def _measure_rebuild(data: Opened) -> dict[str, float]:
    """The time of upkeep: the rebuild, and the check of the recall after it."""
    started = time.perf_counter()
    data.live.indexes.upkeep()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "dead_share": faiss_index_of(data.live.index(data.key)).dead_share,
        **_measure_search(data),
    }


if __name__ == "__main__":
    main()
