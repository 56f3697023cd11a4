"""A release: the folder that training makes and the service loads, as a frozen dataclass.

Nothing in it is read before its digest has been checked against the manifest, and nothing is unpickled.

    manifest.json             name, parent, base model and its digests, data fingerprint, versions, file digests
    encoder.safetensors       what its bi-encoder adds to the base's weights; or encoder/, a whole model; or neither
    classifier.safetensors    what its pair classifier adds to them, or to its own base's; or classifier/; or neither
    calibration.json          by similarity, and by pair where there is a classifier: features -> probability
    thresholds.json           for each of them and each target precision: threshold, confidence bound, labels behind it
    metrics.json              figures, with the data and split they come from
    README.md                 the card
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from app.engine.bases import BaseModel, verify_files
from app.engine.files import sha256
from app.engine.scorer import Calibration, Scale, Scorer, Thresholds
from app.engine.text_form import TEXT_FORM
from app.errors import ReleaseRefused

FORMAT = 1
ENGLISH = "en"
ENCODER = "encoder"
CLASSIFIER = "classifier"
DIFFERENCE = ".safetensors"  # after the part's name
MANIFEST = "manifest.json"
CALIBRATION = "calibration.json"
THRESHOLDS = "thresholds.json"
METRICS = "metrics.json"
FROM_LABELS = "labels"  # in the manifest, as a source of pairs
REQUIRED = {CALIBRATION, THRESHOLDS, METRICS}
MAX_JSON_BYTES = 2**20  # a list of nothing but `[]` takes thirty times that in memory
# No text is taken for a number, nor NaN; nothing is nested deeper than 200 levels.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
TARGET_PRECISIONS = ("0.90", "0.95", "0.98", "0.99")


@checked_dataclass(frozen=True, config=STRICT)
class _Manifest:
    """The fields of manifest.json that the service reads, beside its format."""

    name: str
    parent: str | None
    base_model: BaseModel
    dimension: Annotated[int, Field(gt=0)]
    files: Mapping[str, str]
    classifier_base: BaseModel | None = None  # where it is another than the bi-encoder's
    created_at: str | None = None
    text_form: int = (
        TEXT_FORM  # that its models read; releases of before there were forms read the first
    )
    languages: Sequence[str] = (ENGLISH,)  # older releases don't say


@checked_dataclass(frozen=True, config=STRICT)
class _Calibrations:
    """calibration.json."""

    similarity: Calibration
    pair: Calibration | None = None


@checked_dataclass(frozen=True, config=STRICT)
class _AllThresholds:
    """thresholds.json."""

    similarity: Thresholds
    open_from: float
    pair: Thresholds | None = None


JSON_OBJECT = TypeAdapter(dict[str, Any])
THE_MANIFEST = TypeAdapter(_Manifest)
CALIBRATIONS = TypeAdapter(_Calibrations)
ALL_THRESHOLDS = TypeAdapter(_AllThresholds)

Content = TypeVar("Content")


@dataclass(frozen=True)
class Release:
    """An immutable folder of weights, calibration, thresholds and figures."""

    path: Path
    name: str
    parent: str | None
    base: BaseModel
    classifier_base: BaseModel  # the same, or a larger one
    dimension: int
    languages: Sequence[str]  # of the questions that it is for: BCP 47
    by_similarity: Scale
    by_pair: Scale | None  # where the release has a pair classifier
    open_from: float  # the similarity from which a pair is worth the classifier's time
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    digest: str  # of the manifest, and so of everything

    @classmethod
    def open(cls, path: Path) -> "Release":
        """Read and check a release folder. Raises ReleaseRefused, naming the file at fault."""
        content = _read(path / MANIFEST)
        document = _parse(path / MANIFEST, content, JSON_OBJECT)
        if document.get("format") != FORMAT:
            raise ReleaseRefused(
                f"{path / MANIFEST} has format {document.get('format')!r}; this version reads {FORMAT}"
            )
        manifest = _parse(path / MANIFEST, content, THE_MANIFEST)
        if manifest.text_form != TEXT_FORM:
            raise ReleaseRefused(
                f"{path / MANIFEST} has text_form {manifest.text_form}; this version reads {TEXT_FORM}"
            )
        if missing := REQUIRED - manifest.files.keys():
            raise ReleaseRefused(f"{path / MANIFEST} has no digest of {', '.join(sorted(missing))}")
        verify_files(path, manifest.files, ReleaseRefused)
        by_similarity, by_pair, open_from = _evidence(path)
        metrics = _parse(path / METRICS, _read(path / METRICS), JSON_OBJECT)
        has_classifier = any(name.startswith(CLASSIFIER) for name in manifest.files)
        if has_classifier and by_pair is None:
            raise ReleaseRefused(f"the release {path} is incomplete: it has no 'pair' calibration")
        return cls(
            path=path,
            name=manifest.name,
            parent=manifest.parent,
            base=manifest.base_model,
            classifier_base=manifest.classifier_base or manifest.base_model,
            dimension=manifest.dimension,
            languages=manifest.languages,
            by_similarity=by_similarity,
            by_pair=by_pair if has_classifier else None,
            open_from=open_from,
            metrics=metrics,
            manifest=document,
            digest=sha256(path / MANIFEST),
        )

    @property
    def scale(self) -> Scale:
        """Calibration and thresholds of its best evidence: by pair, where there is a classifier."""
        return self.by_pair or self.by_similarity

    def scorer(self, target_precision: str) -> Scorer:
        """The map from this release's similarities and logits to probabilities and verdicts."""
        return Scorer(
            self.by_similarity,
            self.by_pair,
            target_precision,
            self.open_from,
            is_english=list(self.languages) == [ENGLISH],
        )

    @property
    def is_of_labels(self) -> bool:
        """Whether a training run made it of moderators' labels."""
        described = self.manifest.get("data")
        tune = described.get("tune") if isinstance(described, dict) else None
        source = tune.get("from") if isinstance(tune, dict) else None
        return FROM_LABELS in str(source).split(", ")

    @property
    def encoder_digest(self) -> str:
        """Of what the bi-encoder is made of: two releases with the same one make the same vectors."""
        own = [item for item in self.manifest["files"].items() if item[0].startswith(ENCODER)]
        made_of = json.dumps([sorted(self.base.files.items()), sorted(own)])
        return hashlib.sha256(made_of.encode()).hexdigest()

    def model(self, part: str) -> tuple[Path, Path | None] | None:
        """Folder of the bi-encoder (ENCODER) or the pair classifier (CLASSIFIER), and what is added to its weights.

        None if the release has no such part. Raises ModelRefused when the base is not what it was.
        """
        own = self.own_weights(part)
        if own is None:
            return (self.base.open(), None) if part == ENCODER else None
        if own.name == part:
            return own, None
        base = self.classifier_base if part == CLASSIFIER else self.base
        return base.open(), own

    def own_weights(self, part: str) -> Path | None:
        """Its own file or folder of a model: a difference from the base, or whole weights. None if it is the base."""
        names = self.manifest["files"]
        if part + DIFFERENCE in names:
            return self.path / (part + DIFFERENCE)
        is_whole = any(name.startswith(f"{part}/") for name in names)
        return self.path / part if is_whole else None


def calibration_document(by_similarity: Scale, by_pair: Scale | None) -> dict[str, Any]:
    """The content of calibration.json; `Release.open` reads it back."""
    return {
        "similarity": asdict(by_similarity.calibration),
        "pair": asdict(by_pair.calibration) if by_pair else None,
    }


def thresholds_document(
    by_similarity: Scale, by_pair: Scale | None, open_from: float
) -> dict[str, Any]:
    """The content of thresholds.json; `Release.open` reads it back."""
    return {
        "similarity": asdict(by_similarity.thresholds),
        "pair": asdict(by_pair.thresholds) if by_pair else None,
        "open_from": open_from,
    }


def _evidence(path: Path) -> tuple[Scale, Scale | None, float]:
    """The scales by similarity and by pair of a release folder, and from which similarity a pair may be opened."""
    calibrations = _parse(path / CALIBRATION, _read(path / CALIBRATION), CALIBRATIONS)
    thresholds = _parse(path / THRESHOLDS, _read(path / THRESHOLDS), ALL_THRESHOLDS)
    by_similarity = Scale(calibrations.similarity, thresholds.similarity)
    _check_scale(path, by_similarity, features=1)
    by_pair = None
    if calibrations.pair and thresholds.pair:
        by_pair = Scale(calibrations.pair, thresholds.pair)
        _check_scale(path, by_pair, features=2)
    return by_similarity, by_pair, thresholds.open_from


def _check_scale(path: Path, scale: Scale, features: int) -> None:
    """Raise ReleaseRefused for a scale that fails on its first pair."""
    calibration = scale.calibration
    for target in TARGET_PRECISIONS:
        if target not in scale.thresholds.duplicate:
            raise ReleaseRefused(f"{path / THRESHOLDS} has no threshold for {target!r}")
    lengths = {len(calibration.weights), len(calibration.limits or calibration.weights)}
    if lengths != {features}:
        raise ReleaseRefused(f"{path / CALIBRATION} does not weigh {features} features")
    if calibration.knots is not None:
        at = [knot[0] for knot in calibration.knots]
        if not at or at != sorted(at):
            raise ReleaseRefused(f"{path / CALIBRATION} has knots that do not ascend")


def _read(file: Path) -> bytes:
    """The content of a JSON file. Raises ReleaseRefused."""
    if file.exists() and not file.is_file():
        raise ReleaseRefused(f"can't read {file}: it is no file")  # a pipe would be waited for
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise ReleaseRefused(f"can't read {file}: {error}") from error
    if len(content) > MAX_JSON_BYTES:
        raise ReleaseRefused(f"can't read {file}: it has more than {MAX_JSON_BYTES:,} bytes")
    return content


def _parse(file: Path, content: bytes, kind: TypeAdapter[Content]) -> Content:
    """The content of a JSON file, of the right types. Raises ReleaseRefused."""
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_context=False)
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        raise ReleaseRefused(f"can't read {file}: {first['msg']}")
    if not place:
        raise ReleaseRefused(f"{file} is not a JSON object")
    if first["type"] == "missing":
        raise ReleaseRefused(
            f"the release {file.parent} is incomplete: {file.name} lacks {place!r}"
        )
    raise ReleaseRefused(f"{file} has a wrong {place!r}: {first['msg']}")
