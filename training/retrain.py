"""A request and labels in, a measured release out: what the service starts as its child.

The folder of a run holds what is asked (`request.json`, `labels.jsonl`, `unlabelled.jsonl`), and gets how far it is
(`progress.json`) and what came of it (`result.json`). Started again there after a kill, a run goes on.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from app.engine.release import Release
from app.engine.text import pair_digest
from app.errors import CommandError
from training.build import Source
from training.fit import Plan, fit
from training.gate import MARGIN, Asked, Unlabelled, gate, most_helpful
from training.label_split import EVALUATION_SHARE, GivenLabel, Sides, take_sides
from training.objectives import ObjectiveName
from training.pairs import LabelledPair, cleaned, read_pairs
from training.progress import Progress, replace
from training.splits import apart
from training.train import Options

LABELS = "labels"  # as the source of pairs
KEEP = 0.4  # of the champion's bi-encoder, in the one that is trained from it
EPOCHS = 2.0
BATCH_SIZE, FEWEST_BATCHES = 64, 8  # of an epoch; few labels are cut into smaller batches

Kind = TypeVar("Kind")
RecipeName = Literal["calibration", "classifier", "encoder", "both"]
OBJECTIVES: Mapping[RecipeName, Sequence[ObjectiveName]] = {
    "calibration": (),
    "classifier": (ObjectiveName.CROSS_ENCODER,),
    "encoder": (ObjectiveName.JOINT,),
    "both": (ObjectiveName.CROSS_ENCODER, ObjectiveName.JOINT),
}


@dataclass(frozen=True)
class Request:
    """What is asked of a run."""

    champion: Path
    release: Path  # to publish
    recipe: RecipeName
    data_set: Path | None = None  # a folder as `split` writes it
    elsewhere: Path | None = None  # a file of pairs of other domains
    target_precision: Literal["0.90", "0.95", "0.98", "0.99"] = "0.90"
    margin: float = MARGIN
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 20


@dataclass(frozen=True)
class Sets:
    """What a run learns from, fits on, and is measured on; no two share a question."""

    train: Source
    fit: Source
    asked: Sequence[Asked]


def retrain(work: Path) -> None:
    """Make the release that `work` asks for, hold it against the champion, and write the result.

    Raises CommandError for labels that don't do and for a broken folder, ReleaseRefused for a damaged champion.
    """
    if (work / "result.json").exists():
        return
    progress = Progress(work / "progress.json")
    progress.phase("preparing")
    request = read_request(work)
    champion = Release.open(request.champion)
    sets = assemble(request, read_labels(work), learnt_before=learnt_labels(champion))
    challenger = _made(work, request, champion, sets, progress)
    progress.phase("gate")
    verdict = gate(
        champion,
        challenger,
        sets.asked,
        request.target_precision,
        request.margin,
        request.device,
        progress,
    )
    unlabelled = (
        _read_lines(work / "unlabelled.jsonl", Unlabelled)
        if (work / "unlabelled.jsonl").exists()
        else []
    )
    chosen = most_helpful(
        challenger, unlabelled, request.target_precision, request.device, progress
    )
    replace(
        work / "result.json",
        {"release": challenger.name, "gate": {**verdict.document(), "to_label": chosen}},
    )
    shutil.rmtree(_checkpoints(request.release), ignore_errors=True)


def read_request(work: Path) -> Request:
    """What `request.json` asks. Raises CommandError that names what is wrong."""
    return _parsed(work / "request.json", TypeAdapter(Request), _text(work / "request.json"))


def read_labels(work: Path) -> list[GivenLabel]:
    """The labels in the order in which they were given. Raises CommandError where none is to be learnt from."""
    labels = _read_lines(work / "labels.jsonl", GivenLabel)
    if not any(label.counts for label in labels):
        raise CommandError("there is no label to learn from: label pairs first")
    return labels


def learnt_labels(release: Release) -> bool:
    """Whether a release's models have learnt from labels, by what it says of their training."""
    parts: Mapping[str, Mapping[str, Any]] = release.manifest["training"] or {}
    return any(
        str(how.get("from")).startswith(LABELS) for part in parts.values() for how in part.values()
    )


def assemble(request: Request, labels: Sequence[GivenLabel], *, learnt_before: bool) -> Sets:
    """Labels and data set together, cut into sets that no chain of pairs ties.

    Labels overrule what the data set says of the same pair. Where nothing is trained, calibration may be fitted on the
    labels to train on too, unless the champion has learnt from them: it would be too sure of them.
    """
    sides, of_set = take_sides(labels), _data_set(request.data_set, labels)
    evaluation, report = _clean(sides.evaluation), _clean(of_set.evaluation)
    asked = [Asked("labels", evaluation, growth=1 / EVALUATION_SHARE)]
    if report:
        asked.append(Asked(f"{_name(request.data_set)}: report", apart(report, evaluation)))
    if request.elsewhere:
        held = apart(_clean(read_pairs(request.elsewhere)), evaluation, report)
        asked.append(Asked(f"{request.elsewhere.name}", held, elsewhere=True))
    fitted, learnt = [*sides.fit, *of_set.fit], [*sides.train, *of_set.train]
    if request.recipe == "calibration":
        fitted, learnt = [*fitted, *([] if learnt_before else sides.train)], []
    fitted = apart(_clean(fitted), *(one.pairs for one in asked))
    learnt = apart(_clean(learnt), fitted, *(one.pairs for one in asked))
    if request.recipe != "calibration" and len({pair.is_duplicate for pair in learnt}) < 2:
        raise CommandError(
            f"training needs labelled pairs of both classes; {len(learnt)} of one are left to learn from: label more"
        )
    name = f"{LABELS}, {_name(request.data_set)}" if request.data_set else LABELS
    return Sets(Source(name, learnt), Source(name, fitted), asked)


def _made(
    work: Path, request: Request, champion: Release, sets: Sets, progress: Progress
) -> Release:
    """The release that is asked for; the one that this run has published already, if it was killed after that."""
    out, claim = request.release, work / "claim.json"
    if not claim.exists():
        if out.exists():
            raise CommandError(
                f"{out} exists: a release never changes; choose another name or remove it"
            )
        replace(claim, {"release": str(out), "champion": champion.digest})
    if out.exists():
        return Release.open(out)
    batch_size = max(2, min(BATCH_SIZE, len(sets.train.pairs) // FEWEST_BATCHES))
    plan = Plan(
        objectives=OBJECTIVES[request.recipe],
        base=champion.base.name,
        train=sets.train,
        fit=sets.fit,
        report=[Source(one.name, one.pairs) for one in sets.asked if _has_both(one.pairs)],
        options=Options(
            epochs=EPOCHS, batch_size=batch_size, device=request.device, seed=request.seed
        ),
        parent=champion,
        keep=KEEP,
    )
    release = fit(plan, out, progress)
    if release is None:
        raise CommandError("a run is one process: start it without torchrun")
    return release


def _checkpoints(out: Path) -> Path:
    return out.parent / f".{out.name}.training"


def _data_set(folder: Path | None, labels: Sequence[GivenLabel]) -> Sides:
    """The parts of a data set, without the pairs of which a label speaks. Raises CommandError without `train.*`."""
    if folder is None:
        return Sides()
    spoken = {pair_digest(label.question1, label.question2) for label in labels if label.active}
    parts = {}
    for name in ("train", "fit", "report"):
        file = next(iter(sorted(folder.glob(f"{name}.*"))), None)
        if file is None and name == "train":
            raise CommandError(
                f"{folder} has no train.*: `python -m training split` makes such a folder"
            )
        pairs = read_pairs(file) if file else []
        parts[name] = [
            pair for pair in pairs if pair_digest(pair.question1, pair.question2) not in spoken
        ]
    return Sides(parts["train"], parts["fit"], parts["report"])


def _clean(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    return cleaned(pairs)[0]


def _has_both(pairs: Sequence[LabelledPair]) -> bool:
    return len({pair.is_duplicate for pair in pairs}) == 2


def _name(folder: Path | None) -> str:
    return folder.name if folder else ""


def _read_lines(file: Path, kind: type[Kind]) -> list[Kind]:
    """A file of JSON lines, each of one kind."""
    adapter = TypeAdapter(kind)
    lines = enumerate(_text(file).split("\n"), 1)
    return [_parsed(f"{file}:{number}", adapter, line) for number, line in lines if line.strip()]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read {file}: {error}") from error


def _parsed(place: object, adapter: TypeAdapter[Kind], content: str) -> Kind:
    """What the content says; the error names the first field at fault, and no text of a question."""
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CommandError(
            f"{place}: {field}: {first['msg']}" if field else f"{place}: {first['msg']}"
        ) from error
