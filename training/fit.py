"""A plan in, a release out: train each objective in turn, fit calibration and thresholds, measure, publish."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState

from app.engine.bases import find_base
from app.engine.models.opening import open_models
from app.engine.models.safe_loading import choose_device
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.errors import CommandError
from training.augmentation import augmented
from training.build import Recipe, Source, make_release
from training.hard_negatives import Triplet, mine_triplets
from training.objectives import (
    OBJECTIVES,
    Examples,
    ObjectiveName,
    Part,
    sample,
)
from training.pairs import LabelledPair, both_texts, duplicates_of
from training.plan import MINED, TAUGHT, Plan, claim
from training.progress_writer import ProgressWriter
from training.teacher import judge, keep, kept, show
from training.train import are_alike, averaged, train

PARTS: Sequence[Part] = (
    "encoder",
    "classifier",
)
JUDGED = "judged.parquet"  # a teacher's probabilities, beside the checkpoints


def fit(plan: Plan, out: Path, progress: ProgressWriter | None = None) -> Release | None:
    """Train and publish. A training that was killed goes on from the last checkpoint beside `out`.

    Of several processes (`torchrun`) all train and the first alone publishes; the others return None. Raises
    CommandError before any training when `out` exists or the pairs don't do.
    """
    progress = progress or ProgressWriter()
    pairs = sample(plan.train.pairs, plan.limit, plan.steps.options.seed)
    recipe = _recipe(plan, pairs)
    recipe.check(out)
    _check(plan)
    _check_models(plan, recipe)
    device = plan.steps.options.device
    processes = PartialState(cpu=choose_device(device) == "cpu")
    training = _Training(
        plan,
        pairs,
        out.parent / f".{out.name}.training",
        processes,
        progress,
    )
    models = training.run(find_base(recipe.base))
    is_first = processes.is_main_process
    processes.destroy_process_group()
    progress.phase("measuring")
    if not is_first:
        return None
    return make_release(replace(recipe, models=models), out, device, progress)


def _check(plan: Plan) -> None:
    for name in plan.steps.objectives:
        if name in TAUGHT and not plan.teacher:
            raise CommandError(f"{name} needs a teacher: name a release with --teacher")
    if plan.steps.start and plan.bits:
        raise CommandError(
            "--bits are differences from the base, which --start leaves: publish whole models"
        )


def _check_models(plan: Plan, recipe: Recipe) -> None:
    """Raise CommandError where models can't be averaged, or can't be told as differences from their base."""
    trained = [OBJECTIVES[name].part for name in plan.steps.objectives]
    for part, start in _starts(plan, recipe.base).items():
        for release in plan.average:
            if part in trained:
                _check_mean(part, start, release)
        base = recipe.bases[part]
        if plan.bits and not are_alike(part, start, find_base(base)):
            raise CommandError(
                f"--bits are differences from {base}, and the {part} is of another architecture: publish whole models"
            )


def _check_mean(
    part: Part,
    start: Path,
    release: Release,
) -> None:
    files = release.model(part)
    if not files:
        raise CommandError(f"{release.path} has no {part}: --average needs one")
    if not are_alike(part, start, files[0]):
        raise CommandError(
            f"the {part} of {release.path} is of another architecture: --average needs the same"
        )


def _starts(plan: Plan, base: str) -> dict[Part, Path]:
    """Of each part that is trained, or the parent's, the folder of a model with such weights as it starts from."""
    starts: dict[Part, Path] = {}
    for part in PARTS:
        files = plan.parent.model(part) if plan.parent else None
        if files:
            starts[part] = files[0]
    for name in plan.steps.objectives:
        starts.setdefault(OBJECTIVES[name].part, find_base(base))
    if plan.steps.start:
        first = plan.steps.objectives[0]
        starts[OBJECTIVES[first].part] = find_base(plan.steps.start)
    return starts


@dataclass(frozen=True)
class _Training:
    """One plan, carried out in a folder by this process, and perhaps others."""

    plan: Plan
    pairs: Sequence[LabelledPair]
    work: Path
    processes: PartialState
    progress: ProgressWriter

    def run(self, base: Path) -> dict[str, Path]:
        """The folders of the models, by part, after every objective."""
        steps = self.plan.steps
        start = find_base(steps.start) if steps.start else None
        models: dict[str, Path] = {}
        with self.processes.main_process_first():
            claim(self.work, self.plan.claim(self.pairs))
            if self.plan.parent:
                models = self._saved(self.plan.parent, self.work / "parent")
        if start:
            models[OBJECTIVES[steps.objectives[0]].part] = start
        trained = set()
        for number, name in enumerate(steps.objectives):
            part = OBJECTIVES[name].part
            trained.add(part)
            folder = self.work / f"{number}-{name}"
            encoder = models.get(ENCODER, base)
            models[part] = self._step(name, models.get(part, base), encoder, folder)
        if self.plan.parent:
            _keep_untrained(models, trained, self.plan.parent)
        return models

    def _step(
        self,
        name: ObjectiveName,
        start: Path,
        encoder: Path,
        folder: Path,
    ) -> Path:
        """Train for one objective; `encoder` is the folder of the bi-encoder that mines."""
        self.progress.phase("training")
        examples = partial(self._examples, name, encoder)
        tune = self.plan.tune.pairs
        options = self.plan.steps.options
        trained = train(name, start, examples, tune, options, folder, self.progress)
        with self.processes.main_process_first():  # all go on from the same weights
            return self._mixed(OBJECTIVES[name].part, start, trained)

    def _mixed(self, part: Part, start: Path, trained: Path) -> Path:
        """The mean of the trained model, the same part of other releases, and a share of its start."""
        others = []
        for release in self.plan.average:
            folders = self._saved(release, trained.parent / release.digest[:16])
            if part in folders:
                others.append(folders[part])
        kept_share = self.plan.steps.keep if part == ENCODER else 0.0
        if not others and not kept_share:
            return trained
        share = self.plan.steps.share
        if share is None or not others:
            share = 1 / (1 + len(others))
        name = f"mean-{share:.2f}-of-{1 + len(others)}-keeping-{kept_share}"
        folder = trained.parent / name
        shares = {trained: (1 - kept_share) * share}
        for other in others:
            shares[other] = (1 - kept_share) * (1 - share) / len(others)
        shares[start] = kept_share
        return averaged(part, shares, folder) if self.processes.is_main_process else folder

    def _saved(self, release: Release, at: Path) -> dict[str, Path]:
        """The folders of a release's models; the first process saves them there."""
        folders: dict[str, Path] = {}
        for part, model in zip(
            (ENCODER, CLASSIFIER),
            open_models(release, "cpu"),
            strict=True,
        ):
            if model:
                folders[part] = at / part
                if self.processes.is_main_process:
                    model.save(folders[part])
        return folders

    def _examples(self, name: ObjectiveName, encoder: Path) -> Examples:
        """The training data of an objective. Pairs that are made by rule are for a classifier: a bi-encoder can't see
        the order of words well enough to learn from them.
        """
        steps = self.plan.steps
        made = augmented(self.pairs, steps.augment, steps.options.seed)
        for_classifier = OBJECTIVES[name].part == CLASSIFIER
        if self.plan.teacher and name == ObjectiveName.DISTILL_FINDING:
            rows = both_texts(duplicates_of(self.pairs))
            shown = show(self.plan.teacher, rows, steps.options.device, self.progress)
            return Examples(self.pairs, shown=shown)
        if self.plan.teacher and name.startswith("distill"):
            judged = self._judged(self.plan.teacher, made)
            return judged if for_classifier else judged.first(len(judged.pairs) - len(made))
        learnt = [*self.pairs, *made] if for_classifier else self.pairs
        return Examples(learnt, triplets=self._mined(name, encoder))

    def _judged(self, teacher: Release, made: Sequence[LabelledPair]) -> Examples:
        """The teacher's probabilities, asked once for both parts, and not again after a kill."""
        file = self.work / JUDGED
        if file.exists():
            return kept(file)
        steps = self.plan.steps
        device = steps.options.device
        judged = judge(teacher, self.pairs, made, steps.mine, device, self.progress)
        if self.processes.is_main_process:
            keep(judged, file)
        return judged

    def _mined(self, name: ObjectiveName, encoder: Path) -> Sequence[Triplet]:
        """Hard negatives for objectives that look for the duplicate among others."""
        steps = self.plan.steps
        if name not in MINED or not steps.hard_negatives:
            return ()
        return mine_triplets(
            self.pairs,
            encoder,
            steps.hard_negatives,
            steps.options.device,
        )


def _keep_untrained(models: dict[str, Path], trained: AbstractSet[Part], parent: Release) -> None:
    """Take the parent's own files of what nothing was trained of, so that it is the parent's to the byte."""
    for part in models.keys() - trained:
        del models[part]
        own = parent.own_weights(part)
        if own:  # else it is the base, as it is
            models[part] = own


def _recipe(plan: Plan, pairs: Sequence[LabelledPair]) -> Recipe:
    """The release that is to be, but for its models."""
    steps = plan.steps
    training: dict[str, dict[str, Any]] = {}
    if plan.parent:
        training |= plan.parent.manifest["training"] or {}
    for name in steps.objectives:
        part = OBJECTIVES[name].part
        training[part] = {
            **training.get(part, {}),
            str(name): _settings(plan, part, len(pairs)),
        }
    return Recipe(
        base=plan.parent.base.name if plan.parent else steps.base,
        train=Source(plan.train.name, pairs) if steps.objectives else None,
        tune=plan.tune,
        report=plan.report,
        bits=plan.bits,
        parent=plan.parent,
        seed=steps.options.seed,
        training=training,
        leaks=plan.leaks,
        languages=plan.languages,
    )


def _settings(
    plan: Plan,
    part: Part,
    pairs: int,
) -> dict[str, Any]:
    """The settings of one step of training, as the manifest and the card have them."""
    steps = plan.steps
    settings: dict[str, Any] = {
        "from": plan.train.name,
        "pairs": pairs,
        "augment": steps.augment,
    }
    if part == ENCODER:
        settings["keep"] = steps.keep
    if plan.teacher:
        settings |= {"teacher": plan.teacher.name, "mine": steps.mine}
    if plan.average:
        names = [release.name for release in plan.average]
        settings |= {"average": names, "share": steps.share}
    options = asdict(steps.options)
    settings |= {name: value for name, value in options.items() if value is not None}
    if steps.start:
        settings["start"] = steps.start
    return settings
