"""The claim of a folder: the same training goes on there, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.release import Release
from app.errors import CommandError
from training.build import Source
from training.objectives import ObjectiveName
from training.pairs import LabelledPair
from training.plan import Plan, Steps, claim

PAIRS = Source("pairs.tsv", [LabelledPair("a", "b", is_duplicate=True)])


def test_a_teacher_is_told_from_a_parent(tiny_release: Release, tmp_path: Path) -> None:
    plan = Plan(Steps([ObjectiveName.DISTILL_ENCODER], "tiny"), PAIRS, PAIRS, [])
    taught = replace(plan, teacher=tiny_release).claim(PAIRS.pairs)
    claim(tmp_path, taught)
    claim(tmp_path, taught)
    with pytest.raises(CommandError, match="checkpoints of another training"):
        claim(tmp_path, replace(plan, parent=tiny_release).claim(PAIRS.pairs))


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
