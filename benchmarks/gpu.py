"""On a GPU: questions encoded a second, and exact search among many vectors.

    python benchmarks/gpu.py --json
    python benchmarks/gpu.py --questions train.tsv dev.tsv --vectors 1000000 10000000

*Encoding* goes from texts to unit vectors, tokenising included, by each backend of a GPU. Beside it stands
sentence-transformers in float16 with the same weights, at the batch size that is the fastest there; rounds are
interleaved, ratios medians
within rounds. The least cosine is with the vectors of `torch`, in float32.
*Searching* is exact: a product with all vectors, in float16 on the GPU, and the ten greatest of each row, copied back;
one query at a time and 64 at once. Beside it stands the graph that a server searches on the CPU
(`benchmarks/indexes.py`), over vectors that are made in clusters. A graph that takes too long to build is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from app.engine.models.backends import CANDIDATES, TORCH, run_on
from app.engine.models.encoder import Encoder
from app.engine.models.model_cache import ModelCache
from app.engine.models.openvino import versions
from app.engine.release import ENCODER, Release
from app.engine.scorer import similarity

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.indexes import BATCH, QUERIES, SEED, TOP_K, compare, write_clustered
from benchmarks.rounds import Encode, at_its_best, by_turns, seconds

ROOT = Path(__file__).parent.parent
RIVAL = "sentence-transformers, float16"
BATCH_SIZES = (64, 256, 1024, 4096)
DIMENSION = 384


def main() -> None:
    """Measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, default=50_000, help="questions")
    parser.add_argument(
        "--vectors", nargs="+", type=int, default=[200_000, 1_000_000], help="how many are searched"
    )
    parser.add_argument(
        "--graph-limit", type=int, default=1_000_000, help="most vectors that a graph is built of"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-questions-2")
    parser.add_argument(
        "--device",
        choices=["cuda", "cpu"],
        default="cuda",
        help="cpu: to see that the script works",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here")
    disable_progress_bar()
    texts = read_questions(arguments.questions, arguments.limit)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    about = {"device": name, "questions": len(texts), **versions()}
    encoding = _encoding(arguments, texts)
    say(encoding)
    searching = [row for size in arguments.vectors for row in _searching(size, arguments)]
    show(about | {"encode": encoding, "search": searching}, as_json=arguments.json)


def _encoding(arguments: argparse.Namespace, texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Medians over rounds, and ratios to the rival's figures of the same round."""
    files = Release.open(arguments.release).model(ENCODER)
    assert files

    def opened() -> Encoder:
        return Encoder.open(files[0], arguments.device, files[1])

    encodes: dict[str, Encode] = {
        RIVAL: at_its_best(opened().model.half(), texts[:8192], BATCH_SIZES)
    }
    for backend in (TORCH, *CANDIDATES["cuda"]):
        encodes[backend] = run_on(backend, opened(), None, ModelCache(None, ""))[0].encode
    vectors = {name: encode(texts) for name, encode in encodes.items()}  # and warmed up by that
    report = by_turns(encodes, RIVAL, texts, arguments.rounds)
    return {
        name: {**of, "least_cosine": float(similarity(vectors[name], vectors[TORCH]).min())}
        for name, of in report.items()
    }


def _searching(size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for exact search on the device, and one for the graph."""
    rows = [{"vectors": size, "index": "exact, by torch", **_exact(size, arguments.device)}]
    say(rows)
    if size <= arguments.graph_limit:
        with TemporaryDirectory() as folder:
            file = Path(folder, "made.npy")
            write_clustered(file, size, DIMENSION)
            for name, found in compare(file, ["sameask"]):
                chosen = {
                    figure: found[figure]
                    for figure in ("per_s", "p50_ms", "batches_per_s", "recall_at_10")
                }
                rows.append(
                    {"vectors": size, "index": name, **chosen, "memory_mb": found["memory_mb"]}
                )
    say(rows)
    return rows


def _exact(size: int, device: str) -> dict[str, float]:
    """Queries a second by products with all vectors in float16, one at a time and in batches. What the vectors are
    makes no difference to that: they are drawn at random, where they are searched."""
    vectors = torch.empty((size, DIMENSION), dtype=torch.float16, device=device).normal_()
    queries = np.random.default_rng(SEED).normal(size=(QUERIES, DIMENSION)).astype(np.float32)

    def search(asked: NDArray[np.float32]) -> torch.Tensor:
        products = torch.from_numpy(asked).to(device, torch.float16) @ vectors.T
        return products.topk(min(TOP_K, size)).indices.cpu()

    search(queries[:BATCH])
    search(queries[:1])
    times = [seconds(partial(search, query[None])) for query in queries]
    batched = seconds(
        lambda: [search(queries[start : start + BATCH]) for start in range(0, QUERIES, BATCH)]
    )
    memory = vectors.numel() * vectors.element_size() / 1e6
    return {
        "per_s": len(queries) / sum(times),
        "p50_ms": 1000 * median(times),
        "batches_per_s": len(queries) / batched,
        "memory_mb": memory,
    }


if __name__ == "__main__":
    main()
