"""A request and labels in, a measured release out: the service starts this as its child.

The folder of a run holds the request and gets the result; see `app.engine.training_contract`. Started again there after
a kill, a run goes on.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app.engine.release import FROM_LABELS, Release
from app.engine.review import most_helpful
from app.engine.text import folded_pair_digest
from app.engine.training_contract import (
    LABELS,
    PROGRESS,
    REQUEST,
    RESULT,
    UNLABELLED,
    GivenLabel,
    PairToLabel,
    RecipeName,
    Request,
    Result,
    UnlabelledPair,
    read_lines,
    read_one,
    write_one,
)
from app.errors import CommandError
from training.build import Source
from training.fit import fit
from training.gate import gate, probabilities
from training.label_split import EVALUATION_SHARE, Sides, take_sides
from training.objectives import ObjectiveName
from training.paired_figures import EvaluationSet
from training.pairs import (
    LabelledPair,
    both_texts,
    cleaned,
    has_both_classes,
    open_pairs,
    read_pairs,
)
from training.plan import Plan, Steps
from training.progress_writer import ProgressWriter
from training.publish import refuse_existing
from training.replay import replayed
from training.splits import apart
from training.train import Options

CLAIM = "claim.json"
KEEP = 0.4  # of the champion's bi-encoder, in the one that is trained from it
EPOCHS = 2.0
BATCH_SIZE, FEWEST_BATCHES = (
    64,
    8,
)  # of an epoch; few labels are cut into smaller batches

OBJECTIVES: Mapping[RecipeName, Sequence[ObjectiveName]] = {
    "calibration": (),
    "classifier": (ObjectiveName.CROSS_ENCODER,),
    "encoder": (ObjectiveName.JOINT,),
    "both": (ObjectiveName.CROSS_ENCODER, ObjectiveName.JOINT),
}


@dataclass(frozen=True)
class Sets:
    """The pairs that a run learns from, tunes on, and measures on; no two sets share a question."""

    train: Source
    tune: Source
    evaluation: Sequence[EvaluationSet]
    replay: Sequence[LabelledPair] = ()  # written questions, learnt from beside the labels


@dataclass(frozen=True)
class _Claim:
    """The release that a run publishes, from the moment it begins to. A folder that is there before is another's."""

    release: str
    champion: str


def retrain(work: Path) -> None:
    """Make the release that `work` asks for, hold it against the champion, and write the result.

    Raises CommandError for labels that don't do and for a broken folder, ReleaseRefused for a damaged champion.
    """
    if (work / RESULT).exists():
        return
    progress = ProgressWriter(work / PROGRESS)
    progress.phase("preparing")
    request = read_one(work / REQUEST, Request)
    champion = Release.open(request.champion)
    sets = assemble(
        request,
        read_labels(work),
        learnt_before=learnt_labels(champion),
    )
    unlabelled = _unlabelled(work / UNLABELLED)
    challenger = _published(work, request, champion, sets, progress)
    progress.phase("gate")
    report = gate(
        champion,
        challenger,
        sets.evaluation,
        request.target_precision,
        request.margin,
        request.device,
        progress,
        unlabelled,
    )
    to_label = _to_label(request, challenger, unlabelled, progress)
    write_one(
        work / RESULT,
        Result(challenger.name, replace(report, to_label=to_label)),
    )
    shutil.rmtree(_checkpoints(request.release), ignore_errors=True)


def read_labels(work: Path) -> list[GivenLabel]:
    """The labels in the order in which they were given. Raises CommandError where none is to be learnt from."""
    labels = read_lines(work / LABELS, GivenLabel)
    if not any(label.counts for label in labels):
        raise CommandError("there is no label to learn from: label pairs first")
    return labels


def learnt_labels(release: Release) -> bool:
    """Whether a release's models have learnt from labels, by its own account of their training."""
    parts: Mapping[str, Mapping[str, Any]] = release.manifest["training"] or {}
    for steps in parts.values():
        for settings in steps.values():
            source = str(settings.get("from"))
            if source.startswith(FROM_LABELS):
                return True
    return False


def assemble(
    request: Request,
    labels: Sequence[GivenLabel],
    *,
    learnt_before: bool,
) -> Sets:
    """Labels and data set together, cut into sets that no chain of pairs ties.

    Labels overrule the data set's word on the same pair. Where nothing is trained, calibration may be fitted on the
    labels to train on too, unless the champion has learnt from them: it would be too sure of them.
    """
    of_labels = take_sides(labels)
    of_data_set = _data_set(request.data_set, labels)
    counting = sum(label.counts for label in labels)
    evaluation = _evaluation_sets(request, counting, of_labels, of_data_set)
    tune = [*of_labels.tune, *of_data_set.tune]
    train = [*of_labels.train, *of_data_set.train]
    trains = request.recipe != "calibration"
    if not trains:
        train = []
        if not learnt_before:
            tune += of_labels.train
    held = [one.pairs for one in evaluation]
    tune = apart(_clean(tune), *held)
    train = apart(_clean(train), tune, *held)
    if trains and not has_both_classes(train):
        raise CommandError(
            f"training needs labelled pairs of both classes; {len(train)} of one are left to learn from: label more"
        )
    name = FROM_LABELS
    if request.data_set:
        name += f", {request.data_set.name}"
    replay: Sequence[LabelledPair] = ()
    if trains:
        replay = apart(replayed(request.seed), train, tune, *held)
    return Sets(Source(name, train), Source(name, tune), evaluation, replay)


def _evaluation_sets(
    request: Request, counting: int, of_labels: Sides, of_data_set: Sides
) -> list[EvaluationSet]:
    """The sets to measure on. So far, `counting` labels made the pairs of the first."""
    labelled = _clean(of_labels.evaluation)
    growth = 1 / EVALUATION_SHARE
    if labelled:  # labels between two sides make none
        so_far = counting / len(labelled)
        growth = max(growth, round(so_far, 1))
    sets = [EvaluationSet("labels", labelled, growth=growth)]
    report = _clean(of_data_set.evaluation)
    if request.data_set and report:
        sets.append(
            EvaluationSet(
                f"{request.data_set.name}: report",
                apart(report, labelled),
            )
        )
    if request.elsewhere:
        pairs = apart(_clean(read_pairs(request.elsewhere)), labelled, report)
        sets.append(EvaluationSet(request.elsewhere.name, pairs, elsewhere=True))
    return sets


def _published(
    work: Path,
    request: Request,
    champion: Release,
    sets: Sets,
    progress: ProgressWriter,
) -> Release:
    """The release that is asked for; the one that this run has published already, if it was killed after that."""
    out = request.release
    claim = work / CLAIM
    if not claim.exists():
        refuse_existing(out)
        write_one(claim, _Claim(str(out), champion.digest))
    if out.exists():
        return Release.open(out)
    release = fit(_plan(request, champion, sets), out, progress)
    if release is None:
        raise CommandError("a run is one process: start it without torchrun")
    return release


def _plan(request: Request, champion: Release, sets: Sets) -> Plan:
    train = sets.train
    if sets.replay:
        train = Source(f"{train.name}, written", [*train.pairs, *sets.replay])
    batch_size = min(BATCH_SIZE, len(train.pairs) // FEWEST_BATCHES)
    steps = Steps(
        objectives=OBJECTIVES[request.recipe],
        base=champion.base.name,
        keep=KEEP,
        options=Options(
            epochs=EPOCHS,
            batch_size=max(2, batch_size),
            device=request.device,
            seed=request.seed,
        ),
    )
    measurable = [one for one in sets.evaluation if has_both_classes(open_pairs(one.pairs))]
    report = [Source(one.name, one.pairs) for one in measurable]
    return Plan(steps, train, sets.tune, report, parent=champion)


def _unlabelled(file: Path) -> list[UnlabelledPair]:
    return read_lines(file, UnlabelledPair) if file.exists() else []


def _to_label(
    request: Request,
    release: Release,
    pairs: Sequence[UnlabelledPair],
    progress: ProgressWriter,
) -> list[PairToLabel]:
    """The stored pairs whose labels would help most, with the new release's probabilities."""
    if not pairs:
        return []
    unlabelled = [
        LabelledPair(pair.question1, pair.question2, is_duplicate=False) for pair in pairs
    ]
    (given,) = probabilities(release, [unlabelled], request.device, progress)
    thresholds = release.scale.thresholds
    threshold = thresholds.duplicate[request.target_precision].probability
    if threshold is None:
        threshold = thresholds.review
    places = most_helpful(both_texts(unlabelled), given, threshold)
    return [
        PairToLabel(
            **asdict(pairs[place]),
            probability=round(float(given[place]), 4),
        )
        for place in places
    ]


def _checkpoints(out: Path) -> Path:
    return out.parent / f".{out.name}.training"


def _data_set(folder: Path | None, labels: Sequence[GivenLabel]) -> Sides:
    """The parts of a data set, without the pairs of which a label speaks. Raises CommandError without `train.*`."""
    if folder is None:
        return Sides()
    labelled = set()
    for label in labels:
        if label.active:
            labelled.add(folded_pair_digest(label.question1, label.question2))
    train = _part(folder, "train")
    if train is None:
        raise CommandError(
            f"{folder} has no train.*: `python -m training split` makes such a folder"
        )
    tune = _part(folder, "tune") or _part(folder, "fit")  # as it was called before
    report = _part(folder, "report")
    parts = []
    for file in (train, tune, report):
        pairs = read_pairs(file) if file else []
        parts.append([pair for pair in pairs if folded_pair_digest(*pair.texts) not in labelled])
    return Sides(*parts)


def _part(folder: Path, name: str) -> Path | None:
    """The file of a data set's part, whatever its kind."""
    return min(folder.glob(f"{name}.*"), default=None)


def _clean(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    return cleaned(pairs)[0]
