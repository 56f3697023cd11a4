"""A base model and labelled pairs in, a release out: the model as it is, with calibration and thresholds."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss, precision_recall_curve

from app.engine.encoder import Encoder
from app.engine.release import TARGET_PRECISIONS, WEIGHTS, Release, find_base, sha256, thresholds_document
from app.engine.scorer import Calibration, Threshold, similarity
from app.engine.text import normalize
from training.calibration import best_f1_threshold, fit_calibration, fit_threshold
from training.pairs import LabelledPair, fingerprint, read_pairs
from training.publishing import document, publish


def calibrate(base: str, pairs_file: Path, report_file: Path | None, out: Path, device: str = "auto") -> Release:
    """Fit a base model's calibration and thresholds on labelled pairs and publish the release.

    Pairs that are equal after normalisation are left out: the service answers them without the model.
    Raises CommandError for unusable pairs, ModelRefused for an unusable base.
    """
    pairs = _open_pairs(pairs_file)
    report = _open_pairs(report_file) if report_file else None
    folder = find_base(base)
    encoder = Encoder.open(folder, device)
    similarities, labels = score_pairs(encoder, pairs)
    calibration = fit_calibration(similarities, labels)
    probabilities = calibration.probability(similarities)
    review_from = best_f1_threshold(probabilities, labels)
    thresholds = {target: fit_threshold(probabilities, labels, float(target)) for target in TARGET_PRECISIONS}
    metrics: dict[str, Any] = {"fitted_on": {"file": pairs_file.name, **_figures(calibration, similarities, labels)}}
    if report and report_file:
        metrics["reported_on"] = {
            "file": report_file.name,
            **_figures(calibration, *score_pairs(encoder, report)),
        }
    manifest = {
        "parent": None,
        "base_model": {"name": base, "files": _digests(folder)},
        "dimension": encoder.dimension,
        "dataset": {"file": pairs_file.name, "pairs": len(pairs), "sha256": fingerprint(pairs)},
        "seed": None,
    }
    files = {
        "calibration.json": document(asdict(calibration)),
        "thresholds.json": document(thresholds_document(review_from, thresholds)),
        "metrics.json": document(metrics),
        "README.md": _card(out.name, base, review_from, thresholds, metrics),
    }
    return publish(out, manifest, files)


def score_pairs(encoder: Encoder, pairs: Sequence[LabelledPair]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Similarity and label of each pair: (n,) float32 and (n,) bool."""
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.question1, pair.question2)))
    vectors = encoder.encode(texts)
    row = {text: i for i, text in enumerate(texts)}
    first, second = ([row[getattr(pair, side)] for pair in pairs] for side in ("question1", "question2"))
    return similarity(vectors[first], vectors[second]), np.array([pair.is_duplicate for pair in pairs])


def _open_pairs(path: Path) -> list[LabelledPair]:
    return [pair for pair in read_pairs(path) if normalize(pair.question1) != normalize(pair.question2)]


def _digests(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256(file) for file in sorted(folder.rglob(WEIGHTS))}


def _figures(
    calibration: Calibration, similarities: NDArray[np.float32], labels: NDArray[np.bool_]
) -> dict[str, float | int]:
    """What a reader wants to know of a set of pairs; sizes, shares, and losses in nats."""
    probabilities = calibration.probability(similarities)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    return {
        "pairs": len(labels),
        "duplicates": int(labels.sum()),
        "average_precision": round(float(average_precision_score(labels, similarities)), 4),
        "recall_at_precision_0.90": round(float(recall[precision >= 0.90].max()), 4),
        "log_loss": round(float(log_loss(labels, probabilities)), 4),
    }


def _card(name: str, base: str, review_from: float, thresholds: dict[str, Threshold], metrics: dict[str, Any]) -> str:
    rows = "".join(
        f"| {target} | {_shown(t.probability)} | {_shown(t.precision_bound)} | {t.recall:.3f} | {t.labels} |\n"
        for target, t in thresholds.items()
    )
    figures = "".join(
        f"| {where['file']} | {where['pairs']:,} | {where['duplicates']:,} | {where['average_precision']} "
        f"| {where['recall_at_precision_0.90']} | {where['log_loss']} |\n"
        for where in metrics.values()
    )
    return f"""# {name}

The model `{base}` as it is, with a calibration of its similarity to a probability and with thresholds.
Pairs that are equal after normalisation are left out everywhere: they never reach the model.

| target precision | duplicate from probability | lower 95 % bound | recall | labels at or above |
|---|---|---|---|---|
{rows}
`none` means that the labels support no threshold: no pair is called a duplicate by this model then, and
`review`, which begins at probability {review_from:.3f} (the best F1), is the most it says.

| pairs from | pairs | duplicates | average precision | recall at precision 0.90 | log loss |
|---|---|---|---|---|---|
{figures}
If the base model was trained on pairs of the same source, it has seen part of them: elsewhere figures will be lower.
"""


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
