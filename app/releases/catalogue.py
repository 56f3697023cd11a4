"""The releases that there are, by name: the one that SAMEASK_RELEASE names, and those in the data directory.

Where SAMEASK_RELEASE is left as it is, those that it named in versions before are among them, too.
"""

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.engine.release import Release
from app.errors import ReleaseNotFound, ReleaseProtected, ReleaseRefused, ReleaseUnusable

ROOT = Path(__file__).parent.parent.parent  # `releases/` with those that ship stands here
RESERVED = {"live", "shadow"}  # they stand where a name stands in a path

FileState = tuple[str, int, int]  # path, bytes, time of the last change in nanoseconds


@dataclass(frozen=True)
class Entry:
    """A folder that is a release, or why it is refused. `is_trained`: it stands in the data directory."""

    name: str
    path: Path
    is_trained: bool
    release: Release | None
    refused: str | None


@dataclass(frozen=True)
class _Check:
    """The result of checking a folder, a release or the reason why it is none, for this state of its files."""

    files: list[FileState]
    release: Release | None
    refused: str | None


class Catalogue:
    """The folders of releases. They never change, so a folder is checked again only when one of its files did."""

    def __init__(self, setting: Path, folder: Path, former: Sequence[Path] = ()) -> None:
        """`setting` is the folder that SAMEASK_RELEASE names, `folder` holds those that were trained here.

        `former` are the folders that SAMEASK_RELEASE named in versions before, where nobody chose one.
        """
        self.setting = setting
        self.own = shipped(setting)
        self.former_settings = former
        self.former = [shipped(one) for one in former if shipped(one).is_dir()]
        self._folder = folder
        self._checks: dict[Path, _Check] = {}

    def entries(self) -> list[Entry]:
        """All of them, that of SAMEASK_RELEASE first, then by name. Reads files; from a thread."""
        untrained = [self._shipped_entry(path) for path in (self.own, *self.former)]
        taken = {entry.name for entry in untrained}
        trained = sorted(path for path in self._folder.glob("*/") if not path.name.startswith("."))
        return [*untrained, *(self._trained_entry(path, taken) for path in trained)]

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
        for entry in self.entries():
            if entry.name == name:
                return entry
        raise ReleaseNotFound(name)

    def remove(self, entry: Entry) -> None:
        """Remove the folder of a release that was trained here. Raises ReleaseProtected, OSError, and ReleaseNotFound
        where somebody else does so."""
        if not entry.is_trained:
            raise ReleaseProtected(entry.name, "was not trained here")
        aside = entry.path.with_name(f".removed-{entry.name}-{secrets.token_hex(4)}")
        try:
            entry.path.rename(aside)
        except FileNotFoundError as error:
            raise ReleaseNotFound(entry.name) from error
        for removed in aside.parent.glob(
            ".removed-*"
        ):  # also what a process that was killed has left
            shutil.rmtree(removed, ignore_errors=True)

    def _shipped_entry(self, path: Path) -> Entry:
        """SAMEASK_RELEASE's or a former one, which goes by the name in its manifest."""
        check = self._check(path)
        name = check.release.name if check.release else path.name
        refused = check.refused or _refused_name(name)
        return Entry(name, path, False, check.release, refused)

    def _trained_entry(self, path: Path, taken: set[str]) -> Entry:
        """One that was trained here, which goes by its folder's name; names of shipped ones are `taken`."""
        check = self._check(path)
        refused = check.refused
        if check.release and path.name in taken:
            refused = f"the name {path.name!r} is that of SAMEASK_RELEASE's"
        elif check.release:
            refused = _refused_name(path.name)
            if not refused and check.release.name != path.name:
                refused = f"its manifest calls it {check.release.name!r}"
        return Entry(path.name, path, True, check.release, refused)

    def _check(self, path: Path) -> _Check:
        files = _file_states(path)
        known = self._checks.get(path)
        if known is None or known.files != files:
            known = _read(path, files)
            self._checks[path] = known
        return known


def shipped(setting: Path) -> Path:
    """The folder that SAMEASK_RELEASE names: one beside the code, where the command is called from elsewhere."""
    beside_code = ROOT / setting
    return beside_code if not setting.exists() and beside_code.exists() else setting


def _read(path: Path, files: list[FileState]) -> _Check:
    try:
        return _Check(files, Release.open(path), None)
    except ReleaseRefused as error:
        return _Check(files, None, str(error))


def _refused_name(name: str) -> str | None:
    """Why no release can go by this name, if none can."""
    return f"the name {name!r} means something else here" if name in RESERVED else None


def _file_states(path: Path) -> list[FileState]:
    """The states of a folder's files, by which a change is noticed."""
    states = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder) / name
            try:
                stat = file.lstat()
            except FileNotFoundError:
                continue  # it is being removed
            states.append((str(file), stat.st_size, stat.st_mtime_ns))
    return sorted(states)
