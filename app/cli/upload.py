"""An import of a file: every row is checked, then the good ones are written in requests of many."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli.client import run
from app.cli.terminal import print_line, print_note, progress_bar
from app.engine.files import replacing
from app.engine.rows import Row, TableFile
from app.errors import ColumnNotFound, CommandError
from app.row_checks import CheckedRow, RejectedRows, Tally, open_rejected
from app.settings import Settings
from sameask_client import AsyncClient, ImportedLabels, ImportedQuestions

MAX_ITEMS = 500  # in one request, where the settings allow as many
REQUESTS_IN_FLIGHT = 6
SHOWN_PROBLEMS = 20
STDIN = Path("/dev/stdin")
OUTPUTS = (Path("/dev/stdout"), Path("/dev/stderr"))

Imported = ImportedQuestions | ImportedLabels


@dataclass(frozen=True)
class Upload:
    """The steps of an import of one kind of file. `rows()` reads and checks it, and is called twice."""

    file: TableFile
    rows: Callable[[], Iterator[CheckedRow]]
    columns: Sequence[str]  # of `rows`
    item: Callable[[Row], object]  # what the client takes for a good row
    send: Callable[..., Coroutine[Any, Any, Imported]]  # the client's method
    max_items: int  # in one request
    counts: Sequence[str]  # of the answer
    is_of_texts: bool = False  # a text in each row's last column, which may stand there twice
    column_options: str = ""  # by which other columns are named


@dataclass(frozen=True)
class Target:
    """The target of an import, and the treatment of broken rows."""

    collection: str
    url: str | None
    key_file: Path | None
    skip_bad: bool
    rejected: Path | None
    creates: bool = False  # the collection, where it is not there


def upload(wanted: Upload, target: Target) -> None:
    """Check every row of a file, then import the good ones. Raises CommandError for bad ones, unless told to skip."""
    _assert_apart(wanted.file.path, target.rejected)
    tally = _check(wanted, target.rejected)
    if tally.bad and not target.skip_bad:
        raise CommandError(
            f"{tally.bad_words} in {wanted.file.name}: nothing was imported; --skip-bad imports the others"
        )
    imported = run(
        target.url,
        target.key_file,
        lambda service: _write(service, target, wanted, tally.good),
        makes_data_directory=True,
    )
    words = [f"{getattr(imported, name):,} {name}" for name in wanted.counts]
    if tally.bad:
        words.append(f"{tally.bad_words} skipped")
    print_line(", ".join(words))
    _tell(wanted, tally, imported)


def _tell(wanted: Upload, tally: Tally, imported: Imported) -> None:
    """Warn of texts that may surprise later: copies, and texts that the model does not read as they are."""
    words = []
    if tally.identical:
        words.append(f"{tally.identical:,} texts stand in {wanted.file.name} before")
    if isinstance(imported, ImportedQuestions):
        if imported.truncated:
            words.append(f"{imported.truncated:,} texts are longer than the model reads, and cut")
        if imported.unknown_tokens:
            share = imported.unknown_tokens / imported.tokens
            words.append(f"{share:.2%} of the tokens are unknown to the model")
    for line in words:
        print_note(line, style="yellow")


def _assert_apart(read: Path, rejected: Path | None) -> None:
    """Raises CommandError where the bad rows would take the place of the file that they stand in."""
    if not rejected or not rejected.is_file():
        return
    if any(rejected.samefile(path) for path in (read, STDIN) if path.exists()):
        raise CommandError(f"--rejected {rejected} is the file that is read: name another")


def _check(wanted: Upload, rejected: Path | None) -> Tally:
    """The numbers of good and of bad rows. The first bad ones are shown, and all of them are written."""
    tally = Tally()
    with _rejected_rows(rejected, wanted.columns) as write:
        try:
            for row, problem in wanted.rows():
                tally.add(row, problem, None if problem else _text_of(wanted, row))
                if problem is None:
                    continue
                write(row, problem)
                if tally.bad <= SHOWN_PROBLEMS:
                    print_note(f"{wanted.file.name}:{row.line}: {problem}", style="yellow")
        except ColumnNotFound as error:
            cure = f": {wanted.column_options}" if wanted.column_options else ""
            raise CommandError(f"{error}{cure}") from error
    tally.forget_texts()
    return tally


def _text_of(wanted: Upload, row: Row) -> str | None:
    return str(row.values[-1]) if wanted.is_of_texts else None


@contextmanager
def _rejected_rows(
    path: Path | None, columns: Sequence[str]
) -> Iterator[Callable[[Row, str], None]]:
    if path is None:
        yield lambda _row, _problem: None
        return
    with _aside(path) as aside, open_rejected(aside) as file:
        yield RejectedRows(file, columns).write


def _aside(path: Path) -> AbstractContextManager[Path]:
    """A path to write to. What is there takes the file's place once all rows are read.

    A pipe is written itself, and so is a file that takes this command's output.
    """
    is_output = path.exists() and any(out.exists() and path.samefile(out) for out in OUTPUTS)
    if is_output or (path.exists() and not path.is_file()):
        return nullcontext(path)
    return replacing(path.resolve(), durable=False)


async def _write(service: AsyncClient, target: Target, wanted: Upload, total: int) -> Imported:
    """Write the good rows in batches, a few requests in flight, so that the model never waits for the wire."""
    if target.creates:
        await service.create_collection(target.collection)
    with progress_bar() as progress:
        task = progress.add_task("importing", total=total)
        return await wanted.send(
            service,
            (wanted.item(row) for row, problem in wanted.rows() if not problem),
            collection=target.collection,
            max_items=min(MAX_ITEMS, wanted.max_items),
            max_bytes=Settings().max_body_bytes,
            in_flight=REQUESTS_IN_FLIGHT,
            progress=lambda done: progress.update(task, completed=done.items),
        )
