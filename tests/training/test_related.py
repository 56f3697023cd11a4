"""Related pairs: near each other, of one domain, of different clusters, and not duplicates by the teacher."""

import numpy as np

from app.engine.models.opening import open_models
from app.engine.release import Release
from training.progress_writer import ProgressWriter
from training.related import MOST_PROBABLE, related_pairs
from training.written import Cluster, read_clusters


def owners_of(clusters: list[Cluster]) -> dict[str, tuple[int, str]]:
    """The number and the domain of each text's cluster."""
    owners: dict[str, tuple[int, str]] = {}
    for number, cluster in enumerate(clusters):
        for near in cluster.near_misses:
            for text in (near.text, near.twin or near.text):
                owners[text] = number, cluster.domain
        for text in cluster.same:
            owners[text] = number, cluster.domain
    return owners


def test_related_pairs_join_different_clusters_of_one_domain(tiny_release: Release) -> None:
    every = read_clusters("train")
    domains = sorted({cluster.domain for cluster in every})[:2]
    clusters = [cluster for cluster in every if cluster.domain in domains]
    owners = owners_of(clusters)
    related = related_pairs(clusters, tiny_release, 50, 0, ProgressWriter())
    assert len(related.pairs) + related.left_out == 50
    assert related.pairs
    for pair in related.pairs:
        (one, domain), (other, other_domain) = owners[pair.question1], owners[pair.question2]
        assert one != other
        assert domain == other_domain
        assert not pair.is_duplicate


def test_they_come_nearest_first_and_the_teacher_takes_none_for_a_duplicate(
    tiny_release: Release,
) -> None:
    clusters = [c for c in read_clusters("train") if c.domain == "git_ci"]
    related = related_pairs(clusters, tiny_release, 30, 0, ProgressWriter())
    assert np.all(np.diff(related.similarities) <= 0)
    assert np.all(related.probabilities <= MOST_PROBABLE)
    encoder, _ = open_models(tiny_release, "cpu")
    first = encoder.encode([pair.question1 for pair in related.pairs])
    second = encoder.encode([pair.question2 for pair in related.pairs])
    np.testing.assert_allclose(related.similarities, (first * second).sum(axis=1), atol=1e-5)
