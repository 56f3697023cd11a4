"""The plan of a training: its settings, its sets of pairs, the releases it starts from; and the claim of a folder.

A training keeps its checkpoints beside the release that is to be. The claim says whose they are, so that another
training never goes on from them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.engine.files import replace_file
from app.engine.release import CLASSIFIER, ENCODER, ENGLISH, Release
from app.errors import CommandError
from training.build import Source
from training.objectives import OBJECTIVES, ObjectiveName
from training.pairs import LabelledPair, fingerprint
from training.train import Options

CLAIM = "plan.json"

# Objectives that look at the option: hard negatives, near pairs for a teacher to judge, and the teacher.
MINED = frozenset(
    {
        ObjectiveName.MNRL,
        ObjectiveName.MULTI_TASK,
    }
)
JUDGED = frozenset(
    {
        ObjectiveName.DISTILL_ENCODER,
        ObjectiveName.DISTILL_CLASSIFIER,
    }
)
TAUGHT = JUDGED | {ObjectiveName.DISTILL_FINDING}


@dataclass(frozen=True)
class Steps:
    """How models are trained: plain values, all of which the claim holds."""

    objectives: Sequence[ObjectiveName]  # one after the other
    base: str
    start: str | None = None  # the first objective's start instead; named as a base is
    hard_negatives: int = 0  # mined for each duplicate, for `mnrl`
    mine: int = 0  # near pairs without a label, for a teacher to judge
    augment: float = 0.0  # pairs to make by rule for the classifier, for each there is
    keep: float = 0.0  # share of the start's weights in those of a trained bi-encoder
    share: float | None = None  # of the trained model in a mean; None: as much as each other
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Plan:
    """What is to be made: by which steps, on which pairs, from which releases."""

    steps: Steps
    train: Source
    tune: Source
    report: Sequence[Source]
    parent: Release | None = (
        None  # its models are the start, and stay where no objective trains them
    )
    teacher: Release | None = None
    average: Sequence[Release] = ()  # of whose models and the trained ones the mean is published
    limit: int | None = None  # most pairs to learn from
    bits: int | None = None  # for each weight of the published differences; None: whole models
    languages: Sequence[str] = (ENGLISH,)  # of the questions; with a parent they are its
    leaks: bool = False  # rows were split at random: questions stand in several of the sets

    def claim(self, pairs: Sequence[LabelledPair]) -> dict[str, Any]:
        """Everything on which a checkpoint depends: settings, releases by digest, pairs by fingerprint."""
        steps = asdict(self.steps)
        options = steps.pop("options")
        releases = {"parent": self.parent, "teacher": self.teacher}
        return {
            **steps,
            **options,
            "objectives": [str(name) for name in self.steps.objectives],
            "releases": digests(releases),
            "average": [release.digest for release in self.average],
            "pairs": [fingerprint(pairs), fingerprint(self.tune.pairs)],
        }


def refuse_unused(plan: Plan) -> None:
    """Raise CommandError for a setting that was given, and that neither an objective nor another setting looks at."""
    steps = plan.steps
    names = set(steps.objectives)
    parts = {OBJECTIVES[name].part for name in names}
    _refuse(steps.hard_negatives, "--hard-negatives", names & MINED, MINED)
    _refuse(steps.mine, "--mine", names & JUDGED, JUDGED)
    _refuse(plan.teacher, "--teacher", names & TAUGHT, TAUGHT)
    is_usual = steps.options.sampler == Options.sampler
    both = {ObjectiveName.MULTI_TASK}
    _refuse(not is_usual, "--sampler", names & both, both)
    _refuse(steps.augment, "--augment", CLASSIFIER in parts, ["a classifier to train"])
    _refuse(steps.keep, "--keep", ENCODER in parts, ["a bi-encoder to train"])
    _refuse(steps.share is not None, "--share", plan.average, ["--average"])


def _refuse(
    given: object,
    option: str,
    found: object,
    wanted: Iterable[str],
) -> None:
    if given and not found:
        needs = " or ".join(sorted(wanted))
        raise CommandError(f"{option} is of no use without {needs}")


def digests(releases: Mapping[str, Release | None]) -> dict[str, str]:
    """The digests of the releases that there are, by the part that each takes in a training."""
    found = {}
    for name, release in releases.items():
        if release:
            found[name] = release.digest
    return found


def claim(work: Path, wanted: Mapping[str, Any]) -> None:
    """Write down what is trained in `work`, as JSON values.

    Raises CommandError when another training was: its checkpoints are there.
    """
    file = work / CLAIM
    if file.exists() and not _agrees(json.loads(file.read_text("utf-8")), wanted):
        raise CommandError(
            f"{work} holds checkpoints of another training: remove it, or choose another name"
        )
    work.mkdir(parents=True, exist_ok=True)
    written = json.dumps(dict(wanted))
    known = file.read_text("utf-8") if file.exists() else None
    if written != known:  # of several processes the first one writes
        replace_file(file, written)


def _agrees(claimed: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a claim is that of the training.

    A claim of an earlier version lacks some of the values, which can't be compared; it left out `start` where
    there was none, and did not say which release took which part.
    """
    claimed = {"start": None, **claimed}
    if isinstance(claimed.get("releases"), list):
        wanted = {**wanted, "releases": list(wanted["releases"].values())}
    return all(wanted.get(name) == value for name, value in claimed.items())
