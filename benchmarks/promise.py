"""Whether a promised precision is kept, and how many labels it takes.

    python benchmarks/promise.py simulate --runs 200 --json
    python benchmarks/promise.py written --side report --json
    python benchmarks/promise.py cost

`simulate` draws near pairs whose probabilities are off in some way, and labels them as the review queue asks, by four
kinds of people. A run is broken if at any look the threshold that labels support has a lower true precision than the
target. `written` makes each domain of the written questions a collection of all its texts, and one of all
domains. It reads the near pairs by the release, and counts labels until the targets are supported: by the
queue, and by pairs drawn at random. `cost` times what `GET …/evidence` computes from 20,000 labels.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from app.engine.collection_thresholds import (
    TIGHTER,
    Drawn,
    Evidence,
    Promise,
    derive,
    stratum_of,
    weights_of,
)
from app.engine.drawing import STRATA, Plan, draw, plan
from app.engine.models.backends import TORCH
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.scorer import Scorer
from app.engine.verdicts import unread
from training.progress_writer import ProgressWriter
from training.slices import in_slices
from training.written import Cluster, read_clusters

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import say, show

LOOK_EVERY = 5  # labels
MOST_LABELS = 250
MOST_OF_WRITTEN = 3000
COST_LABELS, COST_PAIRS, COST_ROUNDS = 20_000, 25_000, 9
REVIEW = 0.03
NEAR = 5
SIMULATED_PAIRS = 3000
TARGETS = (0.90, 0.95)
EDGES_NEAR_ONE = (0.75, 0.80, 0.85)
ALL = "all domains as one collection"

Numbers = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """Near pairs: probabilities (m,) and whether they are duplicates (m,)."""

    probabilities: Numbers
    is_duplicate: Labels


@dataclass(frozen=True)
class Outcome:
    """The outcome of labelling: labels until the target was supported, its last threshold, and whether it was
    broken."""

    labels: int | None
    promise: Promise | None
    is_broken: bool
    precision: float | None
    recall: float | None


# A person's word on a pair: True, False, or None where it is skipped or contradicted.
Person = Callable[[float, bool, np.random.Generator], tuple[bool | None, bool]]


def careful(_: float, truth: bool, __: np.random.Generator) -> tuple[bool | None, bool]:
    """Always right."""
    return truth, False


def hasty(_: float, truth: bool, lots: np.random.Generator) -> tuple[bool | None, bool]:
    """Wrong in one of twenty pairs."""
    return truth ^ bool(lots.random() < 0.05), False


def choosy(probability: float, truth: bool, lots: np.random.Generator) -> tuple[bool | None, bool]:
    """Skips the harder pairs: one in three that is no clear duplicate."""
    skips = lots.random() < (0.4 if not truth or probability < 0.75 else 0.02)
    return (None if skips else truth), False


def quarrelling(_: float, truth: bool, lots: np.random.Generator) -> tuple[bool | None, bool]:
    """Two people, who contradict each other in one of ten pairs."""
    return truth, bool(lots.random() < 0.1)


PEOPLE: Mapping[str, Person] = {
    "careful": careful,
    "hasty": hasty,
    "choosy": choosy,
    "quarrelling": quarrelling,
}


class Labelling:
    """One run: pairs are drawn, labelled, and looked at every few labels."""

    def __init__(
        self, truth: Truth, target: float, person: Person, seed: int, *, at_random: bool
    ) -> None:
        self._truth = truth
        self._target = target
        self._person = person
        self._lots = np.random.default_rng(seed)
        self._at_random = at_random
        self._strata = stratum_of(truth.probabilities)
        self._sizes = np.bincount(self._strata, minlength=STRATA)
        self._is_left = np.ones(len(truth.probabilities), dtype=np.bool_)
        self._places: list[int] = []
        self._said: list[bool] = []

    def run(self, most: int) -> Outcome:
        """Label up to so many pairs."""
        labels: int | None = None
        promise: Promise | None = None
        is_broken = False
        asked = 0
        evidence = self._evidence()
        while asked < most and self._is_left.any():
            asked += self._label(evidence, min(LOOK_EVERY, most - asked))
            evidence = self._evidence()
            found = evidence.promise(self._target, REVIEW)
            if found.is_kept:
                promise = found
                labels = asked if labels is None else labels
                is_broken = is_broken or self._precision(found) < self._target
        return self._outcome(labels, promise, is_broken)

    def until_supported(self, most: int) -> Outcome:
        """Label until the target is supported, or up to so many pairs."""
        asked = 0
        evidence = self._evidence()
        while asked < most and self._is_left.any():
            asked += self._label(evidence, LOOK_EVERY)
            evidence = self._evidence()
            found = evidence.promise(self._target, REVIEW)
            if found.is_kept:
                is_broken = self._precision(found) < self._target
                return self._outcome(asked, found, is_broken)
        return self._outcome(None, None, is_broken=False)

    def _evidence(self) -> Evidence:
        places = np.array(self._places, dtype=np.int64)
        strata = [str(stratum) for stratum in self._strata[places]]
        if self._at_random:
            strata = ["all"] * len(places)
        sizes = self._sizes[self._strata[places]].tolist()
        if self._at_random:
            sizes = [len(self._strata)] * len(places)
        drawn = Drawn(
            self._truth.probabilities[places],
            np.array(self._said, dtype=np.bool_),
            weights_of(strata, sizes),
        )
        return Evidence(drawn, self._truth.probabilities)

    def _label(self, evidence: Evidence, count: int) -> int:
        wanted = Plan(np.ones(STRATA))
        if not self._at_random:
            wanted = plan(evidence, self._target, REVIEW)
        asked = 0
        for _ in range(count):
            candidates = np.flatnonzero(self._is_left)
            if not len(candidates):
                break
            if not self._at_random:
                left = np.bincount(self._strata[candidates], minlength=STRATA)
                where = draw(wanted, left, self._lots)
                assert where
                candidates = candidates[self._strata[candidates] == where.stratum]
            place = int(self._lots.choice(candidates))
            self._is_left[place] = False
            self._ask(place)
            asked += 1
        return asked

    def _ask(self, place: int) -> None:
        probability = float(self._truth.probabilities[place])
        truth = bool(self._truth.is_duplicate[place])
        said, is_contradicted = self._person(probability, truth, self._lots)
        if not is_contradicted:
            self._places.append(place)
            self._said.append(bool(said))

    def _precision(self, promise: Promise) -> float:
        called = self._truth.probabilities >= (promise.duplicate or 1.0)
        return float(self._truth.is_duplicate[called].mean()) if called.any() else 1.0

    def _outcome(self, labels: int | None, promise: Promise | None, is_broken: bool) -> Outcome:
        if promise is None:
            return Outcome(labels, None, is_broken, None, None)
        called = self._truth.probabilities >= (promise.duplicate or 1.0)
        found = self._truth.is_duplicate[called].sum() / max(1, self._truth.is_duplicate.sum())
        return Outcome(labels, promise, is_broken, self._precision(promise), float(found))


def simulated(seed: int) -> Truth:
    """Near pairs of a made collection: how far its probabilities are off is drawn by lot too."""
    lots = np.random.default_rng([seed, 1])
    probabilities = lots.beta(0.4, 0.6, SIMULATED_PAIRS)
    slope, shift = lots.uniform(0.6, 1.8), lots.uniform(-1.0, 1.5)
    odds = np.log(probabilities / (1 - probabilities))
    truth = 1 / (1 + np.exp(-(slope * odds + shift)))
    return Truth(probabilities, lots.random(SIMULATED_PAIRS) < truth)


def simulate(seeds: Sequence[int], person: str) -> dict[str, Any]:
    """A run for each seed, of one kind of person: how often a promise was made, and how often it was broken."""
    outcomes = []
    for seed in seeds:
        target = TARGETS[seed % len(TARGETS)]
        labelling = Labelling(simulated(seed), target, PEOPLE[person], seed, at_random=False)
        outcomes.append(labelling.run(MOST_LABELS))
    made = [one for one in outcomes if one.promise]
    return {
        "runs": len(seeds),
        "promised": len(made),
        "broken": sum(one.is_broken for one in outcomes),
        "labels until promised, median": _median([one.labels for one in made]),
        "recall, median": _median([one.recall for one in made]),
    }


def cost(scorer: Scorer) -> dict[str, Any]:
    """The milliseconds of thresholds, curve and tighter promises; medians of some rounds."""
    lots = np.random.default_rng(0)
    population = lots.beta(0.4, 0.6, COST_PAIRS)
    places = lots.choice(COST_PAIRS, COST_LABELS, replace=False)
    probabilities = population[places]
    is_duplicate = lots.random(COST_LABELS) < probabilities
    strata = stratum_of(probabilities)
    sizes = np.bincount(stratum_of(population), minlength=STRATA)[strata].tolist()
    weights = weights_of([str(stratum) for stratum in strata], sizes)
    of_release = scorer.thresholds(None)
    seconds = []
    for _ in range(COST_ROUNDS):
        start = perf_counter()
        evidence = Evidence(Drawn(probabilities, is_duplicate, weights), population)
        thresholds, _ = derive(evidence, of_release, TARGETS[-1], None)
        derived = perf_counter()
        evidence.curve()
        for target in TIGHTER:
            evidence.promise(target, thresholds.review)
        seconds.append((derived - start, perf_counter() - derived))
    derivation, telling = 1000 * np.median(seconds, axis=0)
    return {
        "near pairs": COST_PAIRS,
        "labels": COST_LABELS,
        "thresholds, ms": round(float(derivation)),
        "curve and promises, ms": round(float(telling)),
    }


def written(
    release: Release, side: str, domains: Sequence[str], device: str, backend: str
) -> dict[str, Any]:
    """Each domain as a collection: labels until each target is supported, by the queue and at random."""
    clusters = read_clusters("report" if side == "report" else "calibration")
    names = domains or sorted({cluster.domain for cluster in clusters})
    encoder, classifier = open_models(release, device, backend)
    scorer = release.scorer("0.90")

    def read(texts: Sequence[str], pairs: Sequence[tuple[int, int]]) -> Numbers:
        return _probabilities(texts, pairs, encoder, classifier, scorer)

    figures: dict[str, Any] = {}
    for name in [*names, ALL]:
        say(f"reading {name}")
        own = [cluster for cluster in clusters if name in (cluster.domain, ALL)]
        truth = collection_of(own, encoder.encode, read)
        figures[name] = {
            "near pairs": len(truth.probabilities),
            "duplicates": int(truth.is_duplicate.sum()),
            **_near_one(truth),
            **{f"{target:.2f}": _compared(truth, target) for target in TARGETS},
        }
    return figures


def _near_one(truth: Truth) -> dict[str, str]:
    """How many pairs lie at or above some probabilities, and how many of these are duplicates."""
    counts = {}
    for edge in EDGES_NEAR_ONE:
        above = truth.probabilities >= edge
        counts[f"at {edge:.2f} or more"] = f"{above.sum()}, {truth.is_duplicate[above].sum()} right"
    return counts


def collection_of(
    clusters: Sequence[Cluster],
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    read: Callable[[Sequence[str], Sequence[tuple[int, int]]], Numbers],
) -> Truth:
    """The near pairs of all texts of the clusters, without those of which nobody says whether they are duplicates."""
    texts, meanings, groups = [], [], []
    for number, cluster in enumerate(clusters):
        texts += list(cluster.same)
        meanings += [f"{number}"] * len(cluster.same)
        groups += [number] * len(cluster.same)
        for place, near in enumerate(cluster.near_misses):
            both = [near.text, near.twin] if near.twin else [near.text]
            texts += both
            meanings += [f"{number}!{place}"] * len(both)
            groups += [number] * len(both)
    vectors = in_slices(encode, texts, ProgressWriter())
    pairs = [pair for pair in near_pairs(vectors) if _is_known(pair, meanings, groups)]
    is_duplicate = np.array([meanings[one] == meanings[other] for one, other in pairs])
    return Truth(read(texts, pairs), is_duplicate)


def near_pairs(vectors: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Each row (n, d) with the few that are nearest to it."""
    near = vectors @ vectors.T
    np.fill_diagonal(near, -1)
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEAR]
    pairs: set[tuple[int, int]] = set()
    for row, others in enumerate(nearest.tolist()):
        pairs.update((min(row, other), max(row, other)) for other in others)
    return sorted(pairs)


def _is_known(pair: tuple[int, int], meanings: Sequence[str], groups: Sequence[int]) -> bool:
    """Two near-misses of one cluster may ask the same: nobody says so."""
    one, other = (meanings[place] for place in pair)
    both_near_misses = "!" in one and "!" in other and one != other
    return not (both_near_misses and groups[pair[0]] == groups[pair[1]])


def _probabilities(
    texts: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    encoder: Any,
    classifier: Any,
    scorer: Scorer,
) -> Numbers:
    silent = ProgressWriter()
    vectors = in_slices(encoder.encode, texts, silent)
    first = vectors[[one for one, _ in pairs]]
    second = vectors[[other for _, other in pairs]]
    near = np.einsum("ij,ij->i", first, second).astype(np.float32)
    logits = unread(len(pairs))
    is_open = np.flatnonzero(scorer.is_open(near))
    if classifier:
        words = [(texts[pairs[i][0]], texts[pairs[i][1]]) for i in is_open.tolist()]
        logits[is_open] = in_slices(classifier.score, words, silent)
    return scorer.probabilities(near, logits)


def _compared(truth: Truth, target: float, seeds: int = 5) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, at_random in (("queue", False), ("random", True)):
        outcomes = [
            Labelling(truth, target, careful, seed, at_random=at_random).until_supported(
                min(MOST_OF_WRITTEN, len(truth.probabilities))
            )
            for seed in range(seeds)
        ]
        made = [one for one in outcomes if one.promise]
        figures[name] = {
            "supported": f"{len(made)} of {seeds}",
            "labels": _median([one.labels for one in made]),
            "recall": _median([one.recall for one in made]),
            "broken": sum(one.is_broken for one in made),
        }
    return figures


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 3) if known else None


def main() -> None:
    """Read what is asked for, run it, show the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["simulate", "written", "cost"])
    parser.add_argument("--runs", type=int, default=200, help="of each kind of person")
    parser.add_argument("--first", type=int, default=0, help="the first run's seed")
    parser.add_argument("--people", nargs="*", default=list(PEOPLE), choices=list(PEOPLE))
    parser.add_argument("--side", default="calibration", choices=["calibration", "report"])
    parser.add_argument("--domains", nargs="*", default=[], help="without: all of the side")
    parser.add_argument("--release", type=Path, default=Path("releases/minilm-questions-2"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default=TORCH)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    disable_progress_bar()
    if arguments.what == "simulate":
        figures = {}
        for person in arguments.people:
            say(f"{arguments.runs} runs of a {person} person")
            seeds = range(arguments.first, arguments.first + arguments.runs)
            figures[person] = simulate(seeds, person)
    elif arguments.what == "cost":
        figures = cost(Release.open(arguments.release).scorer("0.90"))
    else:
        release = Release.open(arguments.release)
        models = arguments.device, arguments.backend
        figures = written(release, arguments.side, arguments.domains, *models)
    show(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
