"""An import of a file: every row is checked, then the good ones are written in requests of many."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.cli.client import call, run
from app.cli.terminal import print_line, print_note, progress_bar
from app.engine.rows import Row, TableFile
from app.errors import ColumnNotFound, CommandError
from app.row_checks import CheckedRow, RejectedRows, Tally
from app.settings import Settings

MAX_ITEMS = 500  # in one request, where the settings allow as many
REQUESTS_IN_FLIGHT = 6
ENVELOPE_BYTES = 512  # of a body around its items: the braces, and the collection's name
SHOWN_PROBLEMS = 20

Item = dict[str, object]


@dataclass(frozen=True)
class Upload:
    """What an import does with a file. `rows()` reads and checks it, and is called twice."""

    file: TableFile
    items: str  # what they are, in the route and in its body
    max_items: int  # in one request
    rows: Callable[[], Iterator[CheckedRow]]
    columns: Sequence[str]  # of `rows`
    item: Callable[[Row], Item]  # what a good row is in a request
    counts: Sequence[str]  # of the answer
    reading: Sequence[str] = ()  # of the answer: how the model reads what was written
    column_options: str = ""  # by which other columns are named


@dataclass(frozen=True)
class Target:
    """Where an import goes, and what becomes of broken rows."""

    collection: str
    url: str | None
    key_file: Path | None
    skip_bad: bool
    rejected: Path | None
    creates: bool = False  # the collection, where it is not there


def upload(wanted: Upload, target: Target) -> None:
    """Check every row of a file, then import the good ones. Raises CommandError for bad ones, unless told to skip."""
    tally = _check(wanted, target.rejected)
    if tally.bad and not target.skip_bad:
        raise CommandError(
            f"{tally.bad_words} in {wanted.file.name}: nothing was imported; --skip-bad imports the others"
        )
    totals = run(
        target.url,
        target.key_file,
        lambda service: _write(service, target, wanted, tally.good),
        makes_data_directory=True,
    )
    words = [f"{totals[name]:,} {name}" for name in wanted.counts]
    if tally.bad:
        words.append(f"{tally.bad_words} skipped")
    print_line(", ".join(words))
    _tell(wanted, tally, totals)


def _tell(wanted: Upload, tally: Tally, totals: Mapping[str, int]) -> None:
    """Say what of the texts may surprise later: which are the same, and which the model does not read as they are."""
    words = []
    if tally.identical:
        words.append(f"{tally.identical:,} texts stand in {wanted.file.name} before")
    if wanted.reading:
        truncated, tokens, unknown = (totals[name] for name in wanted.reading)
        if truncated:
            words.append(f"{truncated:,} texts are longer than the model reads, and cut")
        if unknown:
            words.append(f"{unknown / tokens:.2%} of the tokens are unknown to the model")
    for line in words:
        print_note(line, style="yellow")


def _check(wanted: Upload, rejected: Path | None) -> Tally:
    """How many rows are good, and how many are bad: the first of these are shown, and all of them written."""
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
    return tally


def _text_of(wanted: Upload, row: Row) -> str | None:
    return str(row.values[-1]) if wanted.reading else None


@contextmanager
def _rejected_rows(
    path: Path | None, columns: Sequence[str]
) -> Iterator[Callable[[Row, str], None]]:
    if path is None:
        yield lambda _row, _problem: None
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        yield RejectedRows(file, columns).write


async def _write(
    service: httpx.AsyncClient, target: Target, wanted: Upload, total: int
) -> dict[str, int]:
    """Write the good rows in batches, a few requests in flight, so that the model never waits for the wire."""
    if target.creates:
        await call(service, "PUT", f"/collections/{target.collection}")
    totals = dict.fromkeys((*wanted.counts, *wanted.reading), 0)
    batches = _batches(wanted)
    with progress_bar() as progress:
        task = progress.add_task("importing", total=total)

        async def work() -> None:
            for batch in batches:
                body = {"collection": target.collection, wanted.items: batch}
                written = await call(service, "POST", f"/{wanted.items}", json=body)
                for name in totals:
                    totals[name] += written[name]
                progress.advance(task, len(batch))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(REQUESTS_IN_FLIGHT):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
    return totals


def _batches(wanted: Upload) -> Iterator[list[Item]]:
    """The good rows, as many at a time as one request may hold."""
    max_items = min(MAX_ITEMS, wanted.max_items)
    max_bytes = Settings().max_body_bytes - ENVELOPE_BYTES
    batch: list[Item] = []
    room = max_bytes
    for row, problem in wanted.rows():
        if problem:
            continue
        item = wanted.item(row)
        size = len(json.dumps(item, ensure_ascii=False).encode()) + 1
        if len(batch) == max_items or (batch and size > room):
            yield batch
            batch = []
            room = max_bytes
        batch.append(item)
        room -= size
    if batch:
        yield batch
