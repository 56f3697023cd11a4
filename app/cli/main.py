"""The `sameask` command. Every command speaks the HTTP contract, through app/cli/client.py."""

import asyncio
import csv
import gc
import json
import pkgutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvicorn
from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text as RichText

from app.cli.client import AsJson, KeyFile, Url, call, create_app, log_to_stderr, run
from app.cli.keys import keys
from app.cli.releases import releases
from app.cli.training_runs import runs, worker
from app.engine.rows import Row, read_rows, truth
from app.engine.text import digest, pair_digest
from app.errors import AddressInUse, CommandError, SameaskError
from app.http.fields import Person, QuestionId, Text
from app.settings import Settings

cli = typer.Typer(
    name="sameask",
    help="Has this question been asked before?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
labels = typer.Typer(help="What people say of pairs.", no_args_is_help=True)
cli.add_typer(labels, name="labels")
cli.add_typer(keys, name="keys")
cli.add_typer(runs, name="runs")
cli.command()(worker)
cli.add_typer(releases, name="releases")
out = Console()
err = Console(stderr=True)

InCollection = Annotated[str, typer.Option("--collection", "-c", help="The collection.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of CSV.")]
InFile = Annotated[
    Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.", exists=True, dir_okay=False)
]
SkipBad = Annotated[bool, typer.Option(help="Import the good rows of a file with broken ones.")]

BATCH, PAGE = 500, 1000  # items in one request, where the settings allow as many
ID: TypeAdapter[str] = TypeAdapter(QuestionId)
TEXT: TypeAdapter[str] = TypeAdapter(Text)
PERSON: TypeAdapter[str] = TypeAdapter(Person)
IMPORTS_IN_FLIGHT = 6
ENVELOPE_BYTES = 512  # of a body around its items: the braces, and the collection's name
LABEL_COLUMNS = ("question1", "question2", "is_duplicate", "by", "note")


@dataclass(frozen=True)
class Load:
    """What an import does with a file: its rows, with what is wrong with each, and what a good one is in a request."""

    file: Path
    items: str  # what they are, in the route and in its body
    most: int  # in one request
    rows: Callable[[], Iterator[tuple[Row, str | None]]]
    item: Callable[[Row], dict[str, object]]
    counts: Sequence[str]  # of the answer


def main() -> None:
    """Entry point: one clear line for an error that is meant for a person."""
    try:
        cli()
    except SameaskError as error:
        _fail(str(error))
    except ValidationError as error:
        _fail("; ".join(_setting_words(e["loc"], e["msg"]) for e in error.errors()))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"no answer from the server: {error}")


@cli.command()
def serve() -> None:
    """Start the service; SAMEASK_HOST, SAMEASK_PORT and the other settings say how."""
    settings = Settings()
    with _listen(settings) as listening:
        log_to_stderr(settings)
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_level=settings.log_level,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=75,  # by default 5 seconds, as long as httpx trusts an idle connection: that is a race
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(app, uvicorn.Server(config), listening))


@cli.command("import")
def import_(
    file: InFile,
    collection: InCollection = "default",
    id_column: Annotated[str, typer.Option(help="Column of the ids.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    skip_bad: SkipBad = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Write a file of questions into a collection. Importing it again changes nothing."""
    columns = (id_column, text_column)
    load = Load(
        file,
        items="questions",
        most=Settings().max_upsert,
        rows=lambda: _question_rows(file, columns),
        item=lambda row: {"id": row.values[0], "text": row.values[1]},
        counts=("added", "updated", "unchanged"),
    )
    _load(load, collection, skip_bad, url, key_file)


@labels.command("import")
def import_labels(
    file: InFile,
    collection: InCollection = "default",
    by: Annotated[
        str | None, typer.Option(help="Who says so; without it, the column `by` does.")
    ] = None,
    skip_bad: SkipBad = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Label the pairs of a file: question1, question2, is_duplicate, by, and note if there is one.

    Importing it again changes nothing.
    """
    load = Load(
        file,
        items="labels",
        most=Settings().max_labels,
        rows=lambda: _label_rows(file, by),
        item=lambda row: _label(row, by),
        counts=("added", "replaced", "unchanged"),
    )
    _load(load, collection, skip_bad, url, key_file)


@labels.command("export")
def export_labels(
    collection: InCollection = "default",
    as_json: AsJsonLines = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Print every active label of a collection, as CSV that `labels import` and training read."""

    def record(label: dict[str, Any]) -> list[object]:
        said = label["is_duplicate"] if as_json else int(label["is_duplicate"])
        return [*label["questions"], said, label["by"], label["note"]]

    run(
        url,
        key_file,
        lambda service: _export(service, "labels", collection, LABEL_COLUMNS, record, as_json),
    )


@cli.command()
def find(
    text: Annotated[str, typer.Argument(help="The question.")],
    collection: InCollection = "default",
    top_k: Annotated[int, typer.Option(min=1, help="Most candidates.")] = 5,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Has this question been asked before?"""
    body = {"questions": [text], "collection": collection, "top_k": top_k}
    found = run(url, key_file, lambda service: call(service, "POST", "/duplicates", json=body))
    if as_json:
        out.print_json(data=found)
        return
    finding = found["results"][0]
    table = Table(
        "verdict", "probability", "similarity", "id", "text", title=f"verdict: {finding['verdict']}"
    )
    for c in finding["candidates"]:
        table.add_row(*_score_cells(c), RichText(c["id"]), RichText(c["text"]))
    out.print(table)


@cli.command()
def pair(
    question1: Annotated[str, typer.Argument(help="One question.")],
    question2: Annotated[str, typer.Argument(help="The other.")],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Whose labels hold.")
    ] = "default",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Do these two ask the same?"""
    body = {"pairs": [{"question1": question1, "question2": question2}], "collection": collection}
    scored = run(url, key_file, lambda service: call(service, "POST", "/pair-score", json=body))
    if as_json:
        out.print_json(data=scored)
        return
    table = Table("verdict", "probability", "similarity")
    table.add_row(*_score_cells(scored["scores"][0]))
    out.print(table)


@cli.command()
def mine(
    out_file: Annotated[
        Path, typer.Option("--out", "-o", help="NDJSON or Parquet, by its ending.")
    ],
    file: Annotated[
        Path | None, typer.Argument(help="Questions: CSV, TSV, JSONL or Parquet.", exists=True)
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Mine this one instead.")
    ] = None,
    id_column: Annotated[str, typer.Option(help="Column of the ids.")] = "id",
    text_column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
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
) -> None:
    """Find all duplicate pairs of a file or a collection, the most similar first.

    Without bounds, all pairs but those called `different`. The data directory of a collection is opened here: of one
    that a server holds, mine what `export` prints.
    """
    if (file is None) == (collection is None):
        raise CommandError("name either a FILE or a --collection")
    wanted = pkgutil.resolve_name("app.mining:Wanted")(similarity, probability, verify)
    wanted.check()
    with _progress() as progress:
        tasks: dict[str, Any] = {}

        def advance(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase)
            progress.update(tasks[phase], completed=done, total=total)

        source = _questions(file, (id_column, text_column)) if file else collection
        mining = pkgutil.resolve_name(f"app.mining:{'mine_file' if file else 'mine_collection'}")
        count = mining(
            source, out_file, wanted, Settings(), advance, resume=resume, overwrite=overwrite
        )
    out.print(f"{count:,} pairs in {out_file}", highlight=False, soft_wrap=True)


@cli.command()
def export(
    collection: InCollection = "default",
    as_json: AsJsonLines = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Print every question of a collection, as CSV that `import` reads."""

    def record(question: dict[str, Any]) -> list[object]:
        return [question["id"], question["text"]]

    run(
        url,
        key_file,
        lambda service: _export(service, "questions", collection, ("id", "text"), record, as_json),
    )


async def _serve(app: FastAPI, server: uvicorn.Server, listening: socket.socket) -> None:
    async with app.router.lifespan_context(app):
        host, port = listening.getsockname()[:2]
        err.print(
            f"Sameask answers at http://{host}:{port} (documentation: http://{host}:{port}/docs)",
            highlight=False,
            soft_wrap=True,
        )
        gc.collect()
        gc.freeze()  # what is loaded by now stays; walking through all of it would hold everybody up for 0.3 s at times
        # uvicorn raises the signal that ended it once more, for us: what is open here still has to be closed.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        await server.serve(sockets=[listening])


def _listen(settings: Settings) -> socket.socket:
    """Take the address before anything is loaded. Raises AddressInUse.

    The protocol is named, though there is only one: asyncio turns Nagle's algorithm off for no other socket, and with
    it an answer, which is written in two parts, waits 40 ms for the client to acknowledge the first.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise AddressInUse(
            f"can't listen on {settings.host}:{settings.port} (SAMEASK_PORT): {error.strerror}"
        ) from error
    return listening


def _score_cells(score: dict[str, Any]) -> list[RichText]:
    """Verdict, probability and similarity for a table, and whose word the verdict is."""
    verdict = score["verdict"]
    if label := score["label"]:
        verdict += ", people disagree" if label["contradicted"] else f", says {label['by']}"
    return [
        RichText(verdict),
        RichText(f"{score['probability']:.3f}"),
        RichText(f"{score['similarity']:.3f}"),
    ]


def _load(
    load: Load, collection: str, skip_bad: bool, url: str | None, key_file: Path | None
) -> None:
    """Check every row of a file, then import the good ones. Raises CommandError for bad ones, unless told to skip."""
    checks = [
        f"{load.file}:{row.line}: {problem}" if problem else None for row, problem in load.rows()
    ]
    bad = sum(1 for check in checks if check)
    for problem in [check for check in checks if check][:20]:
        err.print(problem, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if bad and not skip_bad:
        raise CommandError(
            f"{bad:,} broken rows in {load.file}: nothing was imported; --skip-bad imports the others"
        )
    totals = run(
        url, key_file, lambda service: _import(service, collection, load, len(checks) - bad)
    )
    out.print(
        ", ".join(f"{totals[name]:,} {name}" for name in load.counts)
        + (f", {bad:,} broken rows skipped" if bad else "")
    )


async def _import(
    service: httpx.AsyncClient, collection: str, load: Load, total: int
) -> dict[str, int]:
    """Write the good rows in batches, a few requests in flight, so that the model never waits for the wire."""
    totals = dict.fromkeys(load.counts, 0)
    batches = _batches(load)
    with _progress() as progress:
        task = progress.add_task("importing", total=total)

        async def work() -> None:
            for batch in batches:
                body = {"collection": collection, load.items: batch}
                written = await call(service, "POST", f"/{load.items}", json=body)
                for name in totals:
                    totals[name] += written[name]
                progress.advance(task, len(batch))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(IMPORTS_IN_FLIGHT):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
    return totals


def _batches(load: Load) -> Iterator[list[dict[str, object]]]:
    """The good rows, as many at a time as one request may hold."""
    most = Settings().max_body_bytes - ENVELOPE_BYTES
    batch: list[dict[str, object]] = []
    room = most
    for row, problem in load.rows():
        if problem:
            continue
        item = load.item(row)
        size = len(json.dumps(item, ensure_ascii=False).encode()) + 1
        if len(batch) == min(BATCH, load.most) or (batch and size > room):
            yield batch
            batch, room = [], most
        batch.append(item)
        room -= size
    if batch:
        yield batch


def _questions(file: Path, columns: tuple[str, str]) -> list[tuple[str, str]]:
    """(id, text) of every row. Raises CommandError for a broken one."""
    found = []
    for row, problem in _question_rows(file, columns):
        if problem:
            raise CommandError(f"{file}:{row.line}: {problem}")
        found.append((row.values[0], row.values[1]))
    return found


def _question_rows(file: Path, columns: tuple[str, str]) -> Iterator[tuple[Row, str | None]]:
    """Each row of a file of questions, and what is wrong with it."""
    max_characters = Settings().max_characters
    lines: dict[
        int, int
    ] = {}  # hash of an id -> its line; the ids themselves would take more memory
    for row in read_rows(file, columns):
        problem = row.error
        if not problem:
            id_, text = row.values
            problem = _problem(columns[0], id_, ID) or _text_problem(
                columns[1], text, max_characters
            )
        if not problem and (first := lines.setdefault(hash(row.values[0]), row.line)) != row.line:
            problem = f"{columns[0]} stands on line {first} already"
        yield row, problem


def _label_rows(file: Path, by: str | None) -> Iterator[tuple[Row, str | None]]:
    """Each row of a file of labels, and what is wrong with it."""
    max_characters = Settings().max_characters
    firsts: dict[
        int, tuple[int, object]
    ] = {}  # hash of a pair and a person -> the line, and what it says
    columns, optional = (
        (LABEL_COLUMNS[:3], LABEL_COLUMNS[4:]) if by else (LABEL_COLUMNS[:4], LABEL_COLUMNS[4:])
    )
    for row in read_rows(file, columns, optional):
        problem = row.error or _label_problem(row, by, max_characters)
        if not problem:
            label = _label(row, by)
            said = (label["is_duplicate"], label.get("note"))
            place = hash((pair_digest(*row.values[:2]), label["by"]))
            line, first = firsts.setdefault(place, (row.line, said))
            if said != first:
                problem = f"says otherwise than line {line} of the same pair"
        yield row, problem


def _label(row: Row, by: str | None) -> dict[str, object]:
    """What a good row says, as an item of `POST /labels`."""
    one, other, said = row.values[:3]
    label = {"questions": [one, other], "is_duplicate": truth(said), "by": by or row.values[3]}
    return {**label, "note": row.values[-1]} if row.values[-1] else label


def _label_problem(row: Row, by: str | None, max_characters: int) -> str | None:
    one, other, said, *_, note = row.values
    problems = [
        _text_problem(name, text, max_characters)
        for name, text in zip(LABEL_COLUMNS, (one, other), strict=False)
    ]
    problems.append("is_duplicate must be 0 or 1" if truth(said) is None else None)
    problems.append(_problem("by", by or row.values[3], PERSON))
    problems.append(_text_problem("note", note, max_characters) if note else None)
    if not any(problems) and digest(one) == digest(other):
        return "is a pair of a question with itself"
    return next((problem for problem in problems if problem), None)


def _text_problem(column: str, value: Any, max_characters: int) -> str | None:
    problem = _problem(column, value, TEXT)
    if not problem and len(value) > max_characters:
        return f"{column} has {len(value):,} characters; at most {max_characters:,} (SAMEASK_MAX_CHARACTERS)"
    return problem


def _problem(column: str, value: Any, kind: TypeAdapter[str]) -> str | None:
    try:
        kind.validate_python(value, strict=True)
    except ValidationError as error:
        return f"{column} {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    return None


async def _export(
    service: httpx.AsyncClient,
    items: str,
    collection: str,
    columns: Sequence[str],
    record: Callable[[dict[str, Any]], list[object]],
    as_json: bool,
) -> None:
    """Print all items of a list, page by page."""
    writer = csv.writer(sys.stdout)
    if not as_json:
        writer.writerow(columns)
    parameters = {"collection": collection, "limit": min(PAGE, Settings().max_page)}
    while True:
        page = await call(service, "GET", f"/{items}", params=parameters)
        for item in page[items]:
            if as_json:
                found = dict(zip(columns, record(item), strict=True))
                sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
            else:
                writer.writerow(record(item))
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield progress


def _setting_words(place: tuple[int | str, ...], words: str) -> str:
    """A rule that a setting breaks. One about several settings together begins with a setting's name itself."""
    words = words.removeprefix("Value error, ")
    return f"SAMEASK_{str(place[0]).upper()}: {words}" if place else words


def _fail(words: str) -> None:
    err.print(f"sameask: {words}", style="red", highlight=False, soft_wrap=True, markup=False)
    raise SystemExit(1)
