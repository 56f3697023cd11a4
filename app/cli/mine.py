"""`sameask mine`: all duplicate pairs of a file or a collection, in a file. The models run in this process."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from app.cli.client import assert_data_directory, note_new_data_directory
from app.cli.input_file import named_file
from app.cli.logs import waits_told
from app.cli.options import Delimiter, Encoding, IdColumn, MaybeInFile, TextColumn
from app.cli.questions import read_questions
from app.cli.terminal import err, print_line, print_note, progress_bar
from app.errors import CommandError
from app.mining.job import Advance, Wanted, check_out
from app.mining.sources import mine_collection, mine_file
from app.settings import Settings

SECONDS_BETWEEN_LINES = 10.0


def mine(
    out_file: Annotated[
        Path, typer.Option("--out", "-o", help="NDJSON or Parquet, by its ending.")
    ],
    file: MaybeInFile = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Mine this one instead.")
    ] = None,
    id_column: IdColumn = "id",
    text_column: TextColumn = "text",
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    similarity: Annotated[
        float | None, typer.Option(help="Least similarity of a pair, above 0 and at most 1.")
    ] = None,
    probability: Annotated[
        float | None, typer.Option(help="Least probability, above 0 and at most 1.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Let the pair classifier read the pairs.")] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run was killed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Mine the good rows of a file with broken ones.")
    ] = False,
) -> None:
    """Find all duplicate pairs of a file or a collection, the most similar first.

    Without bounds, all pairs but those called `different`. A text under many ids is one text, and one line. The data
    directory of a collection is opened here: of one that a server holds, mine what `export` prints. With a FILE, the
    data directory keeps the models in the form that runs fastest, for the next time.
    """
    if (file is None) == (collection is None):
        raise typer.BadParameter("name either a FILE or a --collection")
    wanted = Wanted(similarity, probability, verify)
    wanted.check()
    _assert_writable(out_file)
    check_out(out_file, resume=resume, overwrite=overwrite)
    settings = Settings()
    with waits_told(), _progress() as advance:
        if file:
            with named_file(file, delimiter, encoding) as given:
                questions = read_questions(given, (id_column, text_column), skip_bad=skip_bad)
            note_new_data_directory(settings)
            count = mine_file(
                questions, out_file, wanted, settings, advance, resume=resume, overwrite=overwrite
            )
        else:
            assert_data_directory(settings)
            count = mine_collection(
                str(collection),
                out_file,
                wanted,
                settings,
                advance,
                resume=resume,
                overwrite=overwrite,
            )
    print_line(f"{count:,} {'pair' if count == 1 else 'pairs'} in {out_file}")


def _assert_writable(out_file: Path) -> None:
    """Raises CommandError, before anything is computed, where the file of pairs can't be written."""
    there = next(folder for folder in out_file.absolute().parents if folder.exists())
    if out_file.is_dir():
        raise CommandError(f"can't write {out_file}: it is a folder")
    if not there.is_dir():
        raise CommandError(f"can't write {out_file}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CommandError(f"can't write {out_file}: {there} is not writable")


@contextmanager
def _progress() -> Iterator[Advance]:
    """Bars on a terminal, and lines where standard error is none."""
    if not err.is_terminal:
        yield _Lines()
        return
    with progress_bar() as progress:
        yield _Bars(progress)


class _Lines:
    """A line when a phase begins or ends, and every ten seconds between."""

    def __init__(self) -> None:
        self._phase = ""
        self._told_at = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        is_due = time.monotonic() - self._told_at >= SECONDS_BETWEEN_LINES
        if phase != self._phase or done == total or is_due:
            self._phase = phase
            self._told_at = time.monotonic()
            print_note(f"{phase}: {done:,} of {total:,}")


class _Bars:
    """One bar for each phase, made when it begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase)
        self._progress.update(self._tasks[phase], completed=done, total=total)
