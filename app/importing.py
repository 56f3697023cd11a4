"""Imports from the pages: a file comes in pieces, every row is checked, and then, when somebody says so, written.

A file lies in the data directory until its import is over. Imports are known in memory: after a restart they are gone,
with their files, and what they had written stays written.
"""

import asyncio
import logging
import os
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from app.background import end, is_cancelled, log_failure, to_its_end
from app.detector import Detector, Reading
from app.engine.rows import TableFile
from app.errors import (
    ImportBusy,
    ImportNotFound,
    Overloaded,
    SameaskError,
    StorageFull,
    UnreadableFile,
)
from app.file_preview import Preview
from app.row_checks import CheckedRow, RejectedRows, Tally, checked_questions, open_rejected
from app.settings import Settings

FOLDER = "imports"
REJECTED = "rejected.csv"
BATCH = 256  # rows that are checked or written at a time
MAX_IMPORTS = 20  # that are known at a time
LEFT_SECONDS = 60.0  # after which one that nobody does anything with makes room for another
SHOWN_PROBLEMS = 100

Phase = Literal["coming", "checking", "checked", "writing", "done", "stopped", "failed"]
Question = tuple[str, str]

log = logging.getLogger(__name__)


@dataclass
class Import:
    """One file on its way into a collection: how far it is, and what was found in it."""

    number: int
    name: str
    preview: Preview
    size: int
    collection: str
    folder: Path
    phase: Phase = "coming"
    columns: tuple[str | None, str] = (None, "text")
    prefix: str = ""
    tally: Tally = field(default_factory=Tally)
    reading: Reading = field(default_factory=Reading)  # of the good texts, by the model
    stored: int = 0  # ids that the collection holds already
    problems: list[tuple[int, str]] = field(default_factory=list)  # the first lines, and why
    done: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    wrote_before: bool = False  # some of its rows, before it was checked again
    failure: str | None = None
    since: float = 0.0
    seen: float = field(
        default_factory=monotonic
    )  # when somebody last sent or asked anything of it
    task: asyncio.Task[None] | None = None

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self.folder / "file"

    @property
    def rejected(self) -> Path:
        """Where the rows are that can't be taken, each with its line and why."""
        return self.folder / REJECTED

    @property
    def is_under_way(self) -> bool:
        """Whether something is done with it right now."""
        return self.phase in ("checking", "writing")

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done with it."""
        return self.phase in ("done", "stopped")

    @property
    def has_written(self) -> bool:
        """Whether rows of it were written, now or before it was checked again."""
        return self.wrote_before or self.done > 0

    @property
    def rows_a_second(self) -> float:
        """How fast it goes."""
        return self.done / max(monotonic() - self.since, 0.001)

    @property
    def seconds_left(self) -> float:
        """How long writing the rest will take, by the speed so far."""
        return (self.tally.good - self.done) / max(self.rows_a_second, 0.001)

    def fail(self, why: str) -> None:
        """End it, and say why."""
        self.phase = "failed"
        self.failure = why


class Imports:
    """Every import that this server knows. To be used in its event loop."""

    def __init__(self, detector: Detector, settings: Settings) -> None:
        self._detector = detector
        self._max_bytes = settings.max_import_bytes
        self._max_characters = settings.max_characters
        self._batch = min(BATCH, settings.max_upsert)
        self._folder = settings.data_dir / FOLDER
        self._imports: OrderedDict[int, Import] = OrderedDict()
        # so that no other server over the same store has an import of this number
        self._last_number = secrets.randbelow(2**40)
        shutil.rmtree(self._folder, ignore_errors=True)  # of a server before

    def refuse_if_large(self, size: int) -> None:
        """Raise UnreadableFile for more bytes than a file may have."""
        if size > self._max_bytes:
            raise UnreadableFile(
                f"it has {size:,} bytes; at most {self._max_bytes:,} (SAMEASK_MAX_IMPORT_BYTES)"
            )

    def begin(self, name: str, size: int, collection: str, preview: Preview) -> Import:
        """A new import, of a file that was looked at. Raises UnreadableFile for one that is too large, ImportBusy."""
        self.refuse_if_large(size)
        self._make_room()
        self._last_number += 1
        folder = self._folder / str(self._last_number)
        one = Import(self._last_number, name, preview, size, collection, folder)
        self._imports[one.number] = one
        return one

    def get(self, number: int) -> Import:
        """Raises ImportNotFound."""
        if number not in self._imports:
            raise ImportNotFound(number)
        self._imports[number].seen = monotonic()
        return self._imports[number]

    async def append(self, number: int, offset: int, piece: bytes) -> None:
        """Write the next piece of the file. Raises ImportNotFound, ImportBusy (another piece is next), StorageFull."""
        one = self.get(number)
        if one.phase != "coming" or offset + len(piece) > one.size:
            raise ImportBusy(f"import {number} waits for no such piece")
        await asyncio.to_thread(_append, one.file, offset, piece)

    def check(self, number: int, columns: tuple[str | None, str], prefix: str) -> Import:
        """Begin to check every row, also once more where that or writing has failed.

        Raises ImportNotFound, ImportBusy.
        """
        one = self.get(number)
        if one.is_under_way or not one.file.exists() or one.file.stat().st_size != one.size:
            raise ImportBusy(f"import {number} is {one.phase}: its file is not whole")
        one.columns = columns
        one.prefix = prefix
        one.tally = Tally()
        one.reading = Reading()
        one.problems = []
        one.wrote_before = one.has_written
        one.stored = one.done = one.added = one.updated = one.unchanged = 0
        self._run(one, "checking", self._check(one))
        return one

    def write(self, number: int) -> Import:
        """Begin to write the good rows. Raises ImportNotFound, ImportBusy."""
        one = self.get(number)
        if one.phase != "checked":
            raise ImportBusy(f"import {number} is {one.phase}, not checked")
        self._run(one, "writing", self._write(one))
        return one

    async def stop(self, number: int) -> Import:
        """Stop what is done with it, after the batch that is being written; what was written stays.

        One that has failed is let go; one that fails meanwhile stays failed. Raises ImportNotFound.
        """
        one = self.get(number)
        had_failed = one.phase == "failed"
        if one.task:
            await end(one.task)
        if had_failed or one.phase not in ("done", "failed"):
            one.phase = "stopped"
            await to_its_end(asyncio.to_thread(shutil.rmtree, one.folder, ignore_errors=True))
        return one

    async def close(self) -> None:
        """Stop all of them, and remove their files."""
        await end(*(one.task for one in self._imports.values() if one.task))
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    # Inside

    def _make_room(self) -> None:
        if len(self._imports) < MAX_IMPORTS:
            return
        idle = [one for one in self._imports.values() if not one.is_under_way]
        idle.sort(key=lambda one: (not one.is_over, one.seen))
        if not idle or (not idle[0].is_over and monotonic() - idle[0].seen < LEFT_SECONDS):
            raise ImportBusy(f"{MAX_IMPORTS} imports are under way, the most that may be")
        shutil.rmtree(idle[0].folder, ignore_errors=True)
        del self._imports[idle[0].number]

    def _run(self, one: Import, phase: Phase, work: Coroutine[Any, Any, None]) -> None:
        one.phase = phase
        one.since = monotonic()
        one.task = asyncio.create_task(self._to_its_end(one, work))

    async def _to_its_end(self, one: Import, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SameaskError as error:
            one.fail(str(error))
            log.warning("an import failed: %s", type(error).__name__)
        except OSError as error:
            one.fail(f"its file can't be read: {error.strerror}")
        except Exception as error:
            one.fail("this is a fault of the service; its log says more")
            log_failure("an import failed", error)
        finally:
            one.tally.forget_texts()

    async def _check(self, one: Import) -> None:
        key = (await self._detector.read(self._detector.store.collections.get, one.collection)).key
        rejected = await asyncio.to_thread(open_rejected, one.rejected)
        rows = self._rows(one)
        with rejected as file:
            writer = RejectedRows(file, ("id", "text"))
            while batch := await asyncio.to_thread(_next, rows, self._batch):
                good = _good(batch)
                await asyncio.to_thread(_note, one, batch, writer, self._max_bytes)
                one.reading += await self._detector.reading_of([text for _, text in good])
                ids = [question_id for question_id, _ in good]
                revisions = self._detector.store.questions.revisions
                one.stored += len(await self._detector.read(revisions, key, ids))
        one.phase = "checked"

    async def _write(self, one: Import) -> None:
        rows = self._rows(one)
        while batch := await asyncio.to_thread(_next, rows, self._batch):
            await self._add(one, _good(batch))
            if is_cancelled():
                return  # the batch that was begun is written
        one.phase = "done"
        await asyncio.to_thread(one.file.unlink, missing_ok=True)

    def _rows(self, one: Import) -> Iterator[CheckedRow]:
        file = TableFile(one.file, one.name)
        return checked_questions(file, one.columns, self._max_characters, one.prefix)

    async def _add(self, one: Import, questions: Sequence[Question]) -> None:
        """Write some questions: all of them, and shown, once that has begun. Where the service is busy, wait."""
        while questions and not is_cancelled():
            try:
                written = await to_its_end(self._detector.add(one.collection, questions))
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_seconds)
                continue
            one.done += len(questions)
            one.added += written.added
            one.updated += written.updated
            one.unchanged += written.unchanged
            return


def _next(rows: Iterator[CheckedRow], count: int) -> list[CheckedRow]:
    return list(islice(rows, count))


def _good(batch: Sequence[CheckedRow]) -> list[Question]:
    return [(row.values[0], row.values[1]) for row, problem in batch if problem is None]


def _note(one: Import, batch: Sequence[CheckedRow], rejected: RejectedRows, max_bytes: int) -> None:
    """Count the rows; keep the first problems to show, and write all bad rows down as long as there is room: a packed
    file may unpack to any number."""
    has_room = one.rejected.stat().st_size < max_bytes
    for row, problem in batch:
        one.tally.add(row, problem, None if problem else row.values[1])
        if problem is None:
            continue
        if len(one.problems) < SHOWN_PROBLEMS:
            one.problems.append((row.line, problem))
        if has_room:
            rejected.write(row, problem)


def _end_of(file: Path, size: int) -> bytes:
    """The last bytes of a file, so many."""
    with file.open("rb") as content:
        content.seek(-size, os.SEEK_END)
        return content.read()


def _append(file: Path, offset: int, piece: bytes) -> None:
    """Write a piece where the file ends by now; the last one, sent again as its answer was lost, stands there.

    Raises ImportBusy, StorageFull.
    """
    size = file.stat().st_size if file.exists() else 0
    if offset < size == offset + len(piece) and _end_of(file, len(piece)) == piece:
        return
    if offset != size:
        raise ImportBusy(f"the next piece begins at {size:,}, not at {offset:,}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            out.write(piece)
    except OSError as error:
        with suppress(OSError):  # there may be no file yet
            os.truncate(file, size)
        raise StorageFull("the disk has no room for the file; nothing was imported") from error
