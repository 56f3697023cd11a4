"""The written clusters: what a file says, and that the data set is what its card says."""

from collections import Counter
from pathlib import Path

import pytest

from app.engine.rows import read_rows
from app.engine.text import folded_pair_digest, normalize
from app.errors import CommandError
from training.written import (
    ACROSS,
    WRITTEN,
    Cluster,
    NearMiss,
    Side,
    read_across,
    read_clusters,
)

SIDES: tuple[Side, ...] = ("train", "calibration", "report")

FILE = """# domain: cars
Q: Why does my car pull to the left when I brake?
= brakes drag me left cause
= Why does it veer left under braking?
! condition | Why does my car pull to the left when I accelerate?
~ Whenever I step on the gas the car drifts left. Why?
! action | Why does my car squeal | when I brake?

Q: How do I patch a tube?
= tube patch, how
! object | How do I patch a tyre?
"""


def _texts(cluster: Cluster) -> list[str]:
    twins = [near.twin for near in cluster.near_misses if near.twin]
    return [*cluster.same, *(near.text for near in cluster.near_misses), *twins]


def _write(folder: Path, content: str) -> Path:
    (folder / "train").mkdir()
    (folder / "train" / "cars.txt").write_text(content, "utf-8")
    return folder


def test_a_file_becomes_its_clusters(tmp_path: Path) -> None:
    pull, patch = read_clusters("train", _write(tmp_path, FILE))
    assert pull == Cluster(
        domain="cars",
        question="Why does my car pull to the left when I brake?",
        paraphrases=("brakes drag me left cause", "Why does it veer left under braking?"),
        near_misses=(
            NearMiss(
                "condition",
                "Why does my car pull to the left when I accelerate?",
                "Whenever I step on the gas the car drifts left. Why?",
            ),
            NearMiss("action", "Why does my car squeal | when I brake?"),
        ),
    )
    assert patch.same == ("How do I patch a tube?", "tube patch, how")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("= tube patch\n", "cars.txt:1: a cluster begins with Q:"),
        (
            "\nQ: How?\n= How so?\n! colour | Which?\n",
            "cars.txt:4: no paraphrase, near-miss or twin",
        ),
        ("Q: How?\n~ Which?\n", "cars.txt:2: no paraphrase"),
        ("Q: How?\n! object | Which?\n~ Which one?\n~ Which so?\n", "cars.txt:4: no paraphrase"),
        ("Q: How?\n= How so?\n", "cars.txt:1: a cluster needs a paraphrase and a near-miss"),
    ],
)
def test_a_line_out_of_form_is_named(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(CommandError, match=told.replace("/", ".")):
        read_clusters("train", _write(tmp_path, content))


def test_a_side_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no written clusters"):
        read_clusters("report", tmp_path)


@pytest.mark.parametrize(
    ("side", "domains", "clusters"),
    [("train", 64, 2048), ("calibration", 8, 256), ("report", 8, 256)],
)
def test_the_sides_are_as_the_card_says(side: Side, domains: int, clusters: int) -> None:
    read = read_clusters(side)
    assert (len({cluster.domain for cluster in read}), len(read)) == (domains, clusters)
    lacking = [near.text for cluster in read for near in cluster.near_misses if near.twin is None]
    assert lacking == (["psychologist can prescribe pills or not"] if side == "train" else [])


def test_no_text_stands_twice_on_any_side() -> None:
    texts = [
        normalize(text)
        for side in SIDES
        for cluster in read_clusters(side)
        for text in _texts(cluster)
    ]
    assert len(texts) == 37_732
    assert len(set(texts)) == len(texts)


def test_no_text_holds_a_tab() -> None:
    for file in WRITTEN.rglob("*.txt"):
        assert "\t" not in file.read_text("utf-8")


def test_only_what_both_readers_call_the_same_is_the_same(tmp_path: Path) -> None:
    rows = ["side\tquestion1\tquestion2\tread_as", "report\ta b\tc d\tsame"]
    rows += ["report\te\tf\tdifferent", "report\tg\th\tunclear"]
    (tmp_path / ACROSS).write_text("\n".join(rows), "utf-8")
    assert read_across(tmp_path) == {folded_pair_digest("C d", "a b")}


def test_pairs_of_different_clusters_are_as_the_card_counts_them() -> None:
    rows = [row.values for row in read_rows(WRITTEN / ACROSS, ["side", "read_as"])]
    assert Counter((side, read_as) for side, read_as in rows) == {
        ("calibration", "same"): 66,
        ("calibration", "different"): 308,
        ("calibration", "unclear"): 12,
        ("report", "same"): 56,
        ("report", "different"): 234,
        ("report", "unclear"): 15,
    }
    clusters = [cluster for side in SIDES for cluster in read_clusters(side)]
    within = {
        folded_pair_digest(one, other)
        for cluster in clusters
        for one in _texts(cluster)
        for other in _texts(cluster)
    }
    assert len(read_across()) == 122
    assert within.isdisjoint(read_across())
