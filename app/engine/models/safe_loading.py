"""A folder with a model in, the model out: only safetensors, no code of its own, nothing from the network."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from app.errors import ModelRefused

# The options that every model is loaded with.
SAFELY: dict[str, Any] = {
    "local_files_only": True,
    "trust_remote_code": False,
    "model_kwargs": {"use_safetensors": True, "dtype": torch.float32},
}


def choose_device(name: str) -> str:
    """`cpu` or `cuda` for `cpu`, `cuda` or `auto`. Raises ModelRefused when there is no such device."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelRefused(
            "device is cuda, but torch sees no GPU here: set SAMEASK_DEVICE=cpu, or auto"
        )
    return name


@contextmanager
def loading(folder: Path, kind: str) -> Iterator[None]:
    """Check the folder first, and turn any error of loading into ModelRefused."""
    refuse_unsafe(folder)
    told = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a head that the base lacks is no news: the release brings it
    transformers_logging.disable_progress_bar()
    converting = logging.getLogger(
        "sentence_transformers"
    )  # nor is that a base becomes a classifier
    level = converting.level
    converting.setLevel(logging.ERROR)
    try:
        yield
    except (
        OSError,
        ImportError,
        AttributeError,
        LookupError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelRefused(f"can't load {folder} as a {kind}: {error}") from error
    finally:
        transformers_logging.set_verbosity(told)
        converting.setLevel(level)


def refuse_unsafe(folder: Path) -> None:
    """Refuse a folder whose loading would unpickle weights or import code of its own."""
    for pickle in folder.rglob("*.bin"):
        if not (pickle.parent / "model.safetensors").exists():
            raise ModelRefused(
                f"{pickle} is a pickle: only safetensors weights are loaded; convert it first"
            )
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
    except FileNotFoundError:
        return  # a plain transformer: mean pooling is added
    except (OSError, ValueError) as error:
        raise ModelRefused(f"can't read {folder / 'modules.json'}: {error}") from error
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelRefused(f"{folder / 'modules.json'} is not a list of modules")
    for kind in (module.get("type") for module in modules):
        if not str(kind).startswith("sentence_transformers."):
            raise ModelRefused(
                f"{folder / 'modules.json'} names {kind!r}: code of a model's own is never run"
            )
