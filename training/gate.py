"""Champion and challenger in, both measured on the same pairs; out comes whether the challenger may take its place.

docs/decisions/0012-gate.md says why the rule is as it is, and how often it errs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.engine.training_contract import (
    Calls,
    FigureOfBoth,
    GateReport,
    MeasuredSet,
    Outcome,
    ServedSet,
    UnlabelledPair,
)
from app.settings import TargetPrecision
from training.called import Caller
from training.evaluation import read_evidence
from training.more_labels import more_labels
from training.paired_figures import (
    DECISIVE,
    EvaluationSet,
    FigureName,
    Measurement,
    PairedProbabilities,
    measure,
)
from training.pairs import LabelledPair, labels_of, open_pairs
from training.progress_writer import ProgressWriter
from training.served_verdicts import NEAR, WRITTEN, doubts, harm, on_near, on_written
from training.splits import components

MARGIN = 0.005  # of a loss that nobody would mind
GUARD = 0.05  # by which a figure that doesn't decide may look worse: of equal releases few do, on 1,000 pairs

WORDS: Mapping[FigureName, str] = {
    "average_precision": "average precision",
    "recall_at_precision": "recall at the target precision",
    "calibration": "Brier score",
}


@dataclass(frozen=True)
class _Figure:
    """One figure of both releases on one set, and whether it decides or only guards."""

    evaluated: EvaluationSet
    name: FigureName
    both: FigureOfBoth

    @property
    def decides(self) -> bool:
        return self.name in DECISIVE and not self.evaluated.elsewhere

    @property
    def low(self) -> float:
        return self.both.interval[0]

    @property
    def high(self) -> float:
        return self.both.interval[1]

    def __str__(self) -> str:
        both = self.both
        figure = f"{self.evaluated.name}, {WORDS[self.name]}"
        gain = f"gain {both.difference:+.4f}, {self.low:+.4f} to {self.high:+.4f}"
        return f"{figure}: {both.challenger:.4f} for {both.champion:.4f} ({gain})"


def gate(
    champion: Release,
    challenger: Release,
    sets: Sequence[EvaluationSet],
    target_precision: TargetPrecision,
    margin: float = MARGIN,
    device: str = "auto",
    progress: ProgressWriter | None = None,
    near: Sequence[UnlabelledPair] = (),
) -> GateReport:
    """Measure both releases on the same pairs, each by its own calibration and thresholds, and judge.

    `near` are the collection's own near pairs of which nobody has said whether they are duplicates.
    """
    progress = progress or ProgressWriter()
    pairs = [open_pairs(one.pairs) for one in sets]
    before = _read(champion, pairs, near, target_precision, device, progress)
    after = _read(challenger, pairs, near, target_precision, device, progress)
    target = float(target_precision)
    measured = []
    for number, one in enumerate(sets):
        both = PairedProbabilities(
            before.probabilities[number],
            after.probabilities[number],
            labels_of(pairs[number]),
            components(pairs[number]),
        )
        measured.append(measure(one, both, target, progress))
    served = _served(before, after)
    report = judge(measured, margin, harm(served, target), doubts(served, target))
    return replace(report, served=served)


@dataclass(frozen=True)
class _Read:
    """A release's answers: probabilities of each set, and its calls on pairs as a service meets them."""

    probabilities: Sequence[NDArray[np.float64]]
    written: Calls
    near: Calls | None


def _read(
    release: Release,
    sets: Sequence[Sequence[LabelledPair]],
    near: Sequence[UnlabelledPair],
    target_precision: TargetPrecision,
    device: str,
    progress: ProgressWriter,
) -> _Read:
    """The answers of a release, whose models are closed again."""
    encoder, classifier = open_models(release, device)
    caller = Caller(release.scorer(target_precision), encoder, classifier, progress)
    return _Read(
        _probabilities(release, encoder, classifier, sets, progress),
        on_written(caller),
        on_near(caller, near) if near else None,
    )


def _served(before: _Read, after: _Read) -> list[ServedSet]:
    sets = [ServedSet(WRITTEN, before.written, after.written)]
    if before.near and after.near:
        sets.append(ServedSet(NEAR, before.near, after.near))
    return sets


def probabilities(
    release: Release,
    sets: Sequence[Sequence[LabelledPair]],
    device: str,
    progress: ProgressWriter,
) -> list[NDArray[np.float64]]:
    """P(duplicate) of the pairs of each set, as served: by similarity alone where the classifier would not read."""
    return _probabilities(release, *open_models(release, device), sets, progress)


def _probabilities(
    release: Release,
    encoder: Encoder,
    classifier: PairClassifier | None,
    sets: Sequence[Sequence[LabelledPair]],
    progress: ProgressWriter,
) -> list[NDArray[np.float64]]:
    scorer = release.scorer("0.90")  # any: a probability hangs on no target
    read = []
    for pairs in sets:
        evidence = read_evidence(encoder, classifier, pairs, progress=progress)
        read.append(scorer.probabilities(evidence.similarities, evidence.read_by(scorer)))
    return read


def judge(
    sets: Sequence[Measurement],
    margin: float,
    served_harm: Sequence[str] = (),
    served_doubts: Sequence[str] = (),
) -> GateReport:
    """The rule by which a challenger passes.

    On every set that decides, the whole intervals of average precision and of the Brier score lie above -margin. One of
    them lies above 0, and not all lie below margin. Neither a guarding figure nor its verdicts as served speak against
    it.
    """
    figures = _figures(sets)
    deciding = [figure for figure in figures if figure.decides]
    harmed = [f"{one}: worse by more than {margin:g}" for one in figures if one.high < -margin]
    harmed += served_harm
    if harmed:
        return _report("failed", harmed, sets, margin)
    open_points = [
        *_too_small(sets),
        *_unproven(deciding, margin),
        *_guarded(figures, margin),
        *served_doubts,
    ]
    better = [f"{one}: better" for one in deciding if one.low > 0]
    if not open_points and all(one.high < margin for one in deciding):
        nothing = f"champion and challenger differ by less than {margin:g} on every set: there is nothing to gain"
        return _report("failed", [nothing], sets, margin)
    if better and not open_points:
        return _report("passed", better, sets, margin)
    if not better:
        open_points.append("nothing shows with certainty that the challenger is better")
    return _report("not enough evidence", open_points, sets, margin)


def _report(
    outcome: Outcome,
    reasons: Sequence[str],
    sets: Sequence[Measurement],
    margin: float,
) -> GateReport:
    measured = []
    for one in sets:
        figures: dict[str, FigureOfBoth] = {}
        for name, both in one.figures.items():
            figures[str(name)] = both
        of_set = MeasuredSet(one.evaluated.name, one.pairs, one.components, figures)
        measured.append(of_set)
    wanted = more_labels(sets, margin) if outcome == "not enough evidence" else None
    return GateReport(outcome, reasons, margin, measured, wanted)


def _figures(sets: Sequence[Measurement]) -> list[_Figure]:
    figures = []
    for one in sets:
        for name, both in one.figures.items():
            figures.append(_Figure(one.evaluated, name, both))
    return figures


def _too_small(sets: Sequence[Measurement]) -> Iterator[str]:
    """Sets that decide and are too small to be looked at."""
    for one in sets:
        if not one.figures and not one.evaluated.elsewhere:
            size = f"{one.pairs} pairs of {one.components} components"
            yield f"{one.evaluated.name}: {size} are too few to measure on"


def _unproven(deciding: Sequence[_Figure], margin: float) -> Iterator[str]:
    """Figures that decide, and may be worse by more than the margin."""
    for one in deciding:
        if one.low <= -margin:
            yield f"{one}: it may be worse by more than {margin:g}"


def _guarded(figures: Sequence[_Figure], margin: float) -> Iterator[str]:
    """Figures that only guard, and look worse by more than chance explains easily."""
    limit = max(GUARD, margin)
    for one in figures:
        if not one.decides and one.both.difference < -limit:
            yield f"{one}: it looks worse by more than {limit:g}"
