"""The folder of a training run: what is asked of its child, what the child says, and its checkpoints.

The service writes `labels.jsonl`, `unlabelled.jsonl` and, last, `request.json`. The child writes `progress.json`,
`result.json` and `log.txt`. A run that is resumed goes on from the checkpoints beside them.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

REQUEST, LABELS, UNLABELLED = "request.json", "labels.jsonl", "unlabelled.jsonl"
PROGRESS, RESULT, LOG = "progress.json", "result.json", "log.txt"
LOG_BYTES = 8_000
MAX_FILE_BYTES = 8 * 2**20  # of what a child says


class Progress(BaseModel):
    """How far a child says it is."""

    phase: str = Field(max_length=100)
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    eta_seconds: float | None = None


class Result(BaseModel):
    """What a child says came of it."""

    release: str = Field(max_length=200)
    gate: dict[str, Any]


Said = TypeVar("Said", bound=BaseModel)


class RunFolder:
    """One run's folder. What a child says is checked, and is None where it is not as it should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file = path / LOG

    def begin(self) -> None:
        """Make the folder, and take away what a child said that was here before. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (PROGRESS, RESULT):
            (self.path / name).unlink(missing_ok=True)

    def has_request(self) -> bool:
        """Whether a child was asked before: its checkpoints belong to what it was asked."""
        return (self.path / REQUEST).exists()

    def ask(
        self,
        request: Mapping[str, Any],
        labels: Iterable[Mapping[str, Any]],
        unlabelled: Iterable[Mapping[str, Any]],
    ) -> None:
        """Write what is asked of the child; the request comes last, by rename. Raises OSError."""
        _write_lines(self.path / LABELS, labels)
        _write_lines(self.path / UNLABELLED, unlabelled)
        part = self.path / f"{REQUEST}.part"
        _write_lines(part, [request])
        part.rename(self.path / REQUEST)

    def progress(self) -> Progress | None:
        """How far the child says it is."""
        return _read(self.path / PROGRESS, Progress)

    def result(self) -> Result | None:
        """What the child says came of it."""
        return _read(self.path / RESULT, Result)

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


def _time_and_size(file: Path) -> tuple[int, int]:
    with suppress(OSError):
        stat = file.stat()
        return stat.st_mtime_ns, stat.st_size
    return 0, 0


def _read(file: Path, kind: type[Said]) -> Said | None:
    """What a child says in a file; None if there is none, or it is not as it should be. NaN is null here."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES)
        return kind.model_validate(json.loads(content, parse_constant=lambda _: None))
    except (OSError, ValueError, RecursionError, ValidationError):
        return None


def _write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, on the disk when this returns."""
    with file.open("w", encoding="utf-8") as opened:
        for row in rows:
            opened.write(json.dumps(row, ensure_ascii=False) + "\n")
        opened.flush()
        os.fsync(opened.fileno())
