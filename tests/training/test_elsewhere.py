"""Public sets of other domains, from a folder that somebody else fills."""

import gzip
from pathlib import Path

import pytest

from app.errors import CommandError
from training.elsewhere import PUBLIC_SETS, Portion, apart, read_elsewhere
from training.pairs import LabelledPair
from training.written import read_clusters

HEADER = "question1\tquestion2\tis_duplicate\tdomain\n"


def _write(folder: Path, name: str, rows: str) -> None:
    with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as file:
        file.write(HEADER + rows)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    _write(
        tmp_path, "conala", "sort a list\tlist, sorted\t1\tpython\nsort a list\tcut it\t0\tpython\n"
    )
    _write(tmp_path, "meqsum_pos", "what is gout\tgout?\t1\tmedical\n")
    _write(tmp_path, "lcquad", "who wrote it\twho read it\t0\tfacts\n")
    return tmp_path


def test_the_known_sets_are_read_with_their_shares(folder: Path) -> None:
    meqsum, conala = read_elsewhere(folder)
    assert meqsum == Portion("meqsum_pos", [LabelledPair("what is gout", "gout?", True)], 0.3)
    assert conala == Portion(
        "conala",
        [
            LabelledPair("sort a list", "list, sorted", True),
            LabelledPair("sort a list", "cut it", False),
        ],
        0.5,
    )


def test_sets_can_be_left_out(folder: Path) -> None:
    assert [portion.name for portion in read_elsewhere(folder, ["conala"])] == ["meqsum_pos"]


def test_a_name_that_is_no_sets_is_refused(folder: Path) -> None:
    with pytest.raises(CommandError, match="no public set 'lcquad'"):
        read_elsewhere(folder, ["lcquad"])


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="holds none of the sets"):
        read_elsewhere(tmp_path)


def test_no_set_is_under_the_gpl_or_without_stated_terms() -> None:
    names = {public.name for public in PUBLIC_SETS}
    assert names.isdisjoint({"lcquad", "rasa_demo_faq", "parade_train"})
    assert not [name for name in names if name.startswith("overnight")]
    assert all(public.terms and "GPL" not in public.terms for public in PUBLIC_SETS)


def test_no_question_that_is_measured_on_is_learnt_from() -> None:
    question = read_clusters("report")[0].question
    twin = next(near.twin for near in read_clusters("calibration")[0].near_misses if near.twin)
    pairs = [
        LabelledPair("a", "b", is_duplicate=True),
        LabelledPair(question.upper(), "c", is_duplicate=False),
        LabelledPair("d", twin, is_duplicate=False),
    ]
    (portion,) = apart([Portion("quora", pairs, 0.5)])
    assert portion == Portion("quora", pairs[:1], 0.5)
