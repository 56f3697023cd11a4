"""Labelled pairs and objectives in, a release out: read, split, train each objective in turn, fit, measure, publish."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState

from app.engine.models.opening import open_models
from app.engine.models.safe_loading import choose_device
from app.engine.release import CLASSIFIER, ENCODER, Release, find_base
from app.errors import CommandError
from training.augmentation import augmented
from training.build import Recipe, Source, make_release
from training.hard_negatives import mine_triplets
from training.objectives import OBJECTIVES, Examples, ObjectiveName, Part, sample
from training.pairs import LabelledPair, fingerprint
from training.progress import Progress
from training.teacher import judge, keep, kept
from training.train import Options, averaged, train

JUDGED = "judged.parquet"  # what a teacher said, beside the checkpoints
SHARES = {"train": 0.8, "fit": 0.1, "report": 0.1}  # where sets are cut from one


@dataclass(frozen=True)
class Plan:
    """What is to be made: which objectives, one after the other, from which model, on which pairs."""

    objectives: Sequence[ObjectiveName]
    base: str
    train: Source
    fit: Source
    report: Sequence[Source]
    options: Options = field(default_factory=Options)
    bits: int | None = None  # for each weight of the published differences; None: whole models
    parent: Release | None = (
        None  # its models are where training starts, and stay where no objective trains them
    )
    start: str | None = None  # what the first objective starts from instead; named as a base is
    teacher: Release | None = None
    hard_negatives: int = 0  # mined for each duplicate, for `mnrl`
    mine: int = 0  # near pairs that nobody labelled, for a teacher to judge
    limit: int | None = None  # most pairs to learn from
    average: Sequence[
        Release
    ] = ()  # others of whose models and the trained ones the mean is published
    share: float | None = None  # of the trained one in that mean; None: as much as each other
    keep: float = 0.0  # share of the start's weights in those of a trained bi-encoder
    augment: float = 0.0  # pairs to make by rule for the classifier, for each there is
    leaks: bool = False  # rows were split at random: questions stand in several of the sets


def fit(plan: Plan, out: Path, progress: Progress | None = None) -> Release | None:
    """Train and publish. What was trained before a kill is found again beside `out`, up to its last checkpoint.

    Of several processes (`torchrun`) all train and the first alone publishes; the others return None. Raises
    CommandError before any training when `out` exists or the pairs don't do.
    """
    progress = progress or Progress()
    pairs = sample(plan.train.pairs, plan.limit, plan.options.seed)
    recipe = _recipe(plan, pairs)
    recipe.check(out)
    if not plan.teacher and (
        lacking := [name for name in plan.objectives if name.startswith("distill")]
    ):
        raise CommandError(f"{lacking[0]} needs a teacher: name a release with --teacher")
    if plan.start and plan.bits:
        raise CommandError(
            "--bits are differences from the base, which --start leaves: publish whole models"
        )
    base, work = find_base(recipe.base), out.parent / f".{out.name}.training"
    other = find_base(plan.start) if plan.start else None
    processes = PartialState(cpu=choose_device(plan.options.device) == "cpu")
    with processes.main_process_first():
        _claim(work, plan, pairs)
        models = (
            _saved(plan.parent, work / "parent", save=processes.is_main_process)
            if plan.parent
            else {}
        )
    if other:
        models[OBJECTIVES[plan.objectives[0]].part] = other
    for number, name in enumerate(plan.objectives):
        part = OBJECTIVES[name].part
        examples = partial(_examples, plan, pairs, name, models.get(ENCODER, base), work, progress)
        start = models.get(part, base)
        progress.phase("training")
        models[part] = train(
            name, start, examples, plan.fit.pairs, plan.options, work / f"{number}-{name}", progress
        )
        with processes.main_process_first():  # all go on from the same weights
            models[part] = _mixed(plan, part, start, models[part], save=processes.is_main_process)
    first = processes.is_main_process
    processes.destroy_process_group()
    progress.phase("measuring")
    return (
        make_release(replace(recipe, models=models), out, plan.options.device, progress)
        if first
        else None
    )


def _recipe(plan: Plan, pairs: Sequence[LabelledPair]) -> Recipe:
    """The release that is to be, but for its models."""
    told: dict[str, dict[str, Any]] = dict((plan.parent and plan.parent.manifest["training"]) or {})
    for name in plan.objectives:
        part = OBJECTIVES[name].part
        told[part] = {**told.get(part, {}), str(name): _how(plan, pairs)}
    return Recipe(
        base=plan.parent.base.name if plan.parent else plan.base,
        train=Source(plan.train.name, pairs) if plan.objectives else None,
        fit=plan.fit,
        report=plan.report,
        bits=plan.bits,
        parent=plan.parent,
        seed=plan.options.seed,
        training=told,
        leaks=plan.leaks,
    )


def _how(plan: Plan, pairs: Sequence[LabelledPair]) -> dict[str, Any]:
    """What is told of one step of training."""
    options = {name: value for name, value in asdict(plan.options).items() if value is not None}
    options |= {"start": plan.start} if plan.start else {}
    told: dict[str, Any] = {"teacher": plan.teacher.name, "mine": plan.mine} if plan.teacher else {}
    if plan.average:
        told |= {"average": [release.name for release in plan.average], "share": plan.share}
    return {
        "from": plan.train.name,
        "pairs": len(pairs),
        "augment": plan.augment,
        "keep": plan.keep,
        **told,
        **options,
    }


def _claim(work: Path, plan: Plan, pairs: Sequence[LabelledPair]) -> None:
    """Write down what is trained in `work`. Raises CommandError when something else was: its checkpoints are there."""
    told = {
        "objectives": [str(name) for name in plan.objectives],
        "base": plan.base,
        **(
            {"start": plan.start} if plan.start else {}
        ),  # as before it could be said: trainings under way go on
        "releases": [release.digest for release in (plan.parent, plan.teacher) if release],
        "pairs": [fingerprint(pairs), fingerprint(plan.fit.pairs)],
        "hard_negatives": plan.hard_negatives,
        "mine": plan.mine,
        "augment": plan.augment,
        **asdict(plan.options),
    }
    file = work / "plan.json"
    if file.exists() and json.loads(file.read_text("utf-8")) != told:
        raise CommandError(
            f"{work} holds checkpoints of another training: remove it, or choose another name"
        )
    work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told), "utf-8")


def _saved(release: Release, at: Path, *, save: bool) -> dict[str, Path]:
    """The folders of a release's models, which are saved there."""
    folders: dict[str, Path] = {}
    for part, model in zip((ENCODER, CLASSIFIER), open_models(release, "cpu"), strict=True):
        if model:
            folders[part] = at / part
            if save:
                model.save(folders[part])
    return folders


def _mixed(plan: Plan, part: Part, start: Path, trained: Path, *, save: bool) -> Path:
    """The mean of the trained model and those of other releases, and the share of its start that a bi-encoder keeps."""
    others = [
        _saved(release, trained.parent / release.digest[:16], save=save) for release in plan.average
    ]
    others = [folders for folders in others if part in folders]
    keep = plan.keep if part == ENCODER else 0.0
    if not others and not keep:
        return trained
    share = plan.share if plan.share is not None and others else 1 / (1 + len(others))
    shares = {
        trained: (1 - keep) * share,
        **{of[part]: (1 - keep) * (1 - share) / len(others) for of in others},
    }
    folder = trained.parent / f"mean-{share:.2f}-of-{len(shares)}-keeping-{keep}"
    return averaged(part, {**shares, start: keep}, folder) if save else folder


def _examples(
    plan: Plan,
    pairs: Sequence[LabelledPair],
    name: ObjectiveName,
    encoder: Path,
    work: Path,
    progress: Progress,
) -> Examples:
    """What an objective learns from; `encoder` is the folder of the bi-encoder that mines.

    Pairs that are made by rule are for a classifier: a bi-encoder can't see the order of words well enough to learn
    from them.
    """
    made = augmented(pairs, plan.augment, plan.options.seed)
    for_classifier = OBJECTIVES[name].part == CLASSIFIER
    if plan.teacher and name.startswith("distill"):
        judged = _judged(plan, plan.teacher, pairs, made, work / JUDGED, progress)
        return judged if for_classifier else judged.first(len(judged.pairs) - len(made))
    learnt = [*pairs, *made] if for_classifier else pairs
    return Examples(learnt, triplets=_mined(plan, pairs, name, encoder))


def _judged(
    plan: Plan,
    teacher: Release,
    pairs: Sequence[LabelledPair],
    made: Sequence[LabelledPair],
    file: Path,
    progress: Progress,
) -> Examples:
    """What the teacher says, asked once for both parts, and not again after a kill."""
    if file.exists():
        return kept(file)
    judged = judge(teacher, pairs, made, plan.mine, plan.options.device, progress)
    if PartialState().is_main_process:
        keep(judged, file)
    return judged


def _mined(
    plan: Plan, pairs: Sequence[LabelledPair], name: ObjectiveName, encoder: Path
) -> Sequence[tuple[str, str, str]]:
    """Hard negatives for objectives that look for the duplicate among others."""
    if name not in (ObjectiveName.MNRL, ObjectiveName.MULTI_TASK) or not plan.hard_negatives:
        return ()
    return mine_triplets(pairs, encoder, plan.hard_negatives, plan.options.device)
