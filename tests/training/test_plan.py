"""The claim of a folder: the same training goes on there, and no other; and settings that nothing looks at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.engine.release import Release
from app.errors import CommandError
from training.build import Source
from training.objectives import ObjectiveName
from training.pairs import LabelledPair
from training.plan import Plan, Steps, claim, refuse_unused
from training.train import Options

PAIRS = Source("pairs.tsv", [LabelledPair("a", "b", is_duplicate=True)])


def test_a_teacher_is_told_from_a_parent(tiny_release: Release, tmp_path: Path) -> None:
    plan = Plan(Steps([ObjectiveName.DISTILL_ENCODER], "tiny"), PAIRS, PAIRS, [])
    taught = replace(plan, teacher=tiny_release).claim(PAIRS.pairs)
    claim(tmp_path, taught)
    claim(tmp_path, taught)
    with pytest.raises(CommandError, match="checkpoints of another training"):
        claim(tmp_path, replace(plan, parent=tiny_release).claim(PAIRS.pairs))


def test_a_claim_that_stands_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes that begin at once the first one writes, and the others would meet in one file."""
    claim(tmp_path, {"seed": 1})
    monkeypatch.setattr("training.plan.replace_file", None)
    claim(tmp_path, {"seed": 1})


def test_a_claim_that_named_no_parts_is_still_its_training_s(
    tiny_release: Release, tmp_path: Path
) -> None:
    plan = Plan(Steps([ObjectiveName.MNRL], "tiny"), PAIRS, PAIRS, [], parent=tiny_release)
    wanted = plan.claim(PAIRS.pairs)
    claim(tmp_path, {**wanted, "releases": [tiny_release.digest]})
    two = replace(plan, teacher=tiny_release).claim(PAIRS.pairs)
    with pytest.raises(CommandError, match="checkpoints of another training"):
        claim(tmp_path, two)
    claim(tmp_path, wanted)


UNUSED: dict[str, tuple[dict[str, Any], ObjectiveName, str]] = {
    "--hard-negatives": ({"hard_negatives": 2}, ObjectiveName.JOINT, "mnrl or multi-task"),
    "--mine": ({"mine": 9}, ObjectiveName.DISTILL_FINDING, "distill or distill-classifier"),
    "--sampler": ({"options": Options(sampler="round-robin")}, ObjectiveName.MNRL, "multi-task"),
    "--augment": ({"augment": 0.1}, ObjectiveName.MNRL, "a classifier to train"),
    "--keep": ({"keep": 0.4}, ObjectiveName.CROSS_ENCODER, "a bi-encoder to train"),
    "--share": ({"share": 0.5}, ObjectiveName.JOINT, "--average"),
}


@pytest.mark.parametrize("option", UNUSED)
def test_an_option_that_nothing_looks_at_is_refused(option: str) -> None:
    settings, objective, wanted = UNUSED[option]
    plan = Plan(Steps([objective], "tiny", **settings), PAIRS, PAIRS, [])
    with pytest.raises(CommandError, match=f"^{option} is of no use without {wanted}$"):
        refuse_unused(plan)


def test_a_teacher_that_nothing_learns_from_is_refused(tiny_release: Release) -> None:
    plan = Plan(Steps([ObjectiveName.JOINT], "tiny"), PAIRS, PAIRS, [], teacher=tiny_release)
    with pytest.raises(CommandError, match="--teacher is of no use"):
        refuse_unused(plan)
    refuse_unused(replace(plan, steps=Steps([ObjectiveName.DISTILL_ENCODER], "tiny", mine=9)))


def test_what_one_of_several_objectives_looks_at_is_of_use(tiny_release: Release) -> None:
    objectives = [ObjectiveName.MULTI_TASK, ObjectiveName.CROSS_ENCODER]
    steps = Steps(
        objectives,
        "tiny",
        hard_negatives=1,
        augment=0.1,
        keep=0.4,
        share=0.5,
        options=Options(sampler="round-robin"),
    )
    refuse_unused(Plan(steps, PAIRS, PAIRS, [], average=[tiny_release]))
