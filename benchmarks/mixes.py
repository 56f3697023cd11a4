"""The worth of each part of the training mix: the same training without it.

    python benchmarks/mixes.py --parent releases/minilm-quora --related related.jsonl --elsewhere elsewhere/ \
        --quora quora/train.tsv.gz --paws paws_qqp/train.jsonl --report-pairs dev_fit.tsv.gz --pairs 25000 --repeat 3

Every arm goes on from the parent's classifier with as many pairs, drawn by the same seed. Measured is the average
precision of the classifier alone: on the written questions of the side `calibration`, each with its paraphrases and
near-misses; on the public sets that no arm learns from; on the files of `--report-pairs`.
"""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.metrics import average_precision_score

from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from training.elsewhere import ENDING, Portion, portion_of, read_elsewhere, read_set
from training.mix import Ingredients, sample_epoch
from training.objectives import Examples, ObjectiveName
from training.pairs import LabelledPair, open_pairs, read_pairs
from training.progress_writer import ProgressWriter
from training.questions import GOING_ON, PAWS_SHARE, QUORA_PAIRS
from training.train import train
from training.written import Cluster, read_clusters

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import say, show

LEFT_OUT = ("rqe_train_rebuilt", "banking77", "conala", "spider_train_spider")
ALSO_LEFT_OUT = ("spider_syn_train_spider",)  # the same questions as Spider's
MOST_MEASURED = 600  # pairs of each set
SEED = 20


def main() -> None:
    """Each arm once, the first ones as often as asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--parent", "--related", "--elsewhere", "--quora", "--paws"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--report-pairs", nargs="*", type=Path, default=[])
    parser.add_argument("--pairs", type=int, default=25_000, help="learnt from in each arm")
    parser.add_argument("--repeat", type=int, default=1, help="seeds for the first three arms")
    parser.add_argument("--frozen-layers", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    sets = measured_sets(arguments.elsewhere, arguments.report_pairs)
    figures: dict[str, Mapping[str, float]] = {}
    with TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        _, classifier = open_models(Release.open(arguments.parent), "cpu")
        assert classifier
        classifier.save(start)
        figures["start"] = average_precisions(start, sets)
        arms = arms_of(arguments)
        for number, (name, ingredients) in enumerate(arms.items()):
            for turn in range(arguments.repeat if number < 3 else 1):
                say(f"{name}, seed {SEED + turn}")
                options = replace(GOING_ON, frozen_layers=arguments.frozen_layers, seed=SEED + turn)
                pairs = drawn(ingredients, arguments.pairs, SEED + turn)
                work = Path(folder) / f"{number}-{turn}"
                trained = train(
                    ObjectiveName.CROSS_ENCODER,
                    start,
                    partial(Examples, pairs),
                    sets["written"][:64],
                    options,
                    work,
                    ProgressWriter(),
                )
                figures[f"{name}, seed {SEED + turn}"] = average_precisions(trained, sets)
                show(figures, as_json=arguments.json)


def arms_of(arguments: argparse.Namespace) -> dict[str, Ingredients]:
    """The whole mix, and the mix without each part."""
    quora = portion_of("quora", read_pairs(arguments.quora), QUORA_PAIRS)
    paws = Portion("paws_qqp", read_pairs(arguments.paws), PAWS_SHARE)
    elsewhere = read_elsewhere(arguments.elsewhere, [*LEFT_OUT, *ALSO_LEFT_OUT])
    everything = Ingredients(
        read_clusters("train"), read_set(arguments.related), [quora, paws, *elsewhere]
    )
    return {
        "everything": everything,
        "without written": replace(everything, clusters=[], related=[]),
        "without elsewhere": replace(everything, portions=[quora, paws]),
        "without related": replace(everything, related=[]),
        "nothing non-commercial": replace(everything, portions=elsewhere),
    }


def drawn(ingredients: Ingredients, count: int, seed: int) -> list[LabelledPair]:
    """So many pairs, of as many epochs as it takes."""
    pairs: list[LabelledPair] = []
    while len(pairs) < count:
        pairs += sample_epoch(ingredients, seed + 1000 * len(pairs)).pairs
    return pairs[:count]


def measured_sets(elsewhere: Path, files: Sequence[Path]) -> dict[str, list[LabelledPair]]:
    """The pairs that are measured on, by name."""
    sets = {"written": [pair for c in read_clusters("calibration") for pair in asked_pairs(c)]}
    for name in LEFT_OUT:
        sets[name] = open_pairs(read_set(elsewhere / (name + ENDING)))
    for file in files:
        sets[file.name] = open_pairs(read_pairs(file))
    chances = random.Random(SEED)
    return {name: chances.sample(p, min(MOST_MEASURED, len(p))) for name, p in sets.items()}


def asked_pairs(cluster: Cluster) -> list[LabelledPair]:
    """The question with each paraphrase, and with each near-miss."""
    same = [LabelledPair(cluster.question, text, is_duplicate=True) for text in cluster.paraphrases]
    texts = [near.text for near in cluster.near_misses]
    return same + [LabelledPair(cluster.question, text, is_duplicate=False) for text in texts]


def average_precisions(
    folder: Path, sets: Mapping[str, Sequence[LabelledPair]]
) -> dict[str, float]:
    """Of the classifier alone, on each set."""
    classifier = PairClassifier.open(folder, "cpu")
    figures = {}
    for name, pairs in sets.items():
        logits = classifier.score([(pair.question1, pair.question2) for pair in pairs])
        labels = [pair.is_duplicate for pair in pairs]
        figures[name] = round(float(average_precision_score(labels, logits)), 4)
    return figures


if __name__ == "__main__":
    main()
