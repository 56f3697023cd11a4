"""Champion and challenger in, both measured on the same pairs; out comes whether the challenger may take its place.

docs/decisions/0012-gate.md says why the rule is what it is, and how often it errs.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from app.engine.models.opening import open_models
from app.engine.release import Release
from training.evaluation import read_evidence
from training.pairs import LabelledPair, open_pairs
from training.progress import Progress
from training.splits import components

MARGIN = 0.005  # of a loss that nobody would mind
RESAMPLES, AT_ONCE = 2000, 50
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
FEWEST = 10  # pairs of each class, and components, without which no interval is worth looking at
DECISIVE = (
    "average_precision",
    "calibration",
)  # what decides where pairs are like those that are served
GUARD = 0.05  # by which a figure that doesn't decide may look worse: of equal releases few do, on 1,000 pairs
LOPSIDED = 2.0  # times the variance of the other class from which labels of one class are asked for
MOST_TO_LABEL, MOST_OF_A_COMPONENT = 50, 2

Wanting = Literal["duplicates", "different", "both"]
Outcome = Literal["passed", "failed", "not enough evidence"]
FigureName = Literal["average_precision", "recall_at_precision", "calibration"]
WORDS: Mapping[FigureName, str] = {
    "average_precision": "average precision",
    "recall_at_precision": "recall at the target precision",
    "calibration": "Brier score",
}
_CLASSES: Mapping[Wanting, bool] = {"duplicates": True, "different": False}


@dataclass(frozen=True)
class Asked:
    """Labelled pairs to measure on. Those of other domains (`elsewhere`) guard against harm and decide nothing else."""

    name: str
    pairs: Sequence[LabelledPair]
    elsewhere: bool = False
    growth: float | None = (
        None  # labels it takes to give this set one more pair; None: labels don't reach it
    )


@dataclass(frozen=True)
class Compared:
    """One figure of both releases. `difference` is by how much the challenger is better: for the Brier score, of
    which less is better, champion minus challenger. The interval holds it with 95 % confidence."""

    champion: float
    challenger: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What was found on one set; no figures where it has too few pairs of a class."""

    asked: Asked
    pairs: int
    components: int
    figures: Mapping[FigureName, Compared]
    wanting: Wanting  # of which class labels would narrow the intervals


@dataclass(frozen=True)
class MoreLabels:
    """About how many more labels, of which class, would give the evidence."""

    pairs: int
    of: Wanting
    why: str


@dataclass(frozen=True)
class Verdict:
    """The gate's word, the sentences behind it, and what it was measured on."""

    outcome: Outcome
    reasons: Sequence[str]
    margin: float
    sets: Sequence[Measured]
    more_labels: MoreLabels | None

    def document(self) -> dict[str, object]:
        """As it stands in a result."""
        return {
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "margin": self.margin,
            "sets": [
                {
                    "name": found.asked.name,
                    "pairs": found.pairs,
                    "components": found.components,
                    "figures": {name: asdict(compared) for name, compared in found.figures.items()},
                }
                for found in self.sets
            ],
            "more_labels": asdict(self.more_labels) if self.more_labels else None,
        }


@dataclass(frozen=True)
class Scored:
    """What both releases say of n labelled pairs: probabilities (n,) float64, labels (n,) bool, components (n,)."""

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    labels: NDArray[np.bool_]
    components: NDArray[np.int64]


def gate(
    champion: Release,
    challenger: Release,
    sets: Sequence[Asked],
    target_precision: str,
    margin: float = MARGIN,
    device: str = "auto",
    progress: Progress | None = None,
) -> Verdict:
    """Measure both releases on the same pairs, each by its own calibration, and judge."""
    progress = progress or Progress()
    asked = [open_pairs(one.pairs) for one in sets]
    before, after = (
        probabilities(release, asked, device, progress) for release in (champion, challenger)
    )
    found = [
        measure(
            one, Scored(p, q, _labels(pairs), components(pairs)), float(target_precision), progress
        )
        for one, pairs, p, q in zip(sets, asked, before, after, strict=True)
    ]
    return judge(found, margin)


def _labels(pairs: Sequence[LabelledPair]) -> NDArray[np.bool_]:
    return np.array([pair.is_duplicate for pair in pairs], dtype=np.bool_)


def probabilities(
    release: Release, sets: Sequence[Sequence[LabelledPair]], device: str, progress: Progress
) -> list[NDArray[np.float64]]:
    """P(duplicate) of the pairs of each set, through the code that serves; the models are closed again."""
    encoder, classifier = open_models(release, device)
    calibration = (release.by_pair or release.by_similarity).calibration
    read = (read_evidence(encoder, classifier, pairs, progress=progress) for pairs in sets)
    return [calibration.probability(*evidence.features) for evidence in read]


def measure(asked: Asked, scored: Scored, target: float, progress: Progress) -> Measured:
    """Differences with 95 % intervals: paired bootstrap over components, the same resamples for both releases."""
    count, labels = len(np.unique(scored.components)), scored.labels
    if min(int(labels.sum()), int((~labels).sum()), count) < FEWEST:
        return Measured(asked, len(labels), count, {}, _scarcer(labels))
    once = np.ones((1, len(labels)))
    before, after = (
        _figures(p, labels, once, target) for p in (scored.champion, scored.challenger)
    )
    better = _difference(scored, once, target)
    drawn = _stacked(
        _difference(scored, weights, target)
        for weights in _resamples(scored.components, labels, progress)
    )
    figures = {
        name: Compared(
            float(before[name][0]),
            float(after[name][0]),
            float(better[name][0]),
            _interval(drawn[name]),
        )
        for name in WORDS
    }
    return Measured(asked, len(labels), count, figures, _wanting(scored, target))


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, INTERVAL)
    return float(low), float(high)


def _difference(
    scored: Scored, weights: NDArray[np.float64], target: float
) -> dict[FigureName, NDArray[np.float64]]:
    """By how much the challenger is better, under each row of weights (b, n): (b,) for each figure."""
    before, after = (
        _figures(p, scored.labels, weights, target) for p in (scored.champion, scored.challenger)
    )
    sign = {"average_precision": 1, "recall_at_precision": 1, "calibration": -1}
    return {name: sign[name] * (after[name] - before[name]) for name in WORDS}


def _figures(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float64],
    target: float,
) -> dict[FigureName, NDArray[np.float64]]:
    """Average precision, greatest recall at the target precision and Brier score under each row of weights (b, n).

    Equal probabilities stay together, as in scikit-learn's `average_precision_score`.
    """
    order = np.argsort(-probabilities, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)
    ordered = weights[:, order]
    found = np.cumsum(ordered * labels[order], axis=1)[:, ends]
    precision = found / np.maximum(np.cumsum(ordered, axis=1)[:, ends], 1e-12)
    recall = found / found[:, -1:]
    return {
        "average_precision": (precision * np.diff(recall, axis=1, prepend=0.0)).sum(axis=1),
        "recall_at_precision": np.where(precision >= target, recall, 0.0).max(axis=1),
        "calibration": weights @ (probabilities - labels) ** 2 / weights.sum(axis=1),
    }


def _resamples(
    of: NDArray[np.int64], labels: NDArray[np.bool_], progress: Progress
) -> Iterator[NDArray[np.float64]]:
    """How often each pair stands in sets of components drawn with replacement: (b, n) at a time. Those without a
    pair of each class are left out."""
    _, member = np.unique(of, return_inverse=True)
    count = int(member.max()) + 1
    chances = np.random.default_rng(0)
    for _ in range(RESAMPLES // AT_ONCE):
        drawn = _counts(chances, count, AT_ONCE)[:, member]
        progress.beat()
        yield drawn[(drawn @ labels > 0) & (drawn @ ~labels > 0)]


def _counts(chances: np.random.Generator, count: int, times: int) -> NDArray[np.float64]:
    """How often each of `count` things comes when as many are drawn with replacement: (times, count)."""
    drawn = chances.integers(0, count, (times, count)) + count * np.arange(times)[:, None]
    return (
        np.bincount(drawn.ravel(), minlength=times * count).reshape(times, count).astype(np.float64)
    )


def _stacked(
    parts: Iterator[dict[FigureName, NDArray[np.float64]]],
) -> dict[FigureName, NDArray[np.float64]]:
    rows = list(parts)
    return {name: np.concatenate([row[name] for row in rows]) for name in WORDS}


def _scarcer(labels: NDArray[np.bool_]) -> Wanting:
    """The class of which a small set lacks pairs."""
    few = [name for name, rows in _CLASSES.items() if np.count_nonzero(labels == rows) < FEWEST]
    return few[0] if len(few) == 1 else "both"


def _wanting(scored: Scored, target: float) -> Wanting:
    """The class whose pairs make the difference of average precision uncertain: that by whose resampling alone it
    varies most."""
    chances = np.random.default_rng(1)
    varying: dict[Wanting, float] = {}
    for name, value in _CLASSES.items():
        rows = scored.labels == value
        weights = np.ones((4 * AT_ONCE, len(rows)))
        weights[:, rows] = _counts(chances, int(rows.sum()), len(weights))
        varying[name] = float(_difference(scored, weights, target)["average_precision"].var())
    if max(varying.values()) < LOPSIDED * min(varying.values()):
        return "both"
    return "duplicates" if varying["duplicates"] > varying["different"] else "different"


def judge(sets: Sequence[Measured], margin: float) -> Verdict:
    """The rule. A challenger passes when on every set that decides the whole intervals of average precision and of the
    Brier score lie above -margin, one of them above 0, and no guard speaks against it."""
    harmed = [
        f"{_says(*one)}: worse by more than {margin:g}"
        for one in _all(sets)
        if one[2].interval[1] < -margin
    ]
    open_ = [*_lacking(sets), *_unproven(sets, margin), *_guarded(sets, margin)]
    better = [f"{_says(*one)}: better" for one in _deciding(sets) if one[2].interval[0] > 0]
    if harmed:
        return Verdict("failed", harmed, margin, sets, None)
    if better and not open_:
        return Verdict("passed", better, margin, sets, None)
    if not open_ and all(figure.interval[1] < margin for _, _, figure in _deciding(sets)):
        nothing = f"champion and challenger differ by less than {margin:g} on every set: there is nothing to gain"
        return Verdict("failed", [nothing], margin, sets, None)
    open_ = (
        open_ if better else [*open_, "nothing shows with certainty that the challenger is better"]
    )
    return Verdict("not enough evidence", open_, margin, sets, _more_labels(sets, margin))


One = tuple[Measured, FigureName, Compared]


def _all(sets: Sequence[Measured]) -> list[One]:
    return [(found, name, figure) for found in sets for name, figure in found.figures.items()]


def _deciding(sets: Sequence[Measured]) -> list[One]:
    return [one for one in _all(sets) if one[1] in DECISIVE and not one[0].asked.elsewhere]


def _lacking(sets: Sequence[Measured]) -> list[str]:
    """Sets that decide and are too small to be looked at."""
    return [
        f"{found.asked.name}: {found.pairs} pairs of {found.components} components are too few to measure on"
        for found in sets
        if not found.figures and not found.asked.elsewhere
    ]


def _unproven(sets: Sequence[Measured], margin: float) -> list[str]:
    """Figures that decide, and may be worse by more than the margin."""
    return [
        f"{_says(*one)}: it may be worse by more than {margin:g}"
        for one in _deciding(sets)
        if one[2].interval[0] <= -margin
    ]


def _guarded(sets: Sequence[Measured], margin: float) -> list[str]:
    """Figures that only guard, and look worse by more than chance explains easily."""
    deciding, limit = _deciding(sets), max(GUARD, margin)
    return [
        f"{_says(*one)}: it looks worse by more than {limit:g}"
        for one in _all(sets)
        if one not in deciding and one[2].difference < -limit
    ]


def _says(found: Measured, name: FigureName, figure: Compared) -> str:
    low, high = figure.interval
    return (
        f"{found.asked.name}, {WORDS[name]}: {figure.challenger:.4f} for {figure.champion:.4f}"
        f" (gain {figure.difference:+.4f}, {low:+.4f} to {high:+.4f})"
    )


def _more_labels(sets: Sequence[Measured], margin: float) -> MoreLabels | None:
    """How many more labels would narrow the intervals enough if the differences stay what they are.

    Intervals narrow with the square root of the pairs: a half-width h has to come down to what lies between the
    difference and its bound. None where no number of labels would do.
    """
    for small in sets:
        if small.asked.growth and not small.figures:
            return MoreLabels(
                math.ceil(max(FEWEST, 2 * FEWEST - small.pairs) * small.asked.growth),
                small.wanting,
                f"before anything can be said there must be {FEWEST} pairs of each class to measure on",
            )
    growing = [found for found in sets if found.asked.growth]
    found = max(growing, key=lambda one: _factor(_deciding([one]), margin), default=None)
    factor = _factor(_deciding([found]), margin) if found else math.inf
    if not found or not found.asked.growth or not 1 < factor < math.inf:
        return None
    return MoreLabels(
        _rounded((factor - 1) * found.pairs * found.asked.growth),
        found.wanting,
        f"if the differences on {found.asked.name} stay what they are, their intervals are narrow enough with about"
        f" {factor:.1f} times its {found.pairs} pairs; one of {found.asked.growth:g} labels becomes such a pair",
    )


def _factor(figures: Sequence[One], margin: float) -> float:
    """By how much a set has to grow, so that all its figures clear the margin and one of them 0."""
    clear = [_growth(figure, -margin) for _, _, figure in figures]
    return max(*clear, min(_growth(figure, 0.0) for _, _, figure in figures))


def _growth(figure: Compared, bound: float) -> float:
    room = figure.difference - bound
    return ((figure.difference - figure.interval[0]) / room) ** 2 if room > 0 else math.inf


def _rounded(count: float) -> int:
    """Upwards to two digits: more would be false precision."""
    unit = int(10 ** max(0, math.floor(math.log10(max(count, 1))) - 1))
    return math.ceil(count / unit) * unit


@dataclass(frozen=True)
class Unlabelled:
    """A pair of stored questions that nobody has labelled."""

    id1: str
    id2: str
    question1: str
    question2: str


def most_helpful(
    release: Release,
    pairs: Sequence[Unlabelled],
    target_precision: str,
    device: str,
    progress: Progress,
) -> list[dict[str, object]]:
    """The pairs whose labels would help most, the most helpful first: nearest to where `duplicate` begins, by log
    odds, and few of one component, since what is tied says much the same."""
    asked = [LabelledPair(pair.question1, pair.question2, is_duplicate=False) for pair in pairs]
    (said,) = probabilities(release, [asked], device, progress) if asked else [np.empty(0)]
    thresholds = (release.by_pair or release.by_similarity).thresholds
    begins = thresholds.duplicate[target_precision].probability
    near = np.abs(
        _log_odds(said) - _log_odds(np.array(thresholds.review if begins is None else begins))
    )
    numbers = components(asked)
    taken: Counter[int] = Counter()
    chosen: list[dict[str, object]] = []
    for row in np.argsort(near, kind="stable").tolist():
        if len(chosen) < MOST_TO_LABEL and taken[numbers[row]] < MOST_OF_A_COMPONENT:
            taken[numbers[row]] += 1
            chosen.append({**asdict(pairs[row]), "probability": round(float(said[row]), 4)})
    return chosen


def _log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probabilities, 1e-6, 1 - 1e-6)))
