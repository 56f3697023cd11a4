"""Which releases there are: the one that SAMEASK_RELEASE names, and those in the data directory, by name."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from app.engine.release import Release
from app.errors import ReleaseNotFound, ReleaseProtected, ReleaseRefused, ReleaseUnusable

RESERVED = {"live", "shadow"}  # they stand where a name stands in a path

Signature = list[tuple[str, int, int]]


@dataclass(frozen=True)
class Entry:
    """A folder that is a release, or why it is refused. `is_trained`: it stands in the data directory."""

    name: str
    path: Path
    is_trained: bool
    release: Release | None
    refused: str | None


class Catalogue:
    """The folders of releases. They never change, so what was checked is checked again only when a file did."""

    def __init__(self, setting: Path, folder: Path) -> None:
        """`setting` is the folder that SAMEASK_RELEASE names, `folder` holds those that were trained here."""
        self.setting = setting
        self._folder = folder
        self._checked: dict[Path, tuple[Signature, Release | str]] = {}

    def entries(self) -> list[Entry]:
        """All of them, that of SAMEASK_RELEASE first, then by name. Reads files; from a thread."""
        own = self._entry(self.setting, is_trained=False, taken=None)
        trained = sorted(path for path in self._folder.glob("*/") if not path.name.startswith("."))
        return [own, *(self._entry(path, is_trained=True, taken=own.name) for path in trained)]

    def open(self, name: str) -> Release:
        """Read and check a release anew. Raises ReleaseNotFound, ReleaseUnusable."""
        entry = self.entry(name)
        if entry.refused:
            raise ReleaseUnusable(name, entry.refused)
        try:
            return Release.open(entry.path)
        except ReleaseRefused as error:
            raise ReleaseUnusable(name, str(error)) from error

    def entry(self, name: str) -> Entry:
        """Raises ReleaseNotFound."""
        named = [entry for entry in self.entries() if entry.name == name]
        if not named:
            raise ReleaseNotFound(name)
        return named[0]

    def remove(self, entry: Entry) -> None:
        """Remove the folder of a release that was trained here. Raises ReleaseProtected, OSError."""
        if not entry.is_trained:
            raise ReleaseProtected(entry.name, "is SAMEASK_RELEASE's")
        aside = entry.path.with_name(f".removed-{entry.name}")
        shutil.rmtree(aside, ignore_errors=True)
        entry.path.rename(aside)
        shutil.rmtree(aside)

    def _entry(self, path: Path, *, is_trained: bool, taken: str | None) -> Entry:
        found = self._check(path)
        name = path.name if is_trained or isinstance(found, str) else found.name
        refused = found if isinstance(found, str) else _wrong_name(found, name, taken)
        return Entry(name, path, is_trained, None if isinstance(found, str) else found, refused)

    def _check(self, path: Path) -> Release | str:
        signature = _signature(path)
        known = self._checked.get(path)
        if known is None or known[0] != signature:
            self._checked[path] = known = (signature, _read(path))
        return known[1]


def _read(path: Path) -> Release | str:
    try:
        return Release.open(path)
    except ReleaseRefused as error:
        return str(error)


def _wrong_name(release: Release, name: str, taken: str | None) -> str | None:
    """Why a release can't go by this name, if it can't."""
    if name == taken:
        return f"the name {name!r} is that of SAMEASK_RELEASE's"
    if name in RESERVED:
        return f"the name {name!r} means something else here"
    return None if release.name == name else f"its manifest calls it {release.name!r}"


def _signature(path: Path) -> Signature:
    """By which a change of any file is noticed."""
    files = (Path(folder) / file for folder, _, files in os.walk(path) for file in files)
    return sorted((str(file), (stat := file.lstat()).st_size, stat.st_mtime_ns) for file in files)
