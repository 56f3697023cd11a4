"""The folder of a training run: the request to its child, the child's reports, its log and its checkpoints.

The training contract defines the content of the files. A run that is resumed goes on from the checkpoints beside them.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from app.engine.training_contract import (
    LABELS,
    PROGRESS,
    REQUEST,
    RESULT,
    UNLABELLED,
    GivenLabel,
    Progress,
    Request,
    Result,
    UnlabelledPair,
    read_one,
    write_lines,
    write_one,
)
from app.errors import CommandError

LOG = "log.txt"
LOG_BYTES = 8_000

Kind = TypeVar("Kind")


class RunFolder:
    """One run's folder. A child's reports are checked; one that breaks the contract is None."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / LOG

    def begin(self) -> None:
        """Make the folder, and remove the reports of an earlier child. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (PROGRESS, RESULT):
            (self.path / name).unlink(missing_ok=True)

    def request(self) -> Request | None:
        """The request that an earlier child had here, if one did: the checkpoints belong to that."""
        return self._read(REQUEST, Request)

    def ask(self, request: Request, labels: Iterable[GivenLabel]) -> None:
        """Write the files for the child; the request comes last, and as a whole. Raises OSError."""
        write_lines(self.path / LABELS, labels)
        write_one(self.path / REQUEST, request)

    def propose(self, unlabelled: Iterable[UnlabelledPair]) -> None:
        """Write the pairs of stored questions that a label might help. Raises OSError."""
        write_lines(self.path / UNLABELLED, unlabelled)

    def end(self) -> None:
        """Remove the files that may hold texts of questions that are deleted by now. Only labels keep such texts."""
        for name in (UNLABELLED, RESULT):
            (self.path / name).unlink(missing_ok=True)

    def progress(self) -> Progress | None:
        """The child's progress, by its own report."""
        return self._read(PROGRESS, Progress)

    def result(self) -> Result | None:
        """The result, by the child's own report."""
        return self._read(RESULT, Result)

    def end_of_log(self) -> str:
        """The last LOG_BYTES of the log at most, from the beginning of a line."""
        try:
            with self.log_file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - LOG_BYTES, 0))
                text = file.read(LOG_BYTES).decode("utf-8", "replace").replace("\x00", "")
        except OSError:
            return ""
        return text.partition("\n")[2] if size > LOG_BYTES and "\n" in text else text

    def signs_of_life(self) -> list[tuple[int, int]]:
        """Time and size of the files that a child writes while it works: they change when it says anything."""
        return [_time_and_size(self.path / name) for name in (PROGRESS, LOG)]

    def _read(self, name: str, kind: type[Kind]) -> Kind | None:
        try:
            return read_one(self.path / name, kind)
        except CommandError:
            return None


def _time_and_size(file: Path) -> tuple[int, int]:
    with suppress(OSError):
        stat = file.stat()
        return stat.st_mtime_ns, stat.st_size
    return 0, 0
