"""Written clusters in; a bi-encoder that finds paraphrases out.

By itself it learns from duplicates, Quora's among them, each among all others of its batch. A teacher shows it more: of
the questions of one domain, how near each other they are.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from app.engine.release import Release
from app.engine.training_contract import Device
from training.objectives import Examples, ObjectiveName
from training.pairs import LabelledPair, duplicates_of
from training.progress_writer import ProgressWriter
from training.teacher import show
from training.train import Options, averaged, train
from training.written import Cluster, read_clusters

SEED = 20
PARAPHRASES = 3  # pairs of each cluster
QUORA = 2000  # its duplicates
ALONE = Options(batch_size=128, learning_rate=3e-5, frozen_layers=1, seed=SEED)
KEPT_ALONE = 0.5  # share of the start's weights

ROUNDS = 3  # through all domains
ASK_THE_SAME = 4  # questions of each cluster, in each round
BY_TEACHER = Options(batch_size=32, learning_rate=1e-4, frozen_layers=1, seed=SEED)
KEPT_BY_TEACHER = 0.2

Row = tuple[str, ...]  # questions that ask the same


class Finding(Protocol):
    """A way to learn to find."""

    @property
    def pairs(self) -> Sequence[LabelledPair]:
        """The duplicates that are learnt from."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """How that is done, for the manifest."""

    def learn(self, start: Path, work: Path, progress: ProgressWriter, device: Device) -> Path:
        """The folder of the bi-encoder, which keeps a share of its start's weights."""


@dataclass(frozen=True)
class Alone:
    """From duplicates, each of which is looked for among the others of a mixed batch."""

    pairs: Sequence[LabelledPair]

    @property
    def settings(self) -> Mapping[str, Any]:
        return {ObjectiveName.MNRL: _settings(self.pairs, ALONE, KEPT_ALONE)}

    def learn(self, start: Path, work: Path, progress: ProgressWriter, device: Device) -> Path:
        examples = partial(Examples, self.pairs)
        options = replace(ALONE, device=device)
        trained = train(ObjectiveName.MNRL, start, examples, _tune(), options, work, progress)
        return _keeping(KEPT_ALONE, start, trained)


@dataclass(frozen=True)
class ByTeacher:
    """From a teacher, whose bi-encoder says how near each other the questions of a domain are."""

    teacher: Release
    batches: Sequence[Sequence[Row]]

    @property
    def pairs(self) -> Sequence[LabelledPair]:
        """Neighbours in a row: they chain together all that ask the same."""
        rows = [row for batch in self.batches for row in batch]
        return [LabelledPair(*pair, is_duplicate=True) for row in rows for pair in pairwise(row)]

    @property
    def settings(self) -> Mapping[str, Any]:
        settings = _settings(self.pairs, BY_TEACHER, KEPT_BY_TEACHER)
        return {ObjectiveName.DISTILL_FINDING: {**settings, "teacher": self.teacher.name}}

    def learn(self, start: Path, work: Path, progress: ProgressWriter, device: Device) -> Path:
        def examples() -> Examples:
            rows = [row for batch in self.batches for row in batch]
            lengths = [len(batch) for batch in self.batches]
            return Examples([], shown=show(self.teacher, rows, device, progress, lengths))

        options = replace(BY_TEACHER, device=device)
        objective = ObjectiveName.DISTILL_FINDING
        trained = train(objective, start, examples, _tune(), options, work, progress)
        return _keeping(KEPT_BY_TEACHER, start, trained)


def _settings(pairs: Sequence[LabelledPair], options: Options, kept: float) -> dict[str, Any]:
    return {
        "pairs": len(pairs),
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "keep": kept,
    }


def _tune() -> list[LabelledPair]:
    return asked_in_domain(read_clusters("calibration"))


def _keeping(share: float, start: Path, trained: Path) -> Path:
    folder = trained.parent / f"keeping-{share}"
    return averaged("encoder", {trained: 1 - share, start: share}, folder)


def finding_pairs(clusters: Sequence[Cluster], quora: Sequence[LabelledPair]) -> list[LabelledPair]:
    """Duplicates in random order: paraphrases, near-misses with their twins, some of Quora."""
    chances = random.Random(SEED)
    pairs = []
    for cluster in clusters:
        texts = chances.sample(cluster.same, len(cluster.same))
        for one, other in list(pairwise(texts))[:PARAPHRASES]:
            pairs.append(LabelledPair(one, other, is_duplicate=True))
        near = chances.choice(cluster.near_misses)
        if near.twin:
            pairs.append(LabelledPair(near.text, near.twin, is_duplicate=True))
    duplicates = duplicates_of(quora)
    pairs += chances.sample(duplicates, min(QUORA, len(duplicates)))
    chances.shuffle(pairs)
    return pairs


def domain_batches(clusters: Sequence[Cluster]) -> list[list[Row]]:
    """Batches of one domain each, in which every cluster has one row of four questions that ask the same.

    So whatever stands in two rows of a batch asks for something else, as far as its writers knew.
    """
    chances = random.Random(SEED)
    domains: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        if len(cluster.same) >= ASK_THE_SAME:
            domains.setdefault(cluster.domain, []).append(cluster)
    batches = []
    for _ in range(ROUNDS):
        for members in domains.values():
            batch = [tuple(chances.sample(cluster.same, ASK_THE_SAME)) for cluster in members]
            batches.append(batch)
    return batches


def asked_in_domain(clusters: Sequence[Cluster]) -> list[LabelledPair]:
    """Each paraphrase with each question of its domain: how well these tell its own tells how well it is found."""
    return [
        LabelledPair(other.question, text, is_duplicate=other is asked)
        for asked in clusters
        for other in clusters
        for text in asked.paraphrases
        if other.domain == asked.domain
    ]
