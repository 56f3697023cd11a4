"""A release's figures in, its card and its pictures out."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from app.engine.scorer import Scale, Threshold
from training.evaluation import ECE_BINS, Evidence, Figures

matplotlib.use("agg")

SIZE, DOTS_PER_INCH = (5.5, 3.6), 90
HISTORY = "history.json"  # what a trainer logged, beside its checkpoints
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


def card(
    name: str,
    manifest: Mapping[str, Any],
    by_similarity: Scale,
    by_pair: Scale | None,
    metrics: Sequence[Figures],
    pictures: Sequence[str],
) -> str:
    """The model card, in Markdown: what it is made of, what it reaches, what it is not for."""
    sections = [
        f"# {name}\n\n{_what(manifest, by_pair)}",
        "## What it is for\n\nTo tell people who moderate questions which stored question a new one may repeat, and"
        " how sure that is. It is advice: nothing should be closed, merged or deleted by it alone. Pairs that are equal"
        " after normalisation never reach the models and are left out of all figures.",
        f"## Figures\n\n{_figures(metrics)}",
        f"## Thresholds\n\n{_thresholds('pair' if by_pair else 'similarity', by_pair or by_similarity)}",
        f"## Data\n\n{_data(manifest)}",
        "## Known failures\n\nPairs that differ by a negation, a number, a version, a name or the direction of"
        " something are close to every model of this size. Labels of Quora contradict themselves: pairs of equal words"
        " are labelled different now and then, so high precision is reached late. Other languages than English were"
        " not looked at.",
    ]
    if pictures:
        sections.append("\n".join(f"![{Path(picture).stem}]({picture})" for picture in pictures))
    return "\n\n".join(sections) + "\n"


def plots(evidence: Evidence, scale: Scale, models: Mapping[str, Path]) -> dict[str, bytes]:
    """PNG pictures by file name: precision and recall, reliability, scores by class, training curves."""
    probabilities = scale.calibration.probability(*evidence.features)
    drawn = {
        "precision-recall.png": _precision_recall(probabilities, evidence.labels, scale),
        "reliability.png": _reliability(probabilities, evidence.labels),
        "scores.png": _scores(probabilities, evidence.labels),
    }
    for part, folder in models.items():
        if (history := folder.parent / HISTORY).exists():
            drawn[f"training-{part}.png"] = _training(part, curves(history))
    return {name: _png(figure) for name, figure in drawn.items()}


def _what(manifest: Mapping[str, Any], by_pair: Scale | None) -> str:
    base, training = manifest["base_model"]["name"], manifest["training"]
    models = "a bi-encoder and a pair classifier" if by_pair else "a bi-encoder"
    if not training:
        return f"The model `{base}` as it is, with a calibration of its similarity to a probability and thresholds."
    steps = "\n".join(
        f"- {part}, `{name}`: {', '.join(f'{key} {value}' for key, value in told.items())}"
        for part, how in training.items()
        for name, told in how.items()
    )
    return f"{models.capitalize()}, trained from `{base}`, with their calibration and thresholds.\n\n{steps}"


def _figures(metrics: Sequence[Figures]) -> str:
    """A table for each set of pairs; the last is that which the release was fitted on."""
    parts = []
    for figures in metrics:
        kinds = [kind for kind in COLUMNS if kind in figures]
        rows = "".join(
            f"| {label} | {' | '.join(_cell(figures, kind, key) for kind in kinds)} |\n"
            for label, key in ROWS.items()
        )
        fitted = (
            " (calibration and thresholds were fitted on these)" if figures is metrics[-1] else ""
        )
        parts.append(
            f"On {figures['pairs']:,} pairs ({figures['duplicates']:,} duplicates) of"
            f" `{figures['pairs_from']}`{fitted},"
            " with 95 % intervals over components:\n\n"
            f"| | {' | '.join(COLUMNS[kind] for kind in kinds)} |\n|---{'|---' * len(kinds)}|\n{rows}"
        )
    return "\n".join(parts)


def _cell(figures: Figures, kind: str, key: str) -> str:
    """A figure and its interval; what is a probability's figure alone has no cell under similarity."""
    value: Any = figures[kind]
    for name in key.split(".", 1):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return ""
    interval = figures["intervals"][kind].get(key)
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _thresholds(by: str, scale: Scale) -> str:
    rows = "".join(
        f"| {target} | {_threshold(t)} |\n" for target, t in scale.thresholds.duplicate.items()
    )
    return (
        f"By {by}: `review` begins at probability {scale.thresholds.review:.3f} (the best F2), `duplicate` where the"
        " labels support the target precision with 95 % confidence.\n\n| target precision | duplicate from probability"
        f" | lower bound | recall | labels at or above |\n|---|---|---|---|---|\n{rows}"
    )


def _threshold(threshold: Threshold) -> str:
    if threshold.probability is None:
        more = (
            f"none: label about {threshold.lacking:,} more pairs" if threshold.lacking else "none"
        )
        return f"{more} | | | "
    return f"{threshold.probability:.3f} | {threshold.precision_bound:.3f} | {threshold.recall:.3f} | {threshold.labels:,}"


def _data(manifest: Mapping[str, Any]) -> str:
    data = manifest["data"]
    sets = [
        *(("train, before", of) for of in data.get("before", [])),
        *((name, data[name]) for name in ("train", "fit") if name in data),
        *(("report", of) for of in data["report"]),
    ]
    rows = "".join(
        f"| {name} | `{of['from']}` | {of['duplicate']:,} | {of['different']:,} |\n"
        for name, of in sets
    )
    return (
        f"| used to | from | duplicate | different |\n|---|---|---|---|\n{rows}\n{_disjoint(manifest)} Base models"
        " trained on Quora's duplicates (all-MiniLM-L6-v2 is one) have seen a part of its duplicates: on other texts"
        " figures are lower."
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
    points = {target: t.probability for target, t in scale.thresholds.duplicate.items()}
    for name, at in {**points, "review": scale.thresholds.review}.items():
        if at is not None:
            called = probabilities >= at
            axes.plot(labels[called].sum() / labels.sum(), labels[called].mean(), "o", label=name)
    axes.legend()
    return figure


def _reliability(probabilities: np.ndarray, labels: np.ndarray) -> Figure:
    figure, axes = _axes("probability", "share of duplicates")
    parts = np.array_split(np.argsort(probabilities, kind="stable"), ECE_BINS)
    axes.plot([0, 1], [0, 1], "--", color="grey")
    axes.plot([probabilities[p].mean() for p in parts], [labels[p].mean() for p in parts], "o-")
    return figure


def _scores(probabilities: np.ndarray, labels: np.ndarray) -> Figure:
    figure, axes = _axes("probability", "pairs")
    axes.hist(
        [probabilities[~labels], probabilities[labels]],
        bins=25,
        range=(0, 1),
        label=["different", "duplicate"],
    )
    axes.legend()
    return figure


def _training(part: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    figure, axes = _axes("step", f"loss of the {part}")
    for name, points in curves.items():
        axis = axes if "loss" in name else axes.twinx()
        axis.plot(*zip(*points, strict=True), label=name, color="C0" if axis is axes else "C1")
        axis.set_ylabel(name)
    return figure


def curves(history: Path) -> dict[str, list[tuple[int, float]]]:
    """Loss and evaluated average precision by step, from what the trainer logged."""
    found: dict[str, list[tuple[int, float]]] = {}
    for entry in json.loads(history.read_text("utf-8")):
        for name, value in entry.items():
            if name == "loss" or name.endswith(("cosine_ap", "average_precision")):
                found.setdefault(name, []).append((entry["step"], float(value)))
    return found


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
