"""On a GPU: questions encoded a second, and exact search among many vectors.

    python benchmarks/gpu.py --json
    python benchmarks/gpu.py --questions train.tsv dev.tsv --vectors 1000000 10000000

*Encoding* goes from texts to unit vectors, tokenising included, beside sentence-transformers in float16 with the same
weights, at the batch size that is the fastest there; rounds are interleaved, ratios medians within rounds.
*Searching* is exact: a product with all vectors, in float16 on the GPU, and the ten greatest of each row, copied back;
one query at a time and 64 at once. Beside it stands the graph that a server searches on the CPU
(`benchmarks/indexes.py`), where it is not too large to be built in a while. Vectors are made, in clusters.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils.logging import disable_progress_bar

from app.engine.encoder import Encoder
from app.engine.openvino_forward import versions
from app.engine.release import ENCODER, Release

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.indexes import BATCH, QUERIES, TOP_K, compare, write_clustered

ROOT = Path(__file__).parent.parent
RIVAL, OURS = "sentence-transformers, float16", "sameask"
BATCH_SIZES = (64, 256, 1024)
ONE_AT_A_TIME = 100  # questions for the time of one
OURS_AT_ONCE = 1024  # rows of a batch of short texts
CHUNK = 65_536  # vectors that are copied to the GPU at a time

Encode = Callable[[Sequence[str]], Any]


def main() -> None:
    """Measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"])
    parser.add_argument("--limit", type=int, default=50_000, help="questions")
    parser.add_argument("--vectors", nargs="+", type=int, default=[200_000, 1_000_000], help="how many are searched")
    parser.add_argument("--graph-limit", type=int, default=1_000_000, help="most vectors that a graph is built of")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-quora")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to see that the script works")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here")
    disable_progress_bar()
    texts = read_questions(arguments.questions, arguments.limit)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    about = {"device": name, "questions": len(texts), **versions()}
    encoding = _encoding(arguments, texts)
    searching = [row for size in arguments.vectors for row in _searching(size, arguments)]
    show(about | {"encode": encoding, "search": searching}, as_json=arguments.json)


def _encoding(arguments: argparse.Namespace, texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Medians over rounds, and ratios to the rival's figures of the same round."""
    files = Release.open(arguments.release).model(ENCODER)
    assert files
    rival = Encoder.open(files[0], arguments.device, files[1]).model.half()
    ours = Encoder.open(files[0], arguments.device, files[1])
    encodes: dict[str, Encode] = {
        RIVAL: _at_its_best(rival, texts),
        OURS: partial(ours.encode, batch_size=OURS_AT_ONCE),
    }
    seconds: dict[str, list[float]] = {name: [] for name in encodes}
    one: dict[str, list[float]] = {name: [] for name in encodes}
    for encode in encodes.values():
        encode(texts)
    for number in range(arguments.rounds):
        for name, encode in encodes.items():
            seconds[name].append(_seconds(partial(encode, texts)))
            one[name].append(median(_seconds(partial(encode, [text])) for text in texts[:ONE_AT_A_TIME]))
        say(f"round {number + 1}: " + ", ".join(f"{n} {len(texts) / s[-1]:,.0f}/s" for n, s in seconds.items()))
    return {
        name: {
            "per_second": len(texts) / median(seconds[name]),
            "ratio": median(theirs / own for theirs, own in zip(seconds[RIVAL], seconds[name], strict=True)),
            "one_p50_ms": 1000 * median(one[name]),
            "one_ratio": median(theirs / own for theirs, own in zip(one[RIVAL], one[name], strict=True)),
        }
        for name in encodes
    }


def _at_its_best(model: SentenceTransformer, texts: Sequence[str]) -> Encode:
    """`SentenceTransformer.encode` at the batch size that is the fastest on these texts."""

    def encode(batch_size: int, asked: Sequence[str]) -> Any:
        return model.encode(list(asked), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)

    sample = texts[:8192]
    encode(BATCH_SIZES[0], sample)
    return partial(
        encode, min(BATCH_SIZES, key=lambda size: min(_seconds(partial(encode, size, sample)) for _ in "12"))
    )


def _searching(size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for exact search on the device, and one for the graph."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "made.npy")
        write_clustered(file, size, 384)
        rows = [{"vectors": size, "index": "exact, by torch", **_exact(file, size, arguments.device)}]
        if size <= arguments.graph_limit:
            for name, found in compare(file, ["sameask"]):
                chosen = {figure: found[figure] for figure in ("per_s", "p50_ms", "batches_per_s", "recall_at_10")}
                rows.append({"vectors": size, "index": name, **chosen, "memory_mb": found["memory_mb"]})
    say(rows)
    return rows


def _exact(file: Path, size: int, device: str) -> dict[str, float]:
    """Queries a second by products with all vectors in float16, one at a time and in batches."""
    stored = np.load(file, mmap_mode="r")
    vectors = torch.empty((size, stored.shape[1]), dtype=torch.float16, device=device)
    for start in range(0, size, CHUNK):
        vectors[start : start + CHUNK] = torch.from_numpy(stored[start : min(start + CHUNK, size)].copy())
    queries = np.ascontiguousarray(stored[size:])

    def search(asked: Any) -> Any:
        products = torch.from_numpy(asked).to(device, torch.float16) @ vectors.T
        return products.topk(min(TOP_K, size)).indices.cpu()

    search(queries[:BATCH])
    search(queries[:1])
    times = [_seconds(partial(search, query[None])) for query in queries]
    batched = _seconds(lambda: [search(queries[start : start + BATCH]) for start in range(0, QUERIES, BATCH)])
    memory = vectors.numel() * vectors.element_size() / 1e6
    return {
        "per_s": len(queries) / sum(times),
        "p50_ms": 1000 * median(times),
        "batches_per_s": len(queries) / batched,
        "memory_mb": memory,
    }


def _seconds(action: Callable[[], object]) -> float:
    """What is measured ends with its answer on the CPU, so nothing is left running."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
