"""Written clusters and a teacher in; pairs of different questions of one domain, near each other, out."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.training_contract import Device
from training.evaluation import similarities
from training.pairs import LabelledPair
from training.progress_writer import ProgressWriter
from training.slices import in_slices
from training.written import Cluster

DRAWN = 4  # texts of each cluster, of any kind
NEAREST = 2  # of each text drawn, in other clusters of its domain
MOST_PROBABLE = 0.5  # by the teacher: above it a pair may be a duplicate that nobody labelled


@dataclass(frozen=True)
class Related:
    """Pairs taken for different, the nearest first, with their similarity and the teacher's probability."""

    pairs: Sequence[LabelledPair]
    similarities: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    left_out: int  # pairs that the teacher took for duplicates


def related_pairs(
    clusters: Sequence[Cluster],
    teacher: Release,
    count: int,
    seed: int,
    progress: ProgressWriter,
    device: Device = "auto",
) -> Related:
    """Up to `count` near pairs of texts of different clusters in one domain, less those that the teacher takes for
    duplicates: some texts of each cluster, drawn by the seed, and their nearest others among them."""
    chances = random.Random(seed)
    encoder, classifier = open_models(teacher, device)
    texts, owners, domains = _texts(clusters, chances)
    vectors = in_slices(encoder.encode, texts, progress)
    near = _near(vectors, owners, domains)
    drawn = chances.sample(sorted(near), min(count, len(near)))
    pairs = [LabelledPair(texts[a], texts[b], is_duplicate=False) for a, b in drawn]
    near_by = similarities(pairs, texts, vectors)
    asked = [(pair.question1, pair.question2) for pair in pairs]
    logits = in_slices(classifier.score, asked, progress) if classifier else None
    probabilities = teacher.scorer("0.90").probability(near_by, logits)
    nearest_first = np.argsort(-near_by, kind="stable")
    is_different = probabilities <= MOST_PROBABLE
    kept = nearest_first[is_different[nearest_first]]
    return Related(
        pairs=[pairs[place] for place in kept],
        similarities=near_by[kept],
        probabilities=probabilities[kept],
        left_out=len(pairs) - len(kept),
    )


def _texts(
    clusters: Sequence[Cluster], chances: random.Random
) -> tuple[list[str], NDArray[np.int64], dict[str, list[int]]]:
    """Texts drawn, the number of each one's cluster (n,), and the places of each domain's texts."""
    texts: list[str] = []
    owners: list[int] = []
    domains: dict[str, list[int]] = {}
    for number, cluster in enumerate(clusters):
        own = cluster.texts
        drawn = chances.sample(own, min(DRAWN, len(own)))
        places = domains.setdefault(cluster.domain, [])
        for text in drawn:
            places.append(len(texts))
            texts.append(text)
            owners.append(number)
    return texts, np.array(owners), domains


def _near(
    vectors: NDArray[np.float32], owners: NDArray[np.int64], domains: dict[str, list[int]]
) -> set[tuple[int, int]]:
    """Places of each text and its nearest of other clusters, in its own domain; vectors are (n, d) float32."""
    found: set[tuple[int, int]] = set()
    for members in domains.values():
        rows = np.array(members)
        own = vectors[rows]
        own_clusters = owners[rows]
        near = own @ own.T
        is_same_cluster = own_clusters[:, None] == own_clusters[None, :]
        near[is_same_cluster] = -np.inf
        nearest = np.argsort(-near, axis=1)[:, :NEAREST]
        for place, others in enumerate(rows[nearest].tolist()):
            for other in others:
                one = members[place]
                found.add((min(one, other), max(one, other)))
    return found
