"""`sameask runs`: start, list, follow, cancel and resume training runs."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, cast, get_args

import typer
from rich.table import Table

from app.cli.client import run, run_and_watch
from app.cli.options import AsJson, KeyFile, Url
from app.cli.terminal import cell, print_note, print_result, print_table
from app.errors import CommandError
from app.fields import MAX_NUMBER
from app.settings import TargetPrecision
from sameask_client import AsyncClient, TrainingRun, as_document
from sameask_client.training_runs import Recipe

LOOK_SECONDS = 1.0

runs = typer.Typer(
    help="Training runs: a collection's labels become a release. A server works on them, or `sameask worker`.",
    no_args_is_help=True,
    add_completion=False,
)

RunId = Annotated[
    int,
    typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="As `sameask runs list` shows it."),
]


@runs.command()
def start(
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Whose labels it learns from.")
    ] = "default",
    recipe: Annotated[
        str, typer.Option(help="`calibration`, `classifier`, `encoder` or `both`.")
    ] = "both",
    data_set: Annotated[
        str | None, typer.Option(help="A data set that the server allows, beside labels.")
    ] = None,
    target_precision: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(get_args(TargetPrecision))}: where recall is compared."
        ),
    ] = "0.90",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Queue a training run for a collection."""
    started = run(
        url,
        key_file,
        lambda service: service.start_training(
            collection=collection,
            recipe=cast(Recipe, recipe),  # the service says no to another one
            data_set=data_set,
            target_precision=cast(TargetPrecision, target_precision),
        ),
    )
    _show(started, as_json)


@runs.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="Most runs to show.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show the latest training runs."""
    latest = run(url, key_file, lambda service: _latest(service, limit))
    if as_json:
        print_result(latest)
        return
    table = Table("id", "collection", "state", "created", "release", "gate")
    for training_run in latest:
        table.add_row(
            cell(training_run.id),
            cell(training_run.collection),
            cell(_state(training_run)),
            cell(as_document(training_run.created_at)),
            cell(training_run.release),
            cell(_gate(training_run).get("outcome")),
        )
    print_table(table)


@runs.command()
def show(run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show one training run: how far it is, and what came of it."""
    _show(run(url, key_file, lambda service: service.read_training_run(run_id)), as_json)


@runs.command()
def cancel(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Cancel a training run; one that runs stops within 10 s."""
    _show(run(url, key_file, lambda service: service.cancel_training_run(run_id)), as_json)


@runs.command()
def resume(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Queue a failed or interrupted training run again; it goes on from its last checkpoint."""
    _show(run(url, key_file, lambda service: service.resume_training_run(run_id)), as_json)


@runs.command()
def watch(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Follow a training run to its end; the exit code is 1 unless it succeeds."""
    training_run = run_and_watch(
        url, key_file, lambda service, watching: _watch(service, watching, run_id)
    )
    _show(training_run, as_json)
    if training_run.state != "succeeded":
        raise CommandError(f"training run {run_id} has ended: {training_run.state}")


async def _latest(service: AsyncClient, limit: int) -> tuple[TrainingRun, ...]:
    """So many runs, by pages of the server's size."""
    latest: list[TrainingRun] = []
    async for training_run in service.list_training_runs():
        latest.append(training_run)
        if len(latest) == limit:
            break
    return tuple(latest)


async def _watch(service: AsyncClient, watching: AsyncClient, run_id: int) -> TrainingRun:
    """The run, once it is over; its progress is printed as it changes."""
    printed = ""
    training_run = await service.read_training_run(run_id)
    while not training_run.is_over:
        words = f"{_state(training_run)}  {_progress(training_run)}".rstrip()
        if words != printed:
            print_note(words)
            printed = words
        await asyncio.sleep(LOOK_SECONDS)
        training_run = await watching.read_training_run(run_id)
    return training_run


def _show(training_run: TrainingRun, as_json: bool) -> None:
    if as_json:
        print_result(training_run)
        return
    gate = _gate(training_run)
    rows = {
        "id": training_run.id,
        "collection": training_run.collection,
        "recipe": training_run.recipe,
        "state": _state(training_run),
        "progress": _progress(training_run),
        "release": training_run.release,
        "gate": gate.get("outcome"),
        "reasons": "\n".join(map(str, gate.get("reasons") or [])),
        "error": training_run.error,
    }
    table = Table(show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, cell(value))
    print_table(table)


def _gate(training_run: TrainingRun) -> Mapping[str, Any]:
    return training_run.gate or {}


def _state(training_run: TrainingRun) -> str:
    return "being cancelled" if training_run.cancelling else training_run.state


def _progress(training_run: TrainingRun) -> str:
    """`training 3/9, loss 0.512, 40 s left`, as far as it is known."""
    progress = training_run.progress
    if not progress:
        return ""
    phase = progress.phase
    if progress.steps and progress.step is not None:
        phase += f" {progress.step:,}/{progress.steps:,}"
    parts = [phase]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.eta_seconds is not None:
        parts.append(f"{progress.eta_seconds:,.0f} s left")
    return ", ".join(parts)
