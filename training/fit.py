"""Labelled pairs and objectives in, a release out: read, split, train each objective in turn, fit, measure, publish."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engine.live_release import open_models
from app.engine.release import CLASSIFIER, ENCODER, Release, find_base
from app.errors import CommandError
from training.evaluation import read_evidence
from training.making import Recipe, Source, make_release
from training.negatives import mine_triplets
from training.objectives import OBJECTIVES, Examples, ObjectiveName, sample
from training.pairs import LabelledPair
from training.train import Options, train

SHARES = {"train": 0.8, "fit": 0.1, "report": 0.1}  # where sets are cut from one


@dataclass(frozen=True)
class Plan:
    """What is to be made: which objectives, one after the other, from which model, on which pairs."""

    objectives: Sequence[ObjectiveName]
    base: str
    train: Source
    fit: Source
    report: Source | None
    options: Options = field(default_factory=Options)
    rank: int | None = None  # of the published differences; None: whole models
    parent: Release | None = None  # its models are where training starts, and stay where no objective trains them
    teacher: Release | None = None
    hard_negatives: int = 0  # mined for each duplicate, for `mnrl`
    limit: int | None = None  # most pairs to learn from
    work: Path | None = None  # checkpoints; beside the release unless said


def fit(plan: Plan, out: Path) -> Release:
    """Train and publish. What was trained before a kill is found again in `work`, up to its last checkpoint.

    Raises CommandError before any training when `out` exists or the pairs don't do.
    """
    if out.exists():
        raise CommandError(f"{out} exists: a release never changes; choose another name or remove it")
    base = plan.parent.base.name if plan.parent else plan.base
    work = plan.work or out.parent / f".{out.name}.training"
    starts = _starts(plan, find_base(base), work)
    pairs = sample(plan.train.pairs, plan.limit, plan.options.seed)
    models = {part: folder for part, folder in starts.items() if plan.parent}
    training: dict[str, Any] = {}
    for number, name in enumerate(plan.objectives):
        objective = OBJECTIVES[name]
        examples = Examples(pairs, _taught(plan, pairs, name), _mined(plan, pairs, name, starts[ENCODER]))
        start = starts.get(objective.part, starts[ENCODER])  # a first classifier starts from the bi-encoder's weights
        folder = train(name, start, examples, plan.fit.pairs, plan.options, work / f"{number}-{name}")
        models[objective.part] = starts[objective.part] = folder
        training.setdefault(objective.part, {})[str(name)] = {
            "pairs": len(pairs),
            **{k: v for k, v in asdict(plan.options).items() if v is not None},
        }
    recipe = Recipe(
        base=base,
        train=Source(plan.train.name, pairs),
        fit=plan.fit,
        report=plan.report,
        models=models,
        rank=plan.rank,
        parent=plan.parent.name if plan.parent else None,
        seed=plan.options.seed,
        training=training,
    )
    return make_release(recipe, out, plan.options.device)


def _starts(plan: Plan, base: Path, work: Path) -> dict[str, Path]:
    """The folder of the model that each part's training starts from."""
    starts = {ENCODER: base}
    if plan.parent:
        for part, model in zip((ENCODER, CLASSIFIER), open_models(plan.parent, "cpu"), strict=True):
            if model:
                starts[part] = work / f"parent-{part}"
                model.save(starts[part])
    return starts


def _taught(plan: Plan, pairs: Sequence[LabelledPair], name: ObjectiveName) -> NDArray[np.float64] | None:
    """The teacher's probability of each pair, for objectives that distill one."""
    if not name.startswith("distill"):
        return None
    if not plan.teacher:
        raise CommandError(f"{name} needs a teacher: name a release with --teacher")
    evidence = read_evidence(*open_models(plan.teacher, plan.options.device), pairs)
    return plan.teacher.scorer("0.90").probability(evidence.similarities, evidence.logits)


def _mined(
    plan: Plan, pairs: Sequence[LabelledPair], name: ObjectiveName, encoder: Path
) -> Sequence[tuple[str, str, str]]:
    """Hard negatives for objectives that look for the duplicate among others."""
    if name not in (ObjectiveName.MNRL, ObjectiveName.MULTI_TASK) or not plan.hard_negatives:
        return ()
    return mine_triplets(pairs, encoder, plan.hard_negatives, plan.options.device)
