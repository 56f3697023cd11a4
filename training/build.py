"""Models and labelled pairs in, a published release out."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn

from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.safe_loading import SAFELY
from app.engine.release import (
    CLASSIFIER,
    DIFFERENCE,
    ENCODER,
    WEIGHTS,
    Release,
    calibration_document,
    find_base,
    thresholds_document,
)
from app.errors import CommandError
from training.calibration import assert_enough, fit_scale, open_from
from training.card import card, plots
from training.evaluation import Evidence, Figures, figures_of, read_evidence
from training.pairs import LabelledPair, class_mix, fingerprint, open_pairs
from training.progress import Progress
from training.publish import document, publish
from training.splits import assert_disjoint, components
from training.weight_delta import difference

LOGIT_LIMIT = (
    3.0  # beyond it the classifier is sure on texts like those it learnt from, and wrong on others
)

Part = str


@dataclass(frozen=True)
class Source:
    """Labelled pairs and where they come from."""

    name: str
    pairs: Sequence[LabelledPair]


@dataclass(frozen=True)
class Recipe:
    """What a release is made of."""

    base: str  # a known name, a folder, or a name on the hub
    fit: Source  # pairs that calibration and thresholds are fitted on
    report: Sequence[Source]  # pairs for figures alone
    train: Source | None = None  # pairs that the models learnt from
    models: Mapping[Part, Path] | None = None  # trained models' folders, by ENCODER and CLASSIFIER
    bits: int | None = None  # for each weight of the differences from the base; None: whole models
    parent: Release | None = None  # whose models these go on from, or are
    seed: int | None = None
    training: Mapping[str, Any] | None = (
        None  # how the models were trained: objectives and their settings
    )
    leaks: bool = False  # rows were split at random: questions stand in several of the sets

    def check(self, out: Path) -> None:
        """Raise CommandError when the sets of pairs, or `out`, don't do for a release."""
        if out.exists():
            raise CommandError(
                f"{out} exists: a release never changes; choose another name or remove it"
            )
        if not self.leaks:
            learnt = {"train": self.train.pairs} if self.train else {}
            reported = {f"report ({source.name})": source.pairs for source in self.report}
            assert_disjoint({**learnt, "fit": self.fit.pairs, **reported})
        asked = open_pairs(self.fit.pairs)
        assert_enough(np.array([pair.is_duplicate for pair in asked]), components(asked))


def make_release(
    recipe: Recipe, out: Path, device: str = "auto", progress: Progress | None = None
) -> Release:
    """Fit calibration and thresholds of the models as they will be served, and publish them as a release.

    Raises CommandError for unusable pairs and when `out` exists, ModelRefused for an unusable model.
    """
    recipe.check(out)
    folder = find_base(recipe.base)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as stage:
        weights = _stage(Path(stage), folder, recipe)
        encoder = Encoder.open(*_opened(Path(stage), folder, weights, ENCODER, device))
        has_classifier = CLASSIFIER in (recipe.models or {})
        classifier = (
            PairClassifier.open(*_opened(Path(stage), folder, weights, CLASSIFIER, device))
            if has_classifier
            else None
        )
        return _publish(recipe, out, folder, weights, encoder, classifier, progress or Progress())


def _publish(
    recipe: Recipe,
    out: Path,
    folder: Path,
    weights: Mapping[str, Path],
    encoder: Encoder,
    classifier: PairClassifier | None,
    progress: Progress,
) -> Release:
    """Everything but the weights: fitted, measured, written beside them."""
    base = Encoder.open(folder, encoder.device) if recipe.models else None
    evidence, *reported = (
        read_evidence(encoder, classifier, open_pairs(source.pairs), base, progress)
        for source in (recipe.fit, *recipe.report)
    )
    by_similarity = fit_scale([evidence.similarities], evidence.labels, evidence.components)
    by_pair = None
    if evidence.logits is not None:
        by_pair = fit_scale(
            evidence.features, evidence.labels, evidence.components, [None, LOGIT_LIMIT]
        )
    scale = by_pair or by_similarity

    def measured(source: Source, of: Evidence) -> Figures:
        progress.beat()
        return {"pairs_from": source.name, **figures_of(of, scale.calibration)}

    fitted = measured(recipe.fit, evidence)
    figures = [measured(source, of) for source, of in zip(recipe.report, reported, strict=True)]
    manifest = {
        "parent": recipe.parent.name if recipe.parent else None,
        "base_model": {"name": recipe.base, "files": _digests(folder)},
        "dimension": encoder.dimension,
        "data": {
            **({"train": _told(recipe.train)} if recipe.train else {}),
            "fit": _told(recipe.fit),
            "report": [_told(source) for source in recipe.report],
            **(
                {"before": _learnt_before(recipe.parent), "unknown": _unknown(recipe)}
                if recipe.parent
                else {}
            ),
        },
        "training": recipe.training,
        "leaks": recipe.leaks,
        "seed": recipe.seed,
    }
    pictures: dict[str, bytes | Path] = {
        **(_curves(recipe.parent) if recipe.parent else {}),  # of what is not trained anew
        **plots([*reported, evidence][0], scale, recipe.models or {}),
    }
    files: dict[str, str | bytes | Path] = {
        "calibration.json": document(calibration_document(by_similarity, by_pair)),
        "thresholds.json": document(
            thresholds_document(
                by_similarity, by_pair, open_from(evidence.similarities, evidence.labels)
            )
        ),
        "metrics.json": document({"fit": fitted, "report": figures}),
        "README.md": card(
            out.name, manifest, by_similarity, by_pair, [*figures, fitted], list(pictures)
        ),
        **pictures,
        **weights,
    }
    return publish(out, manifest, files)


def _told(source: Source) -> dict[str, Any]:
    return {"from": source.name, **class_mix(source.pairs), "sha256": fingerprint(source.pairs)}


def _curves(release: Release) -> dict[str, Path]:
    return {
        name: release.path / name
        for name in release.manifest["files"]
        if name.startswith("training-")
    }


def _learnt_before(parent: Release) -> list[dict[str, Any]]:
    """The sets that a release's models learnt from, and those of the ones that they went on from."""
    data = parent.manifest["data"]
    return [*data.get("before", []), *([data["train"]] if "train" in data else [])]


def _unknown(recipe: Recipe) -> list[str]:
    """The sets of which nobody can tell whether the parent learnt from their questions: it names the sets that its
    pairs were kept apart from by their fingerprints, and has not kept what it learnt from."""
    if not recipe.parent or not _learnt_before(recipe.parent):
        return []
    data = recipe.parent.manifest["data"]
    apart = {
        of["sha256"]
        for of in (data["fit"], *data["report"])
        if of["from"] not in data.get("unknown", [])
    }
    return [
        source.name
        for source in (recipe.fit, *recipe.report)
        if fingerprint(source.pairs) not in apart
    ]


def _stage(stage: Path, folder: Path, recipe: Recipe) -> dict[str, Path]:
    """The files of the models as the release will have them, by their names in it."""
    kinds = {ENCODER: SentenceTransformer, CLASSIFIER: CrossEncoder}
    files: dict[str, Path] = {}
    for part, trained in (recipe.models or {}).items():
        if recipe.bits is None:
            files |= {f"{part}/{file.relative_to(trained)}": file for file in _model_files(trained)}
            continue
        base, tuned = (_open(kinds[part], at).state_dict() for at in (folder, trained))
        saved = {name: base[name] for name in base if _is_saved(name, folder)}
        name = part + DIFFERENCE
        save_file(difference(saved, tuned, recipe.bits), str(stage / name))
        files[name] = stage / name
    return files


def _is_saved(parameter: str, folder: Path) -> bool:
    """Whether a parameter stands in the folder's weights. One that doesn't, as a classifier's head over a
    bi-encoder, is drawn anew each time the folder is opened: nothing can be added to it."""
    return any(f".{parameter}".endswith(f".{name}") for name in _saved_parameters(folder))


@cache
def _saved_parameters(folder: Path) -> frozenset[str]:
    names: set[str] = set()
    for file in folder.rglob(WEIGHTS):
        with safe_open(str(file), framework="pt") as weights:
            names.update(weights.keys())
    return frozenset(names)


def _open(kind: type[nn.Module], folder: Path) -> nn.Module:
    settings: dict[str, Any] = {"device": "cpu", **SAFELY}
    return kind(str(folder), **settings, **({"num_labels": 1} if kind is CrossEncoder else {}))


def _opened(
    stage: Path, base: Path, weights: Mapping[str, Path], part: Part, device: str
) -> tuple[Path, str, Path | None]:
    """Folder, device and difference by which a part's model is opened, before its release is there."""
    if part + DIFFERENCE in weights:
        return base, device, stage / (part + DIFFERENCE)
    whole = next((file for name, file in weights.items() if name == f"{part}/config.json"), None)
    modules = next(
        (file for name, file in weights.items() if name == f"{part}/modules.json"), whole
    )
    return (modules.parent if modules else base), device, None


def _model_files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")
    )


def _digests(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256(file) for file in sorted(folder.rglob(WEIGHTS))}
