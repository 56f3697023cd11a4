"""What a classifier learns from in an epoch: balanced, so that no text tells the label of its pair."""

import random
from collections import Counter

import pytest

from training.elsewhere import Portion
from training.mix import Ingredients, cluster_pairs, sample_epoch, style_of
from training.pairs import LabelledPair
from training.written import Cluster, NearMiss, read_clusters


def _cluster(name: str, paraphrases: int = 3, near: int = 4, twins: int = 4) -> Cluster:
    return Cluster(
        domain="cars",
        question=f"{name} question",
        paraphrases=tuple(f"{name} paraphrase {i}" for i in range(paraphrases)),
        near_misses=tuple(
            NearMiss("object", f"{name} near {i}", f"{name} twin {i}" if i < twins else None)
            for i in range(near)
        ),
    )


def _standing(pairs: list[LabelledPair], *, is_duplicate: bool) -> Counter[str]:
    return Counter(
        text
        for pair in pairs
        if pair.is_duplicate == is_duplicate
        for text in (pair.question1, pair.question2)
    )


@pytest.mark.parametrize(("paraphrases", "near", "size"), [(3, 4, 4), (4, 3, 3), (2, 5, 3)])
def test_each_text_stands_in_as_many_duplicates_as_differences(
    paraphrases: int, near: int, size: int
) -> None:
    pairs = cluster_pairs(_cluster("tube", paraphrases, near, near), random.Random(1))
    assert _standing(pairs, is_duplicate=True) == _standing(pairs, is_duplicate=False)
    assert len(pairs) == 4 * size


def test_a_near_miss_is_a_duplicate_of_its_twin_alone() -> None:
    pairs = cluster_pairs(_cluster("tube"), random.Random(1))
    near = {
        frozenset((pair.question1, pair.question2))
        for pair in pairs
        if "near" in pair.question1 + pair.question2 and pair.is_duplicate
    }
    assert near == {frozenset((f"tube near {i}", f"tube twin {i}")) for i in range(4)}


def test_two_near_misses_never_make_a_difference() -> None:
    for seed in range(20):
        for pair in cluster_pairs(_cluster("tube"), random.Random(seed)):
            sides = ["near" in text or "twin" in text for text in (pair.question1, pair.question2)]
            assert pair.is_duplicate or sides.count(True) == 1


def test_a_near_miss_and_its_twin_meet_two_questions() -> None:
    for pairs in (cluster_pairs(_cluster("tube"), random.Random(seed)) for seed in range(20)):
        met = {pair.question2: pair.question1 for pair in pairs if not pair.is_duplicate}
        assert all(met[f"tube near {i}"] != met[f"tube twin {i}"] for i in range(4))


def test_a_near_miss_without_a_twin_is_left_out() -> None:
    pairs = cluster_pairs(_cluster("tube", twins=3), random.Random(1))
    texts = {text for pair in pairs for text in (pair.question1, pair.question2)}
    assert "tube near 3" not in texts
    assert "tube near 2" in texts


def test_an_epoch_draws_clusters_and_portions_anew() -> None:
    clusters = [_cluster(name) for name in ("a", "b", "c", "d")]
    quora = [LabelledPair(f"q{i}", f"r{i}", is_duplicate=i % 2 == 0) for i in range(100)]
    ingredients = Ingredients(
        clusters,
        related=[LabelledPair("x", "y", is_duplicate=False), LabelledPair("x", "z", False)],
        portions=[Portion("quora", quora, 0.3)],
        cluster_count=2,
        related_count=1,
        easy_share=0.1,
    )
    first, second = (sample_epoch(ingredients, seed) for seed in (1, 2))
    assert len(first.written) == 2 * 16 + 1
    assert len([pair for pair in first.pairs if pair in quora]) == 30
    assert len(first.pairs) == 33 + 30 + 6
    assert set(first.pairs) != set(second.pairs)
    assert first == sample_epoch(ingredients, 1)


def test_a_set_of_duplicates_alone_gets_as_many_differences() -> None:
    alone = [LabelledPair(f"q{i}", f"r{i}", is_duplicate=True) for i in range(10)]
    pairs = sample_epoch(Ingredients([], portions=[Portion("alone", alone, 1.0)]), 1).pairs
    assert sum(pair.is_duplicate for pair in pairs) == 10
    assert sum(not pair.is_duplicate for pair in pairs) >= 10
    assert _standing(list(pairs), is_duplicate=True)["q3"] == 1


def test_style_is_high_where_one_text_tells_the_label() -> None:
    pairs = [
        LabelledPair(
            f"question {i}", f"{'tell' if i % 2 else 'show'} me {i}", is_duplicate=bool(i % 2)
        )
        for i in range(200)
    ]
    assert style_of(pairs, list(range(200))).one_text > 0.85  # the other text tells nothing


def test_no_text_of_the_written_clusters_tells_the_label() -> None:
    chances = random.Random(20)
    pairs: list[LabelledPair] = []
    groups: list[int] = []
    for number, cluster in enumerate(read_clusters("train")[:300]):
        sampled = cluster_pairs(cluster, chances)
        pairs += sampled
        groups += [number] * len(sampled)
    style = style_of(pairs, groups)
    assert style.one_text <= 0.53
    assert style.surface <= 0.68
