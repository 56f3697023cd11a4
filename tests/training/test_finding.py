"""The data that a bi-encoder learns to find from, and the loss by which a teacher shows it how near questions are."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training import finding, objectives
from training.finding import PARAPHRASES, asked_in_domain, domain_batches, finding_pairs
from training.objectives import SCALE, FindingLoss
from training.pairs import LabelledPair
from training.written import Cluster, NearMiss, read_clusters

CLUSTER = Cluster(
    "bikes",
    "How do I patch a tube?",
    ("tube patch, how", "patching a tube", "what mends a tube", "tube has a hole"),
    (NearMiss("object", "How do I patch a tyre?", "tyre patch, how"),),
)


def test_finding_is_learnt_from_duplicates_alone() -> None:
    quora = [LabelledPair("a", "b", is_duplicate=True), LabelledPair("a", "c", is_duplicate=False)]
    pairs = finding_pairs([CLUSTER], quora)
    assert all(pair.is_duplicate for pair in pairs)
    own = [pair for pair in pairs if pair.question1 in CLUSTER.same]
    assert len(own) == PARAPHRASES
    assert all(pair.question2 in CLUSTER.same for pair in own)
    near = [pair for pair in pairs if pair.question1 not in CLUSTER.same]
    assert Counter((pair.question1, pair.question2) for pair in near) == Counter(
        [("How do I patch a tyre?", "tyre patch, how"), ("a", "b")]
    )


def test_a_batch_has_each_cluster_of_one_domain_once() -> None:
    clusters = {text: cluster for cluster in read_clusters("train") for text in cluster.same}
    batches = domain_batches(read_clusters("train"))
    domains = []
    for batch in batches:
        met = [{clusters[text].question for text in row} for row in batch]
        assert all(
            len(questions) == 1 and len(set(row)) == 4
            for questions, row in zip(met, batch, strict=True)
        )
        assert len({*map(frozenset, met)}) == len(batch) == 32
        (domain,) = {clusters[row[0]].domain for row in batch}
        domains.append(domain)
    assert len(domains) == 64 * finding.ROUNDS
    assert set(Counter(domains).values()) == {finding.ROUNDS}
    assert batches[0] != batches[64]  # drawn anew


def test_a_paraphrase_meets_all_questions_of_its_domain() -> None:
    other = Cluster("cars", "What is a clutch?", ("clutch, what",), ())
    same_domain = Cluster("bikes", "Which saddle?", ("saddle choice",), ())
    pairs = asked_in_domain([CLUSTER, other, same_domain])
    assert len(pairs) == 4 * 2 + 1 + 2
    assert LabelledPair("Which saddle?", "tube has a hole", is_duplicate=False) in pairs
    assert LabelledPair("Which saddle?", "saddle choice", is_duplicate=True) in pairs
    assert sum(pair.is_duplicate for pair in pairs) == 6


def given_vectors(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model whose vector of a text is its tokens' sum by a table."""
    table = torch.tensor([[0.0, 0.0], [1.0, 0.2], [0.3, 1.0], [-0.6, 0.5], [0.1, -0.9]])
    embedded = table[features["input_ids"]] * features["attention_mask"][:, :, None]
    return {"sentence_embedding": embedded.sum(dim=1)}


def columns_of(*texts: list[list[int]]) -> list[dict[str, torch.Tensor]]:
    """Token numbers as a tokenizer gives them: padded to the longest of a column."""
    columns = []
    for column in texts:
        longest = max(map(len, column))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in column])
        columns.append({"input_ids": ids, "attention_mask": (ids > 0).long()})
    return columns


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / norms


def test_the_loss_is_the_divergence_from_the_teachers_softmax_and_the_log_loss_of_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By value: two rows of three texts of different lengths, read one at a time."""
    monkeypatch.setattr(objectives, "LIKE_LENGTH", 1)
    columns = columns_of([[1], [2, 3, 3]], [[1, 2, 1, 1], [3]], [[4, 2], [4]])
    shown = unit(np.random.default_rng(3).normal(size=(2, 3, 5))).astype(np.float32)
    losses = FindingLoss(given_vectors)(columns, torch.from_numpy(shown))
    own = [given_vectors(column)["sentence_embedding"].numpy() for column in columns]
    texts = [(row, column) for row in range(2) for column in range(3)]
    taught = duplicates = 0.0
    for text in texts:
        others = [other for other in texts if other != text]
        near, wanted = {}, {}
        for row, column in others:
            ours = unit(own[text[1]][text[0]]) @ unit(own[column][row])
            near[row, column] = math.exp(SCALE * float(ours))
            wanted[row, column] = math.exp(SCALE * float(shown[text] @ shown[row, column]))
        for other in others:
            right, said = wanted[other] / sum(wanted.values()), near[other] / sum(near.values())
            taught += right * math.log(right / said) / 6
        different = sum(near[other] for other in others if other[0] != text[0])
        for other in others:
            if other[0] == text[0]:
                duplicates -= math.log(near[other] / (near[other] + different)) / 12
    np.testing.assert_allclose(float(losses["taught"]), taught, rtol=1e-4)
    np.testing.assert_allclose(float(losses["duplicates"]), duplicates, rtol=1e-4)
