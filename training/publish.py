"""A release folder out: written aside, made durable, and shown by one rename."""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.engine.files import new_folder, sha256
from app.engine.release import FORMAT, Release
from app.engine.text_form import TEXT_FORM
from app.errors import CommandError

PACKAGES = ("sameask", "torch", "sentence-transformers", "transformers")


def publish(
    out: Path,
    manifest: Mapping[str, Any],
    files: Mapping[str, str | bytes | Path],
) -> Release:
    """Write a release folder from contents, or from files to copy; no half of it is ever visible.

    `manifest` lacks the fields that are known only here: name, format, form of texts, date, versions and digests.
    Raises CommandError if `out` exists.
    """
    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(out) as aside:
        for name, content in files.items():
            _write(aside / name, content)
        complete = {
            "format": FORMAT,
            "text_form": TEXT_FORM,
            "name": out.name,
            **manifest,
            "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "versions": {package: version(package) for package in PACKAGES},
            "files": {name: sha256(aside / name) for name in sorted(files)},
        }
        _write(aside / "manifest.json", document(complete))
    return Release.open(out)


def refuse_existing(out: Path) -> None:
    """Raise CommandError where a release would be written over something."""
    if out.exists():
        raise CommandError(
            f"{out} exists: a release never changes; choose another name or remove it"
        )


def document(content: Mapping[str, Any]) -> str:
    """JSON as it stands in a release: indented, with a newline at the end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(file: Path, content: str | bytes | Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, file)
    else:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
