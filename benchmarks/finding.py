"""How well bi-encoders find the written paraphrases of domains that they don't know.

    python benchmarks/finding.py --model all-MiniLM-L6-v2 releases/minilm-questions-2 all-mpnet-base-v2

Each question of a written side is stored among 10,000 texts of other domains, and its paraphrases are asked. Told is
the share of them whose own question is the nearest, among the five nearest, and among ten, by exact search.

With `--pairs` also: the questions of 1,500 labelled duplicates are stored, and each is asked; told is the share whose
duplicate is among the five nearest others.

A model is a release, or a sentence-transformers model named as a base is.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine.bases import find_base
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.release import MANIFEST, Release
from training.pairs import LabelledPair, duplicates_of, open_pairs, read_pairs, rows_of, texts_of
from training.served_scales import other_questions
from training.written import Side, read_clusters

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import say, show

SEED = 20
DUPLICATES = 1500  # of --pairs
DEPTHS = (1, 5, 10)

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def main() -> None:
    """Measure each model, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("--side", choices=("calibration", "report"), default="calibration")
    parser.add_argument("--pairs", nargs="*", type=Path, default=[], help="files of labelled pairs")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    labelled = [pair for file in arguments.pairs for pair in read_pairs(file)]
    duplicates = duplicates_of(open_pairs(labelled))
    asked = random.Random(SEED).sample(duplicates, min(DUPLICATES, len(duplicates)))
    report: dict[str, Any] = {}
    for name in arguments.model:
        encode = encoder_of(name).encode
        report[name] = paraphrases_found(encode, arguments.side)
        if asked:
            report[name] |= {
                "labelled duplicates among 5": round(duplicates_found(encode, asked), 4)
            }
        say(f"{name}: {report[name]}")
    show(report, as_json=arguments.json)


def encoder_of(name: str) -> Encoder:
    """The bi-encoder of a release, or a model as it is, by torch on the CPU."""
    if (Path(name) / MANIFEST).is_file():
        return open_models(Release.open(Path(name)), "cpu")[0]
    return Encoder.open(find_base(name), "cpu")


def paraphrases_found(encode: Encode, side: Side) -> dict[str, float]:
    """The share of a side's paraphrases that find their own question, by how many of the nearest are looked at."""
    clusters = read_clusters(side)
    stored = encode([cluster.question for cluster in clusters] + other_questions())
    asked = encode([text for cluster in clusters for text in cluster.paraphrases])
    own = [number for number, cluster in enumerate(clusters) for _ in cluster.paraphrases]
    ranks = ranks_of(asked @ stored.T, np.array(own))
    return {f"among {depth}": round(float(np.mean(ranks <= depth)), 4) for depth in DEPTHS}


def duplicates_found(encode: Encode, pairs: Sequence[LabelledPair]) -> float:
    """The share of questions, each asked of all others, whose labelled duplicate is among the five nearest."""
    texts = texts_of(pairs)
    vectors = encode(texts)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    row = rows_of(texts)
    first = np.array([row[pair.question1] for pair in pairs])
    second = np.array([row[pair.question2] for pair in pairs])
    ranks = np.concatenate([ranks_of(near[first], second), ranks_of(near[second], first)])
    return float(np.mean(ranks <= 5))


def ranks_of(near: NDArray[np.float32], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank (n,) from 1 of one stored text for each asked one, of similarities (n, m)."""
    found = near[np.arange(len(own)), own]
    ranks: NDArray[np.int64] = 1 + (near > found[:, None]).sum(axis=1)
    return ranks


if __name__ == "__main__":
    main()
