"""The promise of labels and its outcome, by how people label: all, the easy pairs, the top, with noise, few.

    python benchmarks/labelling.py --json

Written questions of eight domains that no release learns from are stored among others, and their paraphrases,
near-misses and twins are asked. Half of the clusters are labelled, each time in another way; calibration and thresholds
are fitted to these labels as a training run of the recipe `calibration` does. The promise of the threshold is held
against the other half. `unbounded` is the threshold of the same labels without the bounds: a half, where `review`
begins, and pairs seen close to it.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar

from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.scorer import Threshold
from app.settings import Settings
from training.build import LOGIT_LIMIT
from training.calibration import fit_scale, fit_threshold
from training.evaluation import Evidence
from training.progress_writer import ProgressWriter
from training.served import Served, serve
from training.slices import in_slices
from training.written import Cluster, read_clusters

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import say, show

SEED = 20
EASY_DUPLICATES, EASY_DIFFERENT = 205, 60
FEW = 80
FLIPPED = 0.1

Rows = NDArray[np.int64]


def main() -> None:
    """Read the pairs once, then label them in each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, default=Settings().release)
    parser.add_argument("--target", default="0.90", choices=["0.90", "0.95", "0.98", "0.99"])
    parser.add_argument("--clusters", type=int, default=32, help="of each domain, half to label")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    disable_progress_bar()
    release = Release.open(arguments.release)
    clusters = some_of_each_domain(read_clusters("calibration"), arguments.clusters)
    say(f"reading the pairs of {len(clusters)} clusters")
    pool = Pool.of(release, clusters, arguments.device)
    figures = {}
    for name, label in WAYS.items():
        figures[name] = outcome(pool, label, arguments.target)
    show(figures, as_json=arguments.json)


def some_of_each_domain(clusters: Sequence[Cluster], count: int) -> list[Cluster]:
    """The first clusters of each domain."""
    taken: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        taken.setdefault(cluster.domain, []).append(cluster)
    return [cluster for of_domain in taken.values() for cluster in of_domain[:count]]


@dataclass(frozen=True)
class Pool:
    """The pairs of a service, and a release's evidence on them; clusters of even number are labelled."""

    release: Release
    evidence: Evidence

    @classmethod
    def of(cls, release: Release, clusters: Sequence[Cluster], device: str) -> "Pool":
        """Ask the clusters' texts of their questions, stored among those of other domains."""
        silent = ProgressWriter()
        encoder, classifier = open_models(release, device)
        others = [cluster.question for cluster in read_clusters("train")]
        served: Served = serve(encoder, clusters, others, silent)
        logits = in_slices(classifier.score, served.pairs, silent) if classifier else None
        evidence = Evidence(served.similarities, logits, served.labels, served.clusters)
        return cls(release, evidence)

    @property
    def to_label(self) -> Rows:
        """The places of the pairs that people may label."""
        return np.flatnonzero(self.evidence.components % 2 == 0)

    @property
    def held(self) -> Rows:
        """The places of the pairs that the promise is held against."""
        return np.flatnonzero(self.evidence.components % 2 == 1)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of all pairs, by the release as it is."""
        return self.release.scale.calibration.probability(*self.evidence.features)


Labels = tuple[Rows, NDArray[np.bool_]]  # places, and what is said of each


def all_pairs(pool: Pool) -> Labels:
    """Each pair that the service offers, rightly."""
    rows = pool.to_label
    return rows, pool.evidence.labels[rows]


def easy(pool: Pool) -> Labels:
    """Duplicates that look alike, and pairs that have nothing in common."""
    rows = pool.to_label
    near = rows[np.argsort(-pool.evidence.similarities[rows], kind="stable")]
    is_duplicate = pool.evidence.labels[near]
    duplicates = near[is_duplicate][:EASY_DUPLICATES]
    different = near[~is_duplicate][-EASY_DIFFERENT:]
    chosen = np.append(duplicates, different)
    return chosen, pool.evidence.labels[chosen]


def top(pool: Pool) -> Labels:
    """The pairs that the release itself puts above one half, rightly."""
    rows = pool.to_label
    chosen = rows[pool.probabilities[rows] >= 0.5]
    return chosen, pool.evidence.labels[chosen]


def noisy(pool: Pool) -> Labels:
    """Each pair, one in ten of them wrongly."""
    rows, labels = all_pairs(pool)
    flipped = np.random.default_rng(SEED).uniform(size=len(rows)) < FLIPPED
    return rows, labels ^ flipped


def few(pool: Pool) -> Labels:
    """Some pairs, half of them duplicates, rightly."""
    rows = np.random.default_rng(SEED).permutation(pool.to_label)
    is_duplicate = pool.evidence.labels[rows]
    half = FEW // 2
    chosen = np.append(rows[is_duplicate][:half], rows[~is_duplicate][:half])
    return chosen, pool.evidence.labels[chosen]


WAYS: Mapping[str, Callable[[Pool], Labels]] = {
    "all": all_pairs,
    "easy": easy,
    "top": top,
    "noisy": noisy,
    "few": few,
}


def outcome(pool: Pool, label: Callable[[Pool], Labels], target: str) -> dict[str, Any]:
    """The promise of the labels, and its outcome among the pairs held back."""
    rows, labels = label(pool)
    features = [feature[rows] for feature in pool.evidence.features]
    limits = [None, LOGIT_LIMIT][: len(features)]
    scale = fit_scale(features, labels, pool.evidence.components[rows], limits)
    probabilities = scale.calibration.probability(*features)
    unbounded = fit_threshold(probabilities, labels, float(target))
    held = [feature[pool.held] for feature in pool.evidence.features]
    of_held = scale.calibration.probability(*held)
    is_duplicate = pool.evidence.labels[pool.held]
    return {
        "labels": len(rows),
        "duplicates": int(labels.sum()),
        "review_from": round(scale.thresholds.review, 3),
        "bounded": observed(scale.thresholds.duplicate[target], of_held, is_duplicate),
        "unbounded": observed(unbounded, of_held, is_duplicate),
    }


def observed(
    threshold: Threshold, probabilities: NDArray[np.float64], is_duplicate: NDArray[np.bool_]
) -> dict[str, Any]:
    """Where the threshold lies, what it promises, and what is true of the pairs that it calls duplicates."""
    begins, promised = threshold.probability, threshold.precision_bound
    if begins is None or promised is None:
        return {"duplicate_from": None}
    called = probabilities >= begins
    right = int((called & is_duplicate).sum())
    return {
        "duplicate_from": round(begins, 3),
        "promised": round(promised, 3),
        "called": int(called.sum()),
        "precision": round(right / called.sum(), 3) if called.any() else None,
        "found": round(right / is_duplicate.sum(), 3),
    }


if __name__ == "__main__":
    main()
