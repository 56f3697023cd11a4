"""A release's figures in, its card and its pictures out."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from app.engine.release import ENGLISH
from app.engine.scorer import Scale, Threshold
from training.evaluation import Evidence
from training.figures import ECE_BINS, Figures

matplotlib.use("agg")

SIZE = (5.5, 3.6)
DOTS_PER_INCH = 90
HISTORY = "history.json"  # the trainer's log, beside its checkpoints
COLUMNS = {
    "base": "similarity by the base",
    "similarity": "similarity",
    "probability": "probability",
}
ROWS = {
    "average precision": "average_precision",
    "best F1": "best_f1",
    "accuracy at the best threshold": "accuracy",
    "recall at precision 0.90": "recall_at_precision.0.90",
    "recall at precision 0.95": "recall_at_precision.0.95",
    "log loss": "log_loss",
    "Brier score": "brier",
    "expected calibration error": "ece",
}


PURPOSE = """## What it is for

To tell people who moderate questions which stored question a new one may repeat, and how sure that is. It is advice: \
nothing should be closed, merged or deleted by it alone. Pairs of the same visible words never reach the \
models and are left out of all figures."""

ENGLISH_ALONE = """Pairs in which a question is not in English are called `review` at most, with the reason \
`language`. How other languages are told, and how seldom English is taken for one, stands in Sameask's \
docs/verdicts.md."""

FAILURES = """## Known failures

Pairs that differ by a negation, a number, a version, a name or the direction of something are close to every model of \
this size. Labels of Quora contradict themselves: pairs of equal words are labelled different now and then, so high \
precision is reached late."""


def card(
    name: str,
    manifest: Mapping[str, Any],
    by_similarity: Scale,
    by_pair: Scale | None,
    metrics: Sequence[Figures],
    pictures: Sequence[str],
    more: Sequence[str] = (),
) -> str:
    """The model card, in Markdown: the release's parts, its figures, and its limits.

    `more` are sections on how thresholds were set otherwise than by the pairs to tune on, and on what was learnt from.
    """
    sections = [
        f"# {name}",
        _models(manifest, with_classifier=by_pair is not None),
        PURPOSE,
        "## Languages",
        _languages(manifest["languages"]),
        "## Figures",
        "\n".join(_figures(figures, tuned=figures is metrics[-1]) for figures in metrics),
        "## Thresholds",
        _thresholds(
            "pair" if by_pair else "similarity",
            by_pair or by_similarity,
            for_strangers=bool(more),
        ),
        *more,
        "## Data",
        _data(manifest),
        FAILURES,
    ]
    if pictures:
        sections.append("\n".join(f"![{Path(picture).stem}]({picture})" for picture in pictures))
    return "\n\n".join(sections) + "\n"


def _languages(languages: Sequence[str]) -> str:
    if list(languages) == [ENGLISH]:
        return f"It is for questions in English. {ENGLISH_ALONE}"
    return f"It is for questions in {', '.join(languages)} (BCP 47)."


def plots(evidence: Evidence, scale: Scale, models: Mapping[str, Path]) -> dict[str, bytes]:
    """PNG pictures by file name: precision and recall, reliability, scores by class, training curves."""
    probabilities = scale.calibration.probability(*evidence.features)
    figures = {
        "precision-recall.png": _precision_recall(probabilities, evidence.labels, scale),
        "reliability.png": _reliability(probabilities, evidence.labels),
        "scores.png": _scores(probabilities, evidence.labels),
    }
    for part, folder in models.items():
        history = folder.parent / HISTORY
        if history.exists():
            figures[f"training-{part}.png"] = _training(part, curves(history))
    return {name: _png(figure) for name, figure in figures.items()}


def _models(manifest: Mapping[str, Any], *, with_classifier: bool) -> str:
    """The parts of the release, and how each was trained."""
    base = manifest["base_model"]["name"]
    if not manifest["training"]:
        return f"The model `{base}` as it is, with a calibration of its similarity to a probability and thresholds."
    models = "A bi-encoder and a pair classifier" if with_classifier else "A bi-encoder"
    bases = f"`{base}`"
    if "classifier_base" in manifest:
        bases += f" and `{manifest['classifier_base']['name']}`"
    lines = [
        f"{models}, trained from {bases}, with their calibration and thresholds.",
        "",
    ]
    for part, steps in manifest["training"].items():
        if not steps:
            lines.append(f"- {part}: the base's as it is")
        for name, settings in steps.items():
            words = ", ".join(f"{key} {value}" for key, value in settings.items())
            lines.append(f"- {part}, `{name}`: {words}")
    return "\n".join(lines)


def _figures(figures: Figures, *, tuned: bool) -> str:
    """A table of the figures on one set of pairs; `tuned`: the release was tuned on these."""
    kinds = [kind for kind in COLUMNS if kind in figures]
    note = " (calibration and thresholds were fitted on these)" if tuned else ""
    lines = [
        f"On {figures['pairs']:,} pairs ({figures['duplicates']:,} duplicates) of `{figures['pairs_from']}`{note},"
        " with 95 % intervals over components:",
        "",
        _row("", *(COLUMNS[kind] for kind in kinds)),
        "|---" * (1 + len(kinds)) + "|",
    ]
    for label, key in ROWS.items():
        lines.append(_row(label, *(_cell(figures, kind, key) for kind in kinds)))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figures: Figures, kind: str, key: str) -> str:
    """A figure and its interval; a figure of probabilities alone has no cell under similarity."""
    value: Any = figures[kind]
    for name in key.split(".", 1):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return ""
    interval = figures["intervals"][kind].get(key)
    if not interval:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _thresholds(by: str, scale: Scale, *, for_strangers: bool) -> str:
    review = f"By {by}: `review` begins at probability {scale.thresholds.review:.3f}"
    said = f"{review} (the best F2), `duplicate` where the labels support the target precision with 95 % confidence."
    if for_strangers:
        said = (
            f"{review}, where few of the asked duplicates are lost; `duplicate` where the target precision held in nine"
            " of ten domains that the calibration had not seen. Both were set on pairs as they are served: each written"
            " question of the side `calibration` stored among 10,000 of other domains, all paraphrases, near-misses and"
            " their twins asked, the nearest five judged. So the probability is that of such pairs, of which few are"
            " duplicates."
        )
    lines = [
        said,
        "",
        "| target precision | duplicate from probability | lower bound | recall | labels at or above |",
        "|---|---|---|---|---|",
    ]
    for target, threshold in scale.thresholds.duplicate.items():
        lines.append(_row(target, *_threshold(threshold)))
    return "\n".join(lines) + "\n"


def _threshold(threshold: Threshold) -> Sequence[str]:
    """The cells of a threshold."""
    if threshold.probability is None or threshold.precision_bound is None:
        more = ""
        if threshold.lacking:
            more = f": label about {threshold.lacking:,} more pairs"
        return f"none{more}", "", "", ""
    return (
        f"{threshold.probability:.3f}",
        f"{threshold.precision_bound:.3f}",
        f"{threshold.recall:.3f}",
        f"{threshold.labels:,}",
    )


def _data(manifest: Mapping[str, Any]) -> str:
    lines = [
        "| used to | from | duplicate | different |",
        "|---|---|---|---|",
        *_sets(manifest["data"]),
    ]
    return "\n".join(lines) + (
        f"\n\n{_disjoint(manifest)} Base models trained on Quora's duplicates (all-MiniLM-L6-v2 is one) have seen a"
        " part of its duplicates: on other texts figures are lower."
    )


def _sets(data: Mapping[str, Any]) -> Iterator[str]:
    """A row for each set of pairs."""
    for described in data.get("before", []):
        yield _set("train, before", described)
    for name in ("train", "tune"):
        if name in data:
            yield _set(name, data[name])
    for described in data["report"]:
        yield _set("report", described)


def _set(used_to: str, described: Mapping[str, Any]) -> str:
    duplicates = described["duplicate"]
    different = described["different"]
    return _row(
        used_to,
        f"`{described['from']}`",
        f"{duplicates:,}",
        f"{different:,}",
    )


def _disjoint(manifest: Mapping[str, Any]) -> str:
    if manifest["leaks"]:
        return "**Rows were split at random: questions leak between these sets, and the figures are too good.**"
    if unknown := manifest["data"].get("unknown"):
        names = ", ".join(f"`{name}`" for name in unknown)
        return f"Whether the release it goes on from had learnt from questions of {names} is **not known**."
    return "No question stands in two of these sets."


def _precision_recall(probabilities: np.ndarray, labels: np.ndarray, scale: Scale) -> Figure:
    figure, axes = _axes("recall", "precision")
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    axes.plot(recall, precision)
    points = {"review": scale.thresholds.review}
    for target, threshold in scale.thresholds.duplicate.items():
        if threshold.probability is not None:
            points[target] = threshold.probability
    for name, begins in points.items():
        called = probabilities >= begins
        right = labels[called]
        axes.plot(right.sum() / labels.sum(), right.mean(), "o", label=name)
    axes.legend()
    return figure


def _reliability(probabilities: np.ndarray, labels: np.ndarray) -> Figure:
    figure, axes = _axes("probability", "share of duplicates")
    parts = np.array_split(np.argsort(probabilities, kind="stable"), ECE_BINS)
    means = []
    shares = []
    for rows in parts:
        means.append(probabilities[rows].mean())
        shares.append(labels[rows].mean())
    axes.plot([0, 1], [0, 1], "--", color="grey")
    axes.plot(means, shares, "o-")
    return figure


def _scores(probabilities: np.ndarray, labels: np.ndarray) -> Figure:
    figure, axes = _axes("probability", "pairs")
    by_class = [probabilities[~labels], probabilities[labels]]
    axes.hist(
        by_class,
        bins=25,
        range=(0, 1),
        label=["different", "duplicate"],
    )
    axes.legend()
    return figure


def _training(part: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    figure, axes = _axes("step", f"loss of the {part}")
    for name, points in curves.items():
        is_loss = "loss" in name
        axis = axes if is_loss else axes.twinx()
        steps, values = zip(*points, strict=True)
        axis.plot(steps, values, label=name, color="C0" if is_loss else "C1")
        axis.set_ylabel(name)
    return figure


def curves(history: Path) -> dict[str, list[tuple[int, float]]]:
    """Loss and evaluated average precision by step, from the trainer's log."""
    points: dict[str, list[tuple[int, float]]] = {}
    for entry in json.loads(history.read_text("utf-8")):
        for name, value in entry.items():
            if name == "loss" or name.endswith(("cosine_ap", "average_precision")):
                points.setdefault(name, []).append((entry["step"], float(value)))
    return points


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
