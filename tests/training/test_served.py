"""What a service would judge: the nearest stored questions of all that the written clusters ask."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.text import folded_pair_digest
from training import served as served_room
from training.served import NEAREST, Asked, Served, serve_by
from training.written import Cluster, NearMiss

WORDS = ["tube", "tyre", "patch", "brake", "cat", "dog"]
CLUSTERS = [
    Cluster(
        "bikes",
        "patch tube",
        ("tube patch how",),
        (NearMiss("object", "patch tyre", "tyre patch"),),
    ),
    Cluster("pets", "feed cat", ("cat food",), (NearMiss("actor", "feed dog"),)),
]
OTHERS = ["brake", "dog brake", "tyre brake", "cat brake"]


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors that count words."""
    counts = np.array(
        [[word in text.split() for word in WORDS] for text in texts], dtype=np.float32
    )
    counts += 1e-3
    return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(name="served")
def _served() -> Served:
    return serve_by(encode, CLUSTERS, OTHERS)


def test_all_but_the_stored_question_are_asked(served: Served) -> None:
    assert list(served.asked) == [
        Asked("tube patch how", 0, "bikes", "paraphrase"),
        Asked("patch tyre", 0, "bikes", "near-miss"),
        Asked("tyre patch", 0, "bikes", "twin"),
        Asked("cat food", 1, "pets", "paraphrase"),
        Asked("feed dog", 1, "pets", "near-miss"),
    ]
    assert served.has_duplicate.tolist() == [True, False, False, True, False]


def test_each_is_judged_against_the_nearest(served: Served) -> None:
    assert len(served.rows) == 5 * NEAREST
    assert served.pairs[0] == ("tube patch how", "patch tube")
    assert served.similarities[0] == pytest.approx(1.0, abs=1e-5)
    first_of_near_miss = served.pairs[NEAREST]
    assert first_of_near_miss[0] == "patch tyre"
    for row in range(5):
        similarities = served.similarities[served.rows == row]
        assert (np.diff(similarities) <= 0).all()


def test_only_a_paraphrase_and_its_own_question_are_duplicates(served: Served) -> None:
    duplicates = [pair for pair, label in zip(served.pairs, served.labels, strict=True) if label]
    assert duplicates == [("tube patch how", "patch tube"), ("cat food", "feed cat")]


def test_clusters_that_ask_the_same_are_duplicates_of_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A near-miss of one cluster asks what another cluster's question asks, as two readers found."""
    across = frozenset([folded_pair_digest("feed dog", "dog brake")])
    monkeypatch.setattr(served_room, "read_across", lambda: across)
    served = serve_by(encode, CLUSTERS, OTHERS)
    duplicates = [pair for pair, label in zip(served.pairs, served.labels, strict=True) if label]
    assert ("feed dog", "dog brake") in duplicates
    assert served.has_duplicate.tolist() == [True, False, False, True, True]


def test_domains_and_clusters_are_those_of_what_is_asked(served: Served) -> None:
    assert served.domains.tolist() == ["bikes"] * 15 + ["pets"] * 10
    assert served.clusters.tolist() == [0] * 15 + [1] * 10
