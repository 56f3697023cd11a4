"""Answers for labelled pairs over HTTP: verdicts, their precision, and how well the probability ranks.

    python benchmarks/verdicts.py                                   # the release of the settings, the open sets
    python benchmarks/verdicts.py --release releases/minilm-quora releases/minilm-questions-2 --side report
    python benchmarks/verdicts.py --pairs city.tsv --pairs shop.tsv

Each set is scored by `POST /pair-score` at the settings that users get. With two releases, the last table has the
difference of their average precision. Its 95 % interval is over resampled components of pairs that share a question.
The recall "chosen here" is what a threshold would give that was chosen on the set itself for precision 0.90.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).parent.parent))

from app.settings import Settings
from benchmarks.corpus import say
from benchmarks.processes import serving
from training.figures import ranking
from training.pairs import LabelledPair, read_pairs
from training.splits import components
from training.written import Cluster, Side, read_clusters

ROOT = Path(__file__).parent.parent
OPEN_SETS = ("out_of_domain", "complaints", "other_languages")  # in tests/data
BATCH = 100  # pairs in a request
RESAMPLES = 1000
SEED = 20
VERDICTS = ("duplicate", "review", "different")
SETTINGS: dict[str, Any] = {"max_waiting_pairs": 2048}


@dataclass(frozen=True)
class PairSet:
    """Labelled pairs, and the kind of each where the set tells it."""

    name: str
    pairs: Sequence[LabelledPair]
    kinds: Sequence[str]

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Which pairs (n,) are duplicates."""
        return np.array([pair.is_duplicate for pair in self.pairs], dtype=np.bool_)


@dataclass(frozen=True)
class Scores:
    """A release's scores of n pairs: probabilities (n,) float64 and verdicts (n,) str."""

    probabilities: NDArray[np.float64]
    verdicts: NDArray[np.str_]


def main() -> None:
    """Serve each release, score each set, print the tables."""
    arguments = _arguments()
    sets = [_written(arguments.side)]
    sets += [_read(ROOT / "tests" / "data" / f"{name}.tsv") for name in OPEN_SETS]
    sets += [_read(file) for file in arguments.pairs]
    releases = arguments.release or [Settings().release]
    scored: list[list[Scores]] = []
    for release in releases:
        say(f"{release.name}: {sum(len(one.pairs) for one in sets):,} pairs")
        scored.append(_score_all(release, sets))
        print(f"### {release.name}\n")
        _print_sets(sets, scored[-1])
        _print_kinds(sets, scored[-1])
    if len(releases) == 2:
        print(f"\n### {releases[1].name} less {releases[0].name}: average precision\n")
        _print_differences(sets, *scored)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, nargs="+", help="one or two; else the settings'")
    parser.add_argument("--side", choices=("train", "calibration", "report"), default="calibration")
    parser.add_argument("--pairs", type=Path, action="append", default=[], help="labelled pairs")
    return parser.parse_args()


def _written(side: Side) -> PairSet:
    """Of each cluster: its question with every other text, and each near-miss with its twin."""
    pairs: list[LabelledPair] = []
    kinds: list[str] = []
    for cluster in read_clusters(side):
        for pair, kind in _pairs_of(cluster):
            pairs.append(pair)
            kinds.append(kind)
    return PairSet(f"written {side}", pairs, kinds)


def _pairs_of(cluster: Cluster) -> list[tuple[LabelledPair, str]]:
    question = cluster.question
    pairs = [
        (LabelledPair(question, t, is_duplicate=True), "paraphrase") for t in cluster.paraphrases
    ]
    for near in cluster.near_misses:
        pairs.append((LabelledPair(question, near.text, is_duplicate=False), near.kind))
        if near.twin:
            pairs.append((LabelledPair(question, near.twin, is_duplicate=False), near.kind))
            pairs.append((LabelledPair(near.text, near.twin, is_duplicate=True), "twin"))
    return pairs


def _read(file: Path) -> PairSet:
    """A file of labelled pairs; where it is a TSV with a column `kind`, with the kinds."""
    pairs = read_pairs(file)
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    has_kinds = file.suffix == ".tsv" and len(rows) == len(pairs) and "kind" in rows[0]
    return PairSet(file.stem, pairs, [row["kind"] for row in rows] if has_kinds else [])


def _score_all(release: Path, sets: Sequence[PairSet]) -> list[Scores]:
    """The scores of every set by one release, served."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), release=release.resolve(), **SETTINGS)
        with serving(settings) as server, httpx.Client(base_url=server.url, timeout=300) as client:
            return [_score(client, one.pairs) for one in sets]


def _score(client: httpx.Client, pairs: Sequence[LabelledPair]) -> Scores:
    scores: list[Any] = []
    for start in range(0, len(pairs), BATCH):
        chunk = pairs[start : start + BATCH]
        body = {"pairs": [{"question1": p.question1, "question2": p.question2} for p in chunk]}
        answer = client.post("/pair-score", json=body).raise_for_status()
        scores += answer.json()["scores"]
    probabilities = np.array([score["probability"] for score in scores])
    return Scores(probabilities, np.array([score["verdict"] for score in scores]))


def _print_sets(sets: Sequence[PairSet], scored: Sequence[Scores]) -> None:
    print("| set | pairs | chance | AP | recall at 0.90 chosen here |", end="")
    print(" duplicates called duplicate, review, different |", end="")
    print(" different ones likewise | precision of `duplicate` |")
    print("|---|---|---|---|---|---|---|---|")
    for one, scores in zip(sets, scored, strict=True):
        labels = one.labels
        figures = ranking(scores.probabilities, labels)
        precision = _precision(scores.verdicts, labels)
        cells = [
            one.name,
            f"{len(labels):,}",
            f"{labels.mean():.3f}",
            f"{figures['average_precision']:.3f}",
            f"{figures['recall_at_precision']['0.90']:.2f}",
            _shares(scores.verdicts[labels]),
            _shares(scores.verdicts[~labels]),
            precision,
        ]
        print(f"| {' | '.join(cells)} |")


def _shares(verdicts: NDArray[np.str_]) -> str:
    return ", ".join(f"{np.mean(verdicts == verdict):.3f}" for verdict in VERDICTS)


def _precision(verdicts: NDArray[np.str_], labels: NDArray[np.bool_]) -> str:
    called = verdicts == "duplicate"
    if not called.any():
        return "none called"
    return f"{labels[called].mean():.3f} of {np.count_nonzero(called)}"


def _print_kinds(sets: Sequence[PairSet], scored: Sequence[Scores]) -> None:
    """Verdicts by kind, of the sets that tell it."""
    for one, scores in zip(sets, scored, strict=True):
        if not one.kinds:
            continue
        print(f"\n| {one.name}: kind | label | n | duplicate | review | different |")
        print("|---|---|---|---|---|---|")
        kinds = np.array(one.kinds)
        for label in (True, False):
            of_label = one.labels == label
            for kind in sorted(set(kinds[of_label])):
                verdicts = scores.verdicts[of_label & (kinds == kind)]
                counts = [np.count_nonzero(verdicts == verdict) for verdict in VERDICTS]
                row = [kind, int(label), len(verdicts), *counts]
                print(f"| {' | '.join(map(str, row))} |")


def _print_differences(
    sets: Sequence[PairSet], first: Sequence[Scores], second: Sequence[Scores]
) -> None:
    print("| set | first | second | difference | 95 % |\n|---|---|---|---|---|")
    for one, a, b in zip(sets, first, second, strict=True):
        before, after = (average_precision_score(one.labels, s.probabilities) for s in (a, b))
        low, high = _interval(one, a, b)
        difference = f"{after - before:+.3f}"
        print(
            f"| {one.name} | {before:.3f} | {after:.3f} | {difference} | {low:+.3f} to {high:+.3f} |"
        )


def _interval(one: PairSet, a: Scores, b: Scores) -> tuple[float, float]:
    """The 95 % interval of the difference of average precision, over resampled components."""
    of_pair = components(one.pairs)
    order = np.argsort(of_pair, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(of_pair[order])) + 1)
    chances = np.random.default_rng(SEED)
    labels = one.labels
    differences: list[float] = []
    while len(differences) < RESAMPLES:
        drawn = chances.integers(0, len(members), len(members))
        rows = np.concatenate([members[i] for i in drawn])
        if labels[rows].any() and not labels[rows].all():
            before = average_precision_score(labels[rows], a.probabilities[rows])
            after = average_precision_score(labels[rows], b.probabilities[rows])
            differences.append(after - before)
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    main()
