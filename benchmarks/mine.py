"""All pairs of questions that are at least so similar, beside other ways to find them, with the same encoder weights.

    pip install --target /tmp/semhash --no-deps semhash vicinity usearch numkong model2vec pyversity frozendict orjson
    python benchmarks/mine.py --questions train.tsv.gz dev.tsv --keep /tmp/kept --semhash /tmp/semhash

*Embedding* is measured on a sample (`--embed-sample`), by turns, and scaled to all questions: sentence-transformers as
`paraphrase_mining` calls it, by torch in float32, and Sameask by the backend that is asked for. *Judging*, which
Sameask alone does, is measured on a sample of pairs. *Searching* is measured on everything, over the same vectors,
each contender in a process of its own, whose peak of resident memory is given. Sameask's is what its command does,
`app.mining.job.mine` without judging; copying the vectors into its work file and writing the file of pairs are told
apart, and count from end to end. `paraphrase_mining`'s is `paraphrase_mining_embeddings` with its defaults (of the 100
nearest of each, the 500,000 most similar pairs), and what is below the threshold left out. Semhash's is building its
index and asking that for all above the threshold, which `self_deduplicate` begins with. Recall and precision are
against the pairs that a plain product of all vectors finds. Ratios are to `paraphrase_mining` in the same run; *end to
end* is all of it but judging.

`--keep` is a folder for vectors and exact pairs, by fingerprint of texts, release and backend, where a later run finds
them. Other work on the machine weighs on searching, which runs once: look at the load average.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.util import paraphrase_mining_embeddings
from transformers.utils.logging import disable_progress_bar

from app.engine.models.backends import AUTO, CANDIDATES, TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.signals import Reader
from app.mining.job import EMBEDDED_AT_ONCE, Models, Source, Wanted, mine

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.processes import memory_mb

SEED = 20
BLOCK = 512  # rows of the exact product at a time, with all that follow
OURS, RIVAL, SEMHASH = "sameask", "paraphrase_mining", "semhash"
TARGET_PRECISION = "0.90"
SEARCHING = (
    "building",
    "finding",
)  # parts of the search; what else there is counts from end to end


@dataclass(frozen=True)
class Job:
    """The task of every contender: a file of vectors (n, d), the texts, and the least similarity."""

    vectors: Path
    texts: Sequence[str]
    least: float
    release: Path
    semhash: Path | None  # the folder it is installed in


@dataclass(frozen=True)
class Searched:
    """What one contender found, rows i < j as i * n + j, in how many seconds of what, and its peak memory."""

    pairs: NDArray[np.int64]
    seconds: dict[str, float]
    peak_mb: float


def main() -> None:
    """Embed and find the exact pairs, or take them from the kept folder; measure; report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        type=Path,
        required=True,
        help="files with question1 and question2",
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument(
        "--least", type=float, default=0.8, help="similarity from which pairs count"
    )
    parser.add_argument(
        "--release",
        type=Path,
        default=Path(__file__).parent.parent / "releases" / "minilm-questions-2",
    )
    parser.add_argument(
        "--backend",
        choices=[AUTO, TORCH, *CANDIDATES["cpu"]],
        default=AUTO,
        help="what Sameask runs by",
    )
    parser.add_argument(
        "--models",
        type=Path,
        help="folder that keeps converted models, as a data directory's `models`",
    )
    parser.add_argument(
        "--embed-sample", type=int, default=4096, help="questions that embedding is measured on"
    )
    parser.add_argument(
        "--judge-sample", type=int, default=1024, help="pairs that judging is measured on"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of embedding the sample")
    parser.add_argument("--contenders", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument(
        "--semhash", type=Path, help="folder that semhash was installed in; left out without it"
    )
    parser.add_argument("--keep", type=Path, help="folder that keeps vectors and exact pairs")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    disable_progress_bar()
    texts = read_questions(arguments.questions, arguments.limit)
    report: dict[str, Any] = {
        "questions": len(texts),
        "least": arguments.least,
        "load_average": os.getloadavg()[0],
    }
    with TemporaryDirectory() as folder:
        report |= _measure(arguments, texts, arguments.keep or Path(folder))
    show(report, as_json=arguments.json)


def _measure(arguments: argparse.Namespace, texts: list[str], keep: Path) -> dict[str, Any]:
    """The number of pairs to find, and the speed of each part of finding them."""
    release = Release.open(arguments.release.resolve())
    encoder, classifier = open_models(
        release, "cpu", arguments.backend, arguments.models or keep / "models"
    )
    vectors = _vectors(keep, texts, release, encoder)
    exact = _exact_pairs(vectors, arguments.least)
    report: dict[str, Any] = {
        "backend": encoder.backend,
        "threads": torch.get_num_threads(),
        "exact_pairs": len(exact),
    }
    sample = random.Random(SEED).sample(texts, min(arguments.embed_sample, len(texts)))
    embedding = _measure_embedding(release, encoder, sample, arguments.rounds)
    report |= {"embed_sample": len(sample), "embedding_per_second": embedding}
    if classifier and len(exact) and arguments.judge_sample:
        chosen = np.random.default_rng(SEED).choice(
            exact, min(arguments.judge_sample, len(exact)), replace=False
        )
        pairs = [(texts[i], texts[j]) for i, j in zip(*np.divmod(chosen, len(texts)), strict=True)]
        report |= {
            "judge_sample": len(pairs),
            "judging_per_second": _per_second(classifier.score, pairs),
        }
    say(report)
    contenders = [name for name in arguments.contenders if name != SEMHASH or arguments.semhash]
    job = Job(vectors, texts, arguments.least, release.path, arguments.semhash)
    return report | {"contenders": _measure_contenders(job, contenders, exact, embedding)}


def _vectors(keep: Path, texts: Sequence[str], release: Release, encoder: Encoder) -> Path:
    """The file of all vectors, made by an earlier run or now."""
    fingerprint = sha256(json.dumps([release.digest, encoder.backend, texts]).encode()).hexdigest()[
        :16
    ]
    file = keep / f"{fingerprint}.npy"
    if not file.exists():
        keep.mkdir(parents=True, exist_ok=True)
        parts = []
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            parts.append(encoder.encode(texts[start : start + EMBEDDED_AT_ONCE]))
            say(f"embedded {start + len(parts[-1]):,}")
        _save(file, np.concatenate(parts))
    return file


def _exact_pairs(vectors: Path, least: float) -> NDArray[np.int64]:
    """Every pair of at least so similar rows by products of all of them in float32, as i * n + j, ascending."""
    file = vectors.with_suffix(f".{least}.npy")
    if not file.exists():
        rows = torch.from_numpy(np.load(vectors))
        found = []
        for start in range(
            0, len(rows), BLOCK
        ):  # large enough that the heap is not left in pieces by what is kept
            near = (rows[start : start + BLOCK] @ rows[start:].T >= least).nonzero() + start
            first, second = near.unbind(1)
            found.append((first * len(rows) + second)[first < second].numpy())
        _save(file, np.sort(np.concatenate(found)))
    return np.asarray(np.load(file))


def _save(file: Path, array: NDArray[Any]) -> None:
    aside = file.with_suffix(".writing.npy")
    np.save(aside, array)
    aside.rename(file)


def _measure_embedding(
    release: Release, encoder: Encoder, sample: list[str], rounds: int
) -> dict[str, float]:
    """Questions a second of the rival's encoder and of ours, by turns; medians."""
    torch_encoder, _ = open_models(release, "cpu")
    encodes: dict[str, Callable[[list[str]], Any]] = {
        RIVAL: partial(
            torch_encoder.model.encode,
            batch_size=32,
            convert_to_tensor=True,
            show_progress_bar=False,
        ),
        OURS: encoder.encode,
    }
    speeds: dict[str, list[float]] = {name: [] for name in encodes}
    for encode in encodes.values():
        encode(sample[:512])
    for _ in range(rounds):
        for name, encode in encodes.items():
            speeds[name].append(_per_second(encode, sample))
    return {name: median(of) for name, of in speeds.items()}


def _per_second(action: Callable[[Any], object], items: Sequence[object]) -> float:
    started = time.perf_counter()
    action(items)
    return len(items) / (time.perf_counter() - started)


def _measure_contenders(
    job: Job, contenders: Sequence[str], exact: NDArray[np.int64], embedding: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Each contender's figures, and their ratios to the rival's."""
    figures: dict[str, dict[str, Any]] = {}
    for name in contenders:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            searched = child.submit(SEARCHES[name], job).result()
        right = len(np.intersect1d(searched.pairs, exact))
        search = sum(seconds for part, seconds in searched.seconds.items() if part in SEARCHING)
        figures[name] = {
            "embedding_s": len(job.texts) / embedding.get(name, embedding[RIVAL]),
            **{f"{part}_s": value for part, value in searched.seconds.items()},
            "search_s": search,
            "peak_mb": searched.peak_mb,
            "pairs": len(searched.pairs),
            "recall": right / max(len(exact), 1),
            "precision": right / max(len(searched.pairs), 1),
        }
        figures[name]["end_to_end_s"] = figures[name]["embedding_s"] + sum(
            searched.seconds.values()
        )
        say({name: figures[name]})
    for of in figures.values():
        for part in ("search", "end_to_end"):
            if RIVAL in figures:
                of[f"{part}_ratio"] = figures[RIVAL][f"{part}_s"] / of[f"{part}_s"]
    return figures


def _search_ours(job: Job) -> Searched:
    vectors = np.load(job.vectors, mmap_mode="r")
    release = Release.open(job.release)
    ids = [[str(row)] for row in range(len(vectors))]
    encoder, _ = open_models(release, "cpu")
    source = Source(ids, job.texts, lambda start, end: np.asarray(vectors[start:end]))
    models = Models(
        release.digest,
        vectors.shape[1],
        release.scorer(TARGET_PRECISION),
        None,
        Reader(encoder, None),
    )
    times: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        out = Path(folder, "pairs.ndjson")
        started = time.perf_counter()
        wanted = Wanted(similarity=job.least, verify=False)
        mine(
            source,
            models,
            out,
            wanted,
            lambda phase, *_: times.setdefault(phase, []).append(time.perf_counter()),
        )
        ends = {
            "copying": times["embedding"][-1],
            "finding": times["judging"][0],
            "writing": time.perf_counter(),
        }
        peak = _peak_mb()
        lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    begins = (started, *ends.values())
    seconds = {part: end - begin for (part, end), begin in zip(ends.items(), begins, strict=False)}
    first, second = (
        np.array([int(line[of]) for line in lines], dtype=np.int64) for of in ("id1", "id2")
    )
    return Searched(_keys(first, second, len(vectors)), seconds, peak)


def _search_by_sentence_transformers(job: Job) -> Searched:
    vectors = torch.from_numpy(np.load(job.vectors))
    started = time.perf_counter()
    found = paraphrase_mining_embeddings(vectors)
    seconds, peak = time.perf_counter() - started, _peak_mb()
    near = np.array(
        [(i, j) for similarity, i, j in found if similarity >= job.least], dtype=np.int64
    ).reshape(-1, 2)
    return Searched(_keys(near[:, 0], near[:, 1], len(vectors)), {"finding": seconds}, peak)


def _search_by_semhash(job: Job) -> Searched:
    sys.path.insert(0, str(job.semhash))
    semhash = importlib.import_module("semhash")
    vectors = np.load(job.vectors)
    started = time.perf_counter()
    hashed = semhash.SemHash.from_embeddings(vectors, job.texts, model=None)
    built = time.perf_counter()
    found = hashed.index.query_threshold(hashed.index.vectors, threshold=job.least)
    seconds = {"building": built - started, "finding": time.perf_counter() - built}
    peak = _peak_mb()
    first = np.repeat(np.arange(len(vectors)), [len(others) for others, _ in found])
    second = np.concatenate([others for others, _ in found]).astype(np.int64)
    return Searched(_keys(first, second, len(vectors)), seconds, peak)


def _peak_mb() -> float:
    """The most memory of this process that was resident so far, mapped files included."""
    return memory_mb(os.getpid(), "VmHWM")


def _keys(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """One number for each pair of two rows, ascending."""
    apart = first != second
    return np.unique(np.minimum(first, second)[apart] * count + np.maximum(first, second)[apart])


SEARCHES: dict[str, Callable[[Job], Searched]] = {
    OURS: _search_ours,
    RIVAL: _search_by_sentence_transformers,
    SEMHASH: _search_by_semhash,
}


if __name__ == "__main__":
    main()
