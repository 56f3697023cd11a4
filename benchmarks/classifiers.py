"""The cost of reading pairs: pairs a second in batches, and the time of one question's, by release and backend.

    python benchmarks/classifiers.py --release releases/minilm-questions-2 releases/mpnet-questions

The pairs are those of other domains by which backends are chosen. A question's are five, which `verify` `auto` reads.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from transformers.utils.logging import disable_progress_bar

from app.engine.data import OUT_OF_DOMAIN
from app.engine.models.backends import CANDIDATES, TORCH
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.settings import Settings
from training.pairs import both_texts, read_pairs

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.rounds import seconds

PAIRS = 192
ROUNDS = 2
QUESTIONS = 20


def main() -> None:
    """Print a row for each release and backend."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", nargs="+", type=Path, default=[Settings().release])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--backend", nargs="+", help="all of the device unless said")
    arguments = parser.parse_args()
    backends = arguments.backend or [TORCH, *CANDIDATES[arguments.device]]
    disable_progress_bar()
    pairs = both_texts(read_pairs(OUT_OF_DOMAIN))[:PAIRS]
    depth = Settings().verify_depth
    print(f"| release | backend | pairs a second | ms for {depth} pairs |\n|---|---|---|---|")
    for path in arguments.release:
        release = Release.open(path)
        for backend in backends:
            with TemporaryDirectory() as folder:
                _, classifier = open_models(release, arguments.device, backend, Path(folder))
                if classifier is None:
                    sys.exit(f"{path} has no pair classifier")
                rate, milliseconds = costs(classifier, pairs, depth)
            print(f"| {release.name} | {backend} | {rate:.0f} | {milliseconds:.1f} |", flush=True)


def costs(
    classifier: PairClassifier, pairs: list[tuple[str, str]], depth: int
) -> tuple[float, float]:
    """The most pairs a second of all rounds, and the median of the milliseconds that `depth` pairs take."""
    classifier.score(pairs[:depth])
    rounds = [seconds(partial(classifier.score, pairs)) for _ in range(ROUNDS)]
    few = []
    for start in range(0, QUESTIONS * depth, depth):
        some = [pairs[place % len(pairs)] for place in range(start, start + depth)]
        few.append(seconds(partial(classifier.score, some)))
    return len(pairs) / min(rounds), 1000 * median(few)


if __name__ == "__main__":
    main()
