"""Written clusters and other questions in; the pairs that a service would judge out.

Each cluster's question is stored among many of other domains; its paraphrases, near-misses and their twins are asked,
and each is judged against the nearest stored ones. So base rate and candidates are those of a service. Two clusters may
ask the same, since each was written by itself. Such pairs were read, and count as duplicates (`read_across`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.text import folded_pair_digest
from training.progress_writer import ProgressWriter
from training.slices import in_slices
from training.written import Cluster, read_across

NEAREST = 5  # stored questions that are judged for one that is asked

AskedKind = Literal["paraphrase", "near-miss", "twin"]


@dataclass(frozen=True)
class Asked:
    """A question that is asked: its text, its cluster's number and domain, and its kind in the cluster."""

    text: str
    cluster: int
    domain: str
    kind: AskedKind


@dataclass(frozen=True)
class Served:
    """The pairs to judge: n of an asked and a stored question, the nearest stored first for each asked one.

    A pair is a duplicate (`labels`) where a paraphrase meets its own cluster's question. It is one, too, where both
    readers of the pair say that two clusters ask the same.
    """

    asked: Sequence[Asked]
    rows: NDArray[np.int64]  # (n,) the place in `asked` of each pair
    stored: Sequence[str]  # of each pair
    similarities: NDArray[np.float32]  # (n,)
    labels: NDArray[np.bool_]  # (n,)

    @property
    def domains(self) -> NDArray[np.str_]:
        """The domain (n,) of each pair's asked question."""
        return np.array([self.asked[row].domain for row in self.rows])

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The cluster (n,) of each pair's asked question."""
        return np.array([self.asked[row].cluster for row in self.rows])

    @property
    def has_duplicate(self) -> NDArray[np.bool_]:
        """Of each asked question, whether it has a stored duplicate: a paraphrase has, found or not."""
        has = np.array([one.kind == "paraphrase" for one in self.asked])
        has[self.rows[self.labels]] = True
        return has

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The texts (n,) of each pair."""
        return [
            (self.asked[row].text, stored)
            for row, stored in zip(self.rows, self.stored, strict=True)
        ]


def serve(
    encoder: Encoder,
    clusters: Sequence[Cluster],
    others: Sequence[str],
    progress: ProgressWriter,
) -> Served:
    """The candidates of all that the clusters ask, with the clusters' questions stored among the others."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        return in_slices(encoder.encode, texts, progress)

    return serve_by(encode, clusters, others)


def serve_by(
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    clusters: Sequence[Cluster],
    others: Sequence[str],
) -> Served:
    """The same by a function that makes unit vectors (m, d) float32 of m texts."""
    questions = [cluster.question for cluster in clusters]
    stored = [*questions, *others]
    asked = _asked(clusters)
    index = encode(stored)
    vectors = encode([one.text for one in asked])
    near = vectors @ index.T
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEAREST]
    rows = np.repeat(np.arange(len(asked)), nearest.shape[1])
    places = nearest.ravel()
    is_own = places == np.array([asked[row].cluster for row in rows])
    is_paraphrase = np.array([one.kind == "paraphrase" for one in asked])[rows]
    candidates = [stored[place] for place in places]
    across = read_across()
    couples = zip(rows, candidates, strict=True)
    is_across = [folded_pair_digest(asked[row].text, text) in across for row, text in couples]
    return Served(
        asked,
        rows,
        candidates,
        near[rows, places].astype(np.float32),
        (is_own & is_paraphrase) | np.array(is_across),
    )


def _asked(clusters: Sequence[Cluster]) -> list[Asked]:
    asked = []
    for number, cluster in enumerate(clusters):
        asked += [Asked(text, number, cluster.domain, "paraphrase") for text in cluster.paraphrases]
        for near in cluster.near_misses:
            asked.append(Asked(near.text, number, cluster.domain, "near-miss"))
            if near.twin:
                asked.append(Asked(near.twin, number, cluster.domain, "twin"))
    return asked
