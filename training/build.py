"""Models and labelled pairs in, a published release out."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn

from app.engine.bases import WEIGHTS, find_base
from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.safe_loading import SAFELY
from app.engine.release import (
    CLASSIFIER,
    DIFFERENCE,
    ENCODER,
    ENGLISH,
    Release,
    calibration_document,
    thresholds_document,
)
from app.engine.scorer import Scale
from training.calibration import assert_enough, fit_scale, open_from
from training.card import card, plots
from training.evaluation import Evidence, figures_of, read_evidence
from training.figures import Figures
from training.pairs import (
    LabelledPair,
    class_mix,
    fingerprint,
    labels_of,
    open_pairs,
    with_both_classes,
)
from training.progress_writer import ProgressWriter
from training.publish import document, publish, refuse_existing
from training.splits import assert_disjoint, components
from training.weight_delta import difference

# Beyond it the classifier is sure on texts like those it learnt from, and wrong on others.
LOGIT_LIMIT = 3.0
MANY_DUPLICATES = 600  # of which three or so may lie below the similarity that pairs are read from

Part = str


@dataclass(frozen=True)
class Source:
    """Labelled pairs and the place they come from."""

    name: str
    pairs: Sequence[LabelledPair]


@dataclass(frozen=True)
class Scales:
    """The maps from the models' scores to verdicts, and an account of their fit for the card and the figures."""

    by_similarity: Scale
    by_pair: Scale | None
    open_from: float  # the similarity from which a pair is worth the classifier's time
    sections: Sequence[str] = ()  # of the card
    metrics: Mapping[str, Any] = field(default_factory=dict)


FitScales = Callable[[Encoder, PairClassifier | None, ProgressWriter], Scales]


@dataclass(frozen=True)
class Recipe:
    """The parts of a release."""

    base: str  # a known name, a folder, or a name on the hub
    tune: Source  # pairs that calibration and thresholds are fitted on
    report: Sequence[Source]  # pairs for figures alone
    train: Source | None = None  # pairs that the models learnt from
    # By ENCODER and CLASSIFIER: the folder of a trained model, or a difference that is published as it is.
    models: Mapping[Part, Path] | None = None
    classifier_base: str | None = None  # of a classifier that does not go on from the parent's
    bits: int | None = None  # for each weight of the differences from the base; None: whole models
    parent: Release | None = None  # whose models these go on from, or are
    seed: int | None = None
    training: Mapping[str, Any] | None = None  # objectives and their settings, by part
    leaks: bool = False  # rows were split at random: questions stand in several of the sets
    languages: Sequence[str] = (ENGLISH,)  # of a release without a parent; else they are its
    scales: FitScales | None = None  # fits the scales otherwise than on the pairs to tune on

    @property
    def bases(self) -> Mapping[Part, str]:
        """The base of each part, from which it is a difference; a parent's classifier may have a base of its own."""
        classifier_base = self.classifier_base
        if self.parent and not classifier_base:
            classifier_base = self.parent.classifier_base.name
        of_classifier = (self.models or {}).get(CLASSIFIER)
        is_difference = self.bits is not None or (of_classifier and of_classifier.is_file())
        return {ENCODER: self.base, CLASSIFIER: (is_difference and classifier_base) or self.base}

    def check(self, out: Path) -> None:
        """Raise CommandError when the sets of pairs, or `out`, don't do for a release."""
        refuse_existing(out)
        if not self.leaks:
            sets = {"train": self.train.pairs} if self.train else {}
            sets["tune"] = self.tune.pairs
            for source in self.report:
                sets[f"report ({source.name})"] = source.pairs
            assert_disjoint(sets)
        for source in self.report:
            with_both_classes(source.name, open_pairs(source.pairs))
        pairs = open_pairs(self.tune.pairs)
        assert_enough(labels_of(pairs), components(pairs))


@dataclass(frozen=True)
class _Measured:
    """The models' scores on the pairs to tune on and on each set to report on, and the scales fitted to them."""

    tune: Evidence
    report: Sequence[Evidence]
    scales: Scales

    @property
    def scale(self) -> Scale:
        return self.scales.by_pair or self.scales.by_similarity


def make_release(
    recipe: Recipe,
    out: Path,
    device: str = "auto",
    progress: ProgressWriter | None = None,
) -> Release:
    """Fit calibration and thresholds of the models as they will be served, and publish them as a release.

    Raises CommandError for unusable pairs and when `out` exists, ModelRefused for an unusable model.
    """
    recipe.check(out)
    progress = progress or ProgressWriter()
    folders = {part: find_base(name) for part, name in recipe.bases.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as stage:
        weights = _stage(Path(stage), folders, recipe)
        encoder = Encoder.open(*_opened(folders, weights, ENCODER, device))
        classifier = None
        if CLASSIFIER in (recipe.models or {}):
            files = _opened(folders, weights, CLASSIFIER, device)
            classifier = PairClassifier.open(*files)
        base = Encoder.open(folders[ENCODER], encoder.device) if recipe.models else None
        measured = _measured(recipe, encoder, classifier, base, progress)
        manifest = _manifest(recipe, folders, encoder.dimension)
        files_of_release = _documents(recipe, out.name, manifest, measured, progress)
        return publish(out, manifest, {**files_of_release, **weights})


def _measured(
    recipe: Recipe,
    encoder: Encoder,
    classifier: PairClassifier | None,
    base: Encoder | None,
    progress: ProgressWriter,
) -> _Measured:
    sets = []
    for source in (recipe.tune, *recipe.report):
        pairs = open_pairs(source.pairs)
        sets.append(read_evidence(encoder, classifier, pairs, base, progress))
    tune, *report = sets
    if recipe.scales:
        return _Measured(tune, report, recipe.scales(encoder, classifier, progress))
    return _Measured(tune, report, _fitted(tune, recipe.parent))


def _fitted(tune: Evidence, parent: Release | None) -> Scales:
    """Scales by the pairs to tune on. Few duplicates do not say that pairs need not be read which the parent reads."""
    by_similarity = fit_scale([tune.similarities], tune.labels, tune.components)
    by_pair = None
    if tune.logits is not None:
        limits = [None, LOGIT_LIMIT]
        by_pair = fit_scale(tune.features, tune.labels, tune.components, limits)
    read_from = open_from(tune.similarities, tune.labels)
    if parent and np.count_nonzero(tune.labels) < MANY_DUPLICATES:
        read_from = min(read_from, parent.open_from)
    return Scales(by_similarity, by_pair, read_from)


def _documents(
    recipe: Recipe,
    name: str,
    manifest: Mapping[str, Any],
    measured: _Measured,
    progress: ProgressWriter,
) -> dict[str, str | bytes | Path]:
    """Everything but the weights and the manifest, by its name in the release."""
    scales = measured.scales.by_similarity, measured.scales.by_pair
    on_tune = _figures(recipe.tune, measured.tune, measured.scale, progress)
    on_report = []
    for source, evidence in zip(recipe.report, measured.report, strict=True):
        on_report.append(_figures(source, evidence, measured.scale, progress))
    shown = [*measured.report, measured.tune][0]
    pictures: dict[str, bytes | Path] = {
        **_curves(recipe),  # of what is not trained anew
        **plots(shown, measured.scale, recipe.models or {}),
    }
    from_similarity = measured.scales.open_from
    figures = {"tune": on_tune, "report": on_report, **measured.scales.metrics}
    return {
        "calibration.json": document(calibration_document(*scales)),
        "thresholds.json": document(thresholds_document(*scales, from_similarity)),
        "metrics.json": document(figures),
        "README.md": card(
            name,
            manifest,
            *scales,
            [*on_report, on_tune],
            list(pictures),
            measured.scales.sections,
        ),
        **pictures,
    }


def _figures(
    source: Source,
    evidence: Evidence,
    scale: Scale,
    progress: ProgressWriter,
) -> Figures:
    progress.beat()
    return {
        "pairs_from": source.name,
        **figures_of(evidence, scale.calibration),
    }


def _manifest(recipe: Recipe, folders: Mapping[Part, Path], dimension: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if recipe.train:
        data["train"] = _described(recipe.train)
    data["tune"] = _described(recipe.tune)
    data["report"] = [_described(source) for source in recipe.report]
    if recipe.parent:
        data["before"] = _learnt_before(recipe.parent)
        data["unknown"] = _unknown(recipe, recipe.parent)
    bases = {"base_model": {"name": recipe.base, "files": _digests(folders[ENCODER])}}
    if recipe.bases[CLASSIFIER] != recipe.base:
        digests = _digests(folders[CLASSIFIER])
        bases["classifier_base"] = {"name": recipe.bases[CLASSIFIER], "files": digests}
    return {
        "parent": recipe.parent.name if recipe.parent else None,
        **bases,
        "dimension": dimension,
        "languages": list(recipe.parent.languages if recipe.parent else recipe.languages),
        "data": data,
        "training": recipe.training,
        "leaks": recipe.leaks,
        "seed": recipe.seed,
    }


def _described(source: Source) -> dict[str, Any]:
    return {
        "from": source.name,
        **class_mix(source.pairs),
        "sha256": fingerprint(source.pairs),
    }


def _curves(recipe: Recipe) -> dict[str, Path]:
    """The pictures of the parent's training, of the parts that come from it."""
    if not recipe.parent:
        return {}
    pictures = {}
    for part in recipe.models or (ENCODER, CLASSIFIER):
        name = f"training-{part}.png"
        if name in recipe.parent.manifest["files"]:
            pictures[name] = recipe.parent.path / name
    return pictures


def tuned_on(release: Release) -> Mapping[str, Any]:
    """The description of the pairs that a release was tuned on, in its manifest; older releases say `fit`."""
    data = release.manifest["data"]
    described: Mapping[str, Any] = data["tune"] if "tune" in data else data["fit"]
    return described


def _learnt_before(parent: Release) -> list[dict[str, Any]]:
    """The sets that a release's models learnt from, and those of the ones that they went on from."""
    data = parent.manifest["data"]
    sets = list(data.get("before", []))
    if "train" in data:
        sets.append(data["train"])
    return sets


def _unknown(recipe: Recipe, parent: Release) -> list[str]:
    """The sets of which nobody can tell whether the parent learnt from their questions.

    The parent names the sets that its pairs were kept apart from by their fingerprints, and has not kept the pairs
    that it learnt from.
    """
    if not _learnt_before(parent):
        return []
    data = parent.manifest["data"]
    unknown_before = data.get("unknown", [])
    apart = set()
    for described in (tuned_on(parent), *data["report"]):
        if described["from"] not in unknown_before:
            apart.add(described["sha256"])
    unknown = []
    for source in (recipe.tune, *recipe.report):
        if fingerprint(source.pairs) not in apart:
            unknown += [source.name]
    return unknown


def _stage(stage: Path, folders: Mapping[Part, Path], recipe: Recipe) -> dict[str, Path]:
    """The files of the models as the release will have them, by their names in it."""
    files: dict[str, Path] = {}
    for part, trained in (recipe.models or {}).items():
        if trained.is_file():
            files[part + DIFFERENCE] = trained
        elif recipe.bits is None:
            for file in _model_files(trained):
                files[f"{part}/{file.relative_to(trained)}"] = file
        else:
            name = part + DIFFERENCE
            save_file(
                _difference(part, folders[part], trained, recipe.bits),
                str(stage / name),
            )
            files[name] = stage / name
    return files


def _difference(part: Part, folder: Path, trained: Path, bits: int) -> dict[str, Any]:
    base = _open(part, folder).state_dict()
    tuned = _open(part, trained).state_dict()
    saved = {name: value for name, value in base.items() if _is_saved(name, folder)}
    return difference(saved, tuned, bits)


def _is_saved(parameter: str, folder: Path) -> bool:
    """Whether a parameter stands in the folder's weights.

    One that doesn't, as a classifier's head over a bi-encoder, is drawn anew each time the folder is opened: nothing
    can be added to it.
    """
    return any(f".{parameter}".endswith(f".{name}") for name in _saved_parameters(folder))


@cache
def _saved_parameters(folder: Path) -> frozenset[str]:
    names: set[str] = set()
    for file in folder.rglob(WEIGHTS):
        with safe_open(str(file), framework="pt") as weights:
            names.update(weights.keys())
    return frozenset(names)


def _open(part: Part, folder: Path) -> nn.Module:
    settings: dict[str, Any] = {"device": "cpu", **SAFELY}
    if part == CLASSIFIER:
        classifier: nn.Module = CrossEncoder(str(folder), num_labels=1, **settings)
        return classifier
    return SentenceTransformer(str(folder), **settings)


def _opened(
    bases: Mapping[Part, Path],
    weights: Mapping[str, Path],
    part: Part,
    device: str,
) -> tuple[Path, str, Path | None]:
    """Folder, device and difference by which a part's model is opened, before its release is there."""
    if part + DIFFERENCE in weights:
        return bases[part], device, weights[part + DIFFERENCE]
    for name in ("modules.json", "config.json"):
        if f"{part}/{name}" in weights:
            return weights[f"{part}/{name}"].parent, device, None
    return bases[part], device, None


def _model_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*"))
    return [file for file in files if file.is_file() and not file.name.startswith(".")]


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for file in sorted(folder.rglob(WEIGHTS)):
        name = str(file.relative_to(folder))
        digests[name] = sha256(file)
    return digests
