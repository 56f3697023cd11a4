"""The pairs that each guard sees, and its gain: as a feature of the probability, as a cap at `review`, as a reason
alone.

    python benchmarks/guards.py                                        # on the sets of tests/data/guards alone
    python benchmarks/guards.py --into docs/verdicts.md                # the same, into the page
    python benchmarks/guards.py --release releases/minilm-questions-2 --work /tmp/guards --swapped paws_qqp/train.tsv.gz

Firing is measured on the pairs that must make a guard fire and those that must not. The gain of a guard is measured

- on the written questions of the side `calibration` as they are served, each domain left out in turn;
- on labelled pairs of swapped words (`--swapped`), by the calibration and the threshold of the written ones;
- on pairs after public complaints and on the guards' own sets, by the release as it is: which calls a cap takes back.

`--work` keeps the models' scores.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss

sys.path.insert(0, str(Path(__file__).parent.parent))

from app.engine.guards import CAPPING, GUARDS, differences
from app.engine.guards.alignment import align
from app.engine.guards.reading import read
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.settings import Settings
from benchmarks.corpus import say
from training.calibration import fit_logistic
from training.evaluation import read_evidence
from training.pairs import LabelledPair, both_texts, labels_of, open_pairs, read_pairs
from training.progress_writer import ProgressWriter
from training.served import serve
from training.served_scales import LOGIT_LIMIT, TARGET, other_questions
from training.slices import in_slices
from training.strangers import Answers, duplicate_threshold, left_out, review_threshold
from training.written import read_clusters

ROOT = Path(__file__).parent.parent
SETS = ROOT / "tests" / "data"
BEGIN = "<!-- firing: made by benchmarks/guards.py -->\n"
END = "<!-- end of firing -->"
MOST_SWAPPED = 1500
CERTAIN = 1e-6  # probabilities are clipped so far from 0 and 1 for the log loss
ROUNDS = 5

Columns = Mapping[str, NDArray[np.bool_]]  # for each guard, whether it fires (n,)


@dataclass(frozen=True)
class Scored:
    """The models' scores of n pairs, (n,) each, and the guards that fire."""

    pairs: Sequence[tuple[str, str]]
    similarities: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.bool_]
    fires: Columns


@dataclass(frozen=True)
class Written:
    """The written questions as they are served, and the models' scores of them."""

    scored: Scored
    answers: Answers
    is_near_miss: NDArray[np.bool_]  # beside the question of its own cluster (n,)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, default=Settings().release)
    parser.add_argument("--work", type=Path, help="folder; measures what the guards bring, too")
    parser.add_argument("--swapped", type=Path, help="labelled pairs of swapped words")
    parser.add_argument("--into", type=Path, help="the page whose table of firing is replaced")
    arguments = parser.parse_args()
    table = firing_table()
    if arguments.into:
        before, _, rest = arguments.into.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.into.write_text(f"{before}{BEGIN}{table}{END}{after}", "utf-8")
    else:
        print(table)
        print(f"All guards, for ten candidates of one question: {milliseconds():.2f} ms")
    if arguments.work:
        measure(Release.open(arguments.release), arguments.work, arguments.swapped)


def firing_table() -> str:
    """Precision and recall of each guard on its own set, as Markdown."""
    lines = ["| guard | precision | recall |", "|---|---|---|"]
    for file in sorted((SETS / "guards").glob("*.tsv")):
        pairs = _own_pairs(file)
        fires = fires_on(both_texts(pairs))[file.stem]
        must_fire = ~labels_of(pairs)
        right = np.count_nonzero(fires & must_fire)
        precision, recall = right / np.count_nonzero(fires), right / np.count_nonzero(must_fire)
        lines.append(f"| {file.stem.replace('_', ' ')} | {precision:.3f} | {recall:.3f} |")
    return "\n".join(lines) + "\n"


def _own_pairs(file: Path) -> list[LabelledPair]:
    """A guard's own set; what must not make it fire passes for a duplicate, though a few ask something else."""
    pairs = []
    for row in file.read_text("utf-8").splitlines()[1:]:
        first, second, must_fire = row.split("\t")
        pairs.append(LabelledPair(first, second, is_duplicate=must_fire == "0"))
    return pairs


def milliseconds() -> float:
    """Of the processor, what all guards take for a written question and ten others: the best of some rounds."""
    clusters = read_clusters("calibration")
    texts = [text for cluster in clusters for text in cluster.same]
    times = []
    for _ in range(ROUNDS):
        began = process_time()
        for number, cluster in enumerate(clusters):
            for candidate in texts[number * 5 : number * 5 + 10]:
                differences(cluster.question, candidate)
        times.append((process_time() - began) / len(clusters))
    return min(times) * 1000


def measure(release: Release, work: Path, swapped: Path | None) -> None:
    """The gain of the guards, by the scores of a release's models."""
    work.mkdir(parents=True, exist_ok=True)
    encoder, classifier = open_models(release, "cpu", "torch")
    assert classifier
    written = _written(encoder, classifier, work)
    print_seen(written)
    print_brought("written `calibration`, each domain left out", written, None)
    if swapped:
        pairs = open_pairs(read_pairs(swapped))[:MOST_SWAPPED]
        other = _scored(encoder, classifier, pairs)
        print_brought("swapped words", written, other)
    print_taken_back(release, encoder, classifier)


def _written(encoder: Encoder, classifier: PairClassifier, work: Path) -> Written:
    served = serve(encoder, read_clusters("calibration"), other_questions(), ProgressWriter())
    say(f"{len(served.rows):,} served pairs")
    kept = work / "served-calibration.npz"
    if not kept.exists():
        scores = in_slices(classifier.score, served.pairs, ProgressWriter())
        np.savez(kept, similarities=served.similarities, logits=scores)
    with np.load(kept) as file:
        logits = file["logits"]
    pairs = served.pairs
    scored = Scored(pairs, served.similarities, logits, served.labels, fires_on(pairs))
    features = [scored.similarities, scored.logits]
    answers = Answers(
        features,
        served.labels,
        served.domains,
        served.rows,
        served.has_duplicate,
        is_capped=np.zeros(len(pairs), dtype=np.bool_),  # each guard is tried by itself
    )
    questions = [cluster.question for cluster in read_clusters("calibration")]
    own = np.array([questions[number] for number in served.clusters])
    is_own = own == np.array(served.stored)
    return Written(scored, answers, is_own & ~served.labels)


def _scored(encoder: Encoder, classifier: PairClassifier, pairs: Sequence[LabelledPair]) -> Scored:
    evidence = read_evidence(encoder, classifier, pairs, None, ProgressWriter())
    assert evidence.logits is not None
    texts = both_texts(pairs)
    return Scored(texts, evidence.similarities, evidence.logits, evidence.labels, fires_on(texts))


def fires_on(pairs: Sequence[tuple[str, str]]) -> Columns:
    """Whether each guard fires on each of n pairs."""
    columns = {name: np.zeros(len(pairs), dtype=np.bool_) for name in GUARDS}
    for row, (first, second) in enumerate(pairs):
        pair = align(read(first), read(second))
        for name, guard in GUARDS.items():
            columns[name][row] = guard(pair) is not None
    return columns


def print_seen(written: Written) -> None:
    """How often each guard fires on paraphrases, on near-misses, and on all other served pairs."""
    labels, near = written.scored.labels, written.is_near_miss
    print("\n| guard | fires on duplicates | on near-misses | on all others |\n|---|---|---|---|")
    for name, column in written.scored.fires.items():
        shares = [column[which].mean() for which in (labels, near, ~near & ~labels)]
        print(f"| {name.replace('_', ' ')} | " + " | ".join(f"{s:.4f}" for s in shares) + " |")


def print_brought(title: str, written: Written, other: Scored | None) -> None:
    """Without guards, then each and all of them as feature and as cap."""
    print(f"\n| on {title} | AP | log loss | right called | wrong called |\n|---|---|---|---|---|")
    shown = other or written.scored
    plain, threshold = judged(written, other, [])
    own, _ = judged(written, None, [])
    print_row("without", plain, plain >= threshold, shown.labels)
    every = {name: [name] for name in GUARDS} | {"all": list(GUARDS)}
    for name, chosen in every.items():
        probabilities, from_there = judged(written, other, chosen)
        print_row(f"{name}, feature", probabilities, probabilities >= from_there, shown.labels)
    for name, chosen in every.items():
        free = own * ~any_fires(written.scored.fires, chosen)
        is_capped = any_fires(shown.fires, chosen)
        for words, from_there in (
            ("cap", threshold),
            ("cap, threshold anew", threshold_of(free, written.answers)),
        ):
            called = (plain >= from_there) & ~is_capped
            print_row(f"{name}, {words}", plain, called, shown.labels)


def any_fires(fires: Columns, names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether any of the guards fires on a pair (n,)."""
    return np.asarray(np.any([fires[name] for name in names], axis=0), dtype=np.bool_)


def judged(
    written: Written, other: Scored | None, names: Sequence[str]
) -> tuple[NDArray[np.float64], float]:
    """Probabilities with guards as features, and the threshold of `duplicate` that they lead to."""
    own = [written.scored.fires[name].astype(np.float32) for name in names]
    answers = replace(written.answers, features=[*written.answers.features, *own])
    limits = [None, LOGIT_LIMIT, *[None for _ in names]]
    probabilities = left_out(answers, limits)
    threshold = threshold_of(probabilities, answers)
    if other is None:
        return probabilities, threshold
    calibration = fit_logistic(answers.features, answers.labels, limits)
    more = [other.fires[name].astype(np.float32) for name in names]
    return calibration.probability(other.similarities, other.logits, *more), threshold


def threshold_of(probabilities: NDArray[np.float64], answers: Answers) -> float:
    """Where `duplicate` begins; above 1 where nowhere."""
    review = review_threshold(probabilities, answers)
    threshold = duplicate_threshold(probabilities, answers, float(TARGET), review)
    return 2.0 if threshold.probability is None else threshold.probability


def print_row(
    name: str,
    probabilities: NDArray[np.float64],
    called: NDArray[np.bool_],
    labels: NDArray[np.bool_],
) -> None:
    """A line of the table of what guards bring."""
    loss = log_loss(labels, np.clip(probabilities, CERTAIN, 1 - CERTAIN))
    precision = average_precision_score(labels, probabilities)
    right, wrong = np.count_nonzero(called & labels), np.count_nonzero(called & ~labels)
    print(f"| {name.replace('_', ' ')} | {precision:.4f} | {loss:.4f} | {right} | {wrong} |")


def print_taken_back(release: Release, encoder: Encoder, classifier: PairClassifier) -> None:
    """On each labelled set, which pairs the release calls duplicates, and of how many the caps take that back."""
    scorer = release.scorer(TARGET)
    threshold = scorer.scale(is_read=True).thresholds.duplicate[TARGET].probability
    print(
        "\n| set | right called | taken back | wrong called | taken back |\n|---|---|---|---|---|"
    )
    sets = {"complaints": read_pairs(SETS / "complaints.tsv")}
    sets |= {file.stem: _own_pairs(file) for file in sorted((SETS / "guards").glob("*.tsv"))}
    for name, pairs in sets.items():
        scored = _scored(encoder, classifier, pairs)
        probabilities = scorer.probability(scored.similarities, scored.logits)
        called = probabilities >= (2.0 if threshold is None else threshold)
        capped = np.array([is_capped(first, second) for first, second in scored.pairs])
        counts = []
        for which in (called & scored.labels, called & ~scored.labels):
            counts += [np.count_nonzero(which), np.count_nonzero(which & capped)]
        print(f"| {name.replace('_', ' ')} | {' | '.join(map(str, counts))} |")


def is_capped(first: str, second: str) -> bool:
    """Whether the judge says `review` at most of two texts, for what guards see."""
    return any(difference.code in CAPPING for difference in differences(first, second))


if __name__ == "__main__":
    main()
