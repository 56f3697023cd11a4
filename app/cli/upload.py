"""An import of a file: every row is checked, then the good ones are written in requests of many."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.cli.client import call, run
from app.cli.terminal import print_line, print_note, progress_bar
from app.engine.rows import Row
from app.errors import CommandError
from app.row_checks import CheckedRow
from app.settings import Settings

MAX_ITEMS = 500  # in one request, where the settings allow as many
REQUESTS_IN_FLIGHT = 6
ENVELOPE_BYTES = 512  # of a body around its items: the braces, and the collection's name
SHOWN_PROBLEMS = 20

Item = dict[str, object]


@dataclass(frozen=True)
class Upload:
    """What an import does with a file. `rows()` reads and checks it, and is called twice."""

    file: Path
    items: str  # what they are, in the route and in its body
    max_items: int  # in one request
    rows: Callable[[], Iterator[CheckedRow]]
    item: Callable[[Row], Item]  # what a good row is in a request
    counts: Sequence[str]  # of the answer


def upload(
    wanted: Upload, collection: str, skip_bad: bool, url: str | None, key_file: Path | None
) -> None:
    """Check every row of a file, then import the good ones. Raises CommandError for bad ones, unless told to skip."""
    good, bad = _check(wanted)
    if bad and not skip_bad:
        raise CommandError(
            f"{bad:,} broken rows in {wanted.file}: nothing was imported; --skip-bad imports the others"
        )
    totals = run(
        url,
        key_file,
        lambda service: _write(service, collection, wanted, good),
        makes_data_directory=True,
    )
    words = [f"{totals[name]:,} {name}" for name in wanted.counts]
    if bad:
        words.append(f"{bad:,} broken rows skipped")
    print_line(", ".join(words))


def _check(wanted: Upload) -> tuple[int, int]:
    """How many rows are good, and how many are bad; the first of these are shown."""
    good = bad = 0
    problems = []
    for row, problem in wanted.rows():
        if problem is None:
            good += 1
            continue
        bad += 1
        if bad <= SHOWN_PROBLEMS:
            problems.append(f"{wanted.file}:{row.line}: {problem}")
    for problem in problems:
        print_note(problem, style="yellow")
    return good, bad


async def _write(
    service: httpx.AsyncClient, collection: str, wanted: Upload, total: int
) -> dict[str, int]:
    """Write the good rows in batches, a few requests in flight, so that the model never waits for the wire."""
    totals = dict.fromkeys(wanted.counts, 0)
    batches = _batches(wanted)
    with progress_bar() as progress:
        task = progress.add_task("importing", total=total)

        async def work() -> None:
            for batch in batches:
                body = {"collection": collection, wanted.items: batch}
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
