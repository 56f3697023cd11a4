"""A release folder out: written aside, made durable, and shown by one rename."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.engine.files import sha256
from app.engine.release import FORMAT, Release
from app.errors import CommandError

PACKAGES = ("sameask", "torch", "sentence-transformers", "transformers")


def publish(
    out: Path, manifest: Mapping[str, Any], files: Mapping[str, str | bytes | Path]
) -> Release:
    """Write a release folder from contents, or from files to copy; no half of it is ever visible.

    `manifest` lacks what is known only here: name, format, date, versions and digests. Raises CommandError
    if `out` exists.
    """
    if out.exists():
        raise CommandError(
            f"{out} exists: a release never changes; choose another name or remove it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, content in files.items():
            _write(aside / name, content)
        complete = {
            "format": FORMAT,
            "name": out.name,
            **manifest,
            "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "versions": {package: version(package) for package in PACKAGES},
            "files": {name: sha256(aside / name) for name in sorted(files)},
        }
        _write(aside / "manifest.json", document(complete))
        aside.chmod(0o755)
        aside.rename(out)
        _sync(out.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return Release.open(out)


def document(content: Mapping[str, Any]) -> str:
    """JSON as it stands in a release: indented, with a newline at the end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, content: str | bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
