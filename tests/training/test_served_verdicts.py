"""Verdicts as served: what is harm, what is doubt; and a run from easy labels, by the models that ship."""

import json
import random
from pathlib import Path

import pytest

from app.engine.training_contract import Calls, ServedSet
from tests.conftest import RELEASES
from training.retrain import retrain
from training.served_verdicts import NEAR, WRITTEN, doubts, harm
from training.written import Cluster, read_clusters

TARGET = 0.90


def written(champion: Calls, challenger: Calls) -> list[ServedSet]:
    return [ServedSet(WRITTEN, champion, challenger)]


def test_calls_that_are_wrong_are_harm() -> None:
    (reason,) = harm(written(Calls(5000, 100, 95), Calls(5000, 400, 200)), TARGET)
    assert reason == (
        f"{WRITTEN}: 400 of 5000 called duplicates, 200 of them rightly (champion: 100, 95 rightly):"
        " fewer are right than 0.90"
    )
    assert harm(written(Calls(5000, 100, 95), Calls(5000, 400, 350)), TARGET) == []
    assert harm(written(Calls(5000, 0, 0), Calls(5000, 10, 0)), TARGET) == []  # too few to say


def test_a_champion_that_is_no_better_is_the_measure() -> None:
    for challenger in (Calls(5000, 400, 210), Calls(5000, 3000, 1400)):
        served = written(Calls(5000, 400, 200), challenger)
        assert harm(served, TARGET) == doubts(served, TARGET) == []


@pytest.mark.parametrize(
    ("champion", "challenger", "words"),
    [
        (Calls(5000, 100, 95), Calls(5000, 40, 33), "fewer look right than 0.90"),
        (Calls(5000, 100, 95), Calls(5000, 40, 40), "less than half as many"),
        (Calls(5000, 100, 95), Calls(5000, 0, 0), "less than half as many"),
        (Calls(115, 3), Calls(115, 109), "label some"),
    ],
)
def test_calls_that_look_wrong_too_few_or_unseen_are_doubts(
    champion: Calls, challenger: Calls, words: str
) -> None:
    (reason,) = doubts([ServedSet(NEAR, champion, challenger)], TARGET)
    assert words in reason


def test_calls_that_are_right_or_hardly_more_are_no_doubts() -> None:
    assert doubts(written(Calls(5000, 100, 95), Calls(5000, 300, 280)), TARGET) == []
    assert doubts(written(Calls(5000, 4000, 400), Calls(5000, 40, 40)), TARGET) == []
    assert doubts([ServedSet(NEAR, Calls(115, 30), Calls(115, 45))], TARGET) == []
    assert doubts([ServedSet(NEAR, Calls(10, 0), Calls(10, 10))], TARGET) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_easy_labels_do_not_pass(tmp_path: Path) -> None:
    """Some 190 paraphrases and 60 random pairs of one domain: nothing is learnt of what only looks alike."""
    clusters = [cluster for cluster in read_clusters("train") if len(cluster.paraphrases) > 2]
    chances = random.Random(0)
    domain = [cluster for cluster in clusters if cluster.domain == clusters[0].domain]
    work = tmp_path / "run"
    work.mkdir()
    request = {
        "champion": str(RELEASES / "minilm-quora"),
        "release": str(tmp_path / "new"),
        "recipe": "calibration",
        "device": "cpu",
    }
    (work / "request.json").write_text(json.dumps(request), "utf-8")
    labels = [*alike(domain), *unlike(domain, 60, chances)]
    (work / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)), "utf-8")
    near = [nearly(cluster, number) for cluster in domain for number in range(3)]
    (work / "unlabelled.jsonl").write_text("\n".join(map(json.dumps, near)), "utf-8")
    retrain(work)
    gate = json.loads((work / "result.json").read_text("utf-8"))["gate"]
    assert gate["outcome"] == "failed", gate
    assert any(reason.startswith(WRITTEN) for reason in gate["reasons"]), gate
    thresholds = json.loads((tmp_path / "new" / "thresholds.json").read_text("utf-8"))["pair"]
    for threshold in thresholds["duplicate"].values():
        begins = threshold["probability"]
        assert begins is None or begins >= max(0.5, thresholds["review"])


def alike(clusters: list[Cluster]) -> list[dict[str, object]]:
    """The question with its first paraphrase, and near-misses with their twins: each pair is a component."""
    pairs = [(cluster.question, cluster.paraphrases[0]) for cluster in clusters]
    for cluster in clusters:
        pairs += [(near.text, near.twin) for near in cluster.near_misses if near.twin]
    return [label(one, other, is_duplicate=True) for one, other in pairs]


def unlike(clusters: list[Cluster], count: int, chances: random.Random) -> list[dict[str, object]]:
    """Near-misses dealt into pairs, each of two clusters; each stands in one pair, so that these tie few components."""
    dealt = [(place, near) for place, one in enumerate(clusters) for near in one.near_misses]
    chances.shuffle(dealt)
    drawn = [
        pair for pair in zip(dealt[::2], dealt[1::2], strict=False) if pair[0][0] != pair[1][0]
    ][:count]
    return [label(one.text, other.text, is_duplicate=False) for (_, one), (_, other) in drawn]


def label(one: str, other: str, *, is_duplicate: bool) -> dict[str, object]:
    pair = {"question1": one, "question2": other, "is_duplicate": is_duplicate}
    return {**pair, "active": True, "contradicted": False}


def nearly(cluster: Cluster, number: int) -> dict[str, str]:
    near = cluster.near_misses[number % len(cluster.near_misses)].text
    ids = {"id1": cluster.question, "id2": f"{cluster.question} {number}"}
    return {**ids, "question1": cluster.question, "question2": near}
