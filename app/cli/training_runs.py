"""`sameask runs` asks a server for training runs, over HTTP like other commands; `sameask worker` works on them, beside
a server or without one, in the data directory."""

import asyncio
import json
import os
import pkgutil
import signal
import socket
from typing import Annotated, Any, get_args

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.client import KeyFile, Url, call, log_to_stderr, run
from app.errors import CommandError
from app.http.fields import MAX_NUMBER
from app.settings import Settings, TargetPrecision

LOOK_SECONDS = 1.0
RUNS = "/admin/training-runs"
OVER = ("succeeded", "failed", "cancelled", "interrupted")

runs = typer.Typer(
    help="Training runs: a collection's labels become a release. A server works on them, or `sameask worker`.",
    no_args_is_help=True,
)
out = Console()
err = Console(stderr=True)

RunId = Annotated[
    int,
    typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="As `sameask runs list` shows it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


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
    body = {
        "collection": collection,
        "recipe": recipe,
        "data_set": data_set,
        "target_precision": target_precision,
    }
    found = run(url, key_file, lambda service: call(service, "POST", "/admin/retrain", json=body))
    _show(found, as_json)


@runs.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="Most runs to show.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show the latest training runs."""
    size = min(limit, Settings().max_page)
    page = run(url, key_file, lambda service: call(service, "GET", RUNS, params={"limit": size}))
    if as_json:
        typer.echo(json.dumps(page["training_runs"], indent=2, ensure_ascii=False))
        return
    table = Table("id", "collection", "state", "created", "release", "gate")
    for found in page["training_runs"]:
        outcome = str((found["gate"] or {}).get("outcome", ""))
        cells = (
            str(found["id"]),
            found["collection"],
            _state(found),
            found["created_at"],
            found["release"] or "",
        )
        table.add_row(*map(Text, (*cells, outcome)))
    out.print(table)


@runs.command()
def show(run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show one training run: how far it is, and what came of it."""
    _show(run(url, key_file, lambda service: call(service, "GET", f"{RUNS}/{run_id}")), as_json)


@runs.command()
def cancel(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Cancel a training run; one that runs stops within 10 s."""
    _show(
        run(url, key_file, lambda service: call(service, "POST", f"{RUNS}/{run_id}/cancel")),
        as_json,
    )


@runs.command()
def resume(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Queue a failed or interrupted training run again; it goes on from its last checkpoint."""
    _show(
        run(url, key_file, lambda service: call(service, "POST", f"{RUNS}/{run_id}/resume")),
        as_json,
    )


@runs.command()
def watch(
    run_id: RunId, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None
) -> None:
    """Follow a training run to its end; the exit code is 1 unless it succeeds."""
    found = run(url, key_file, lambda service: _watch(service, run_id))
    _show(found, as_json)
    if found["state"] != "succeeded":
        raise CommandError(f"training run {run_id} has ended: {found['state']}")


def worker() -> None:
    """Work on training runs in the data directory, beside a server or without one, until told to stop.

    A run that is under way then goes on, and whoever works next finds it again.
    """
    settings = Settings()
    log_to_stderr(settings)
    with pkgutil.resolve_name("app.data_directory:shared")(settings.data_dir) as store:
        holder = f"worker {os.getpid()} at {socket.gethostname()}"
        asyncio.run(
            _work(
                pkgutil.resolve_name("app.training_runs.worker:Worker")(
                    store, settings, holder=holder
                )
            )
        )


async def _work(worker: Any) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with worker.running():
        err.print(
            "works on training runs until it is told to stop", highlight=False, soft_wrap=True
        )
        await told.wait()


async def _watch(service: httpx.AsyncClient, run_id: int) -> dict[str, Any]:
    """The run, once it is over; what it does until then is printed as it changes."""
    said = ""
    while True:
        found: dict[str, Any] = await call(service, "GET", f"{RUNS}/{run_id}")
        if found["state"] in OVER:
            return found
        if (words := f"{_state(found)}  {_progress(found)}".rstrip()) != said:
            err.print(words, highlight=False, markup=False, soft_wrap=True)
            said = words
        await asyncio.sleep(LOOK_SECONDS)


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    gate = found["gate"] or {}
    rows = {
        "id": str(found["id"]),
        "collection": found["collection"],
        "recipe": found["recipe"],
        "state": _state(found),
        "progress": _progress(found),
        "release": found["release"],
        "gate": gate.get("outcome"),
        "reasons": "\n".join(map(str, gate.get("reasons") or [])),
        "error": found["error"],
    }
    table = Table(show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(str(value)))
    out.print(table)


def _state(found: dict[str, Any]) -> str:
    return "being cancelled" if found["cancelling"] else str(found["state"])


def _progress(found: dict[str, Any]) -> str:
    """`training 3/9, loss 0.512, 40 s left`, as far as it is known."""
    progress = found["progress"]
    if not progress:
        return ""
    step = (
        f" {progress['step']:,}/{progress['steps']:,}"
        if progress["steps"] and progress["step"] is not None
        else ""
    )
    parts = [progress["phase"] + step]
    parts += [f"loss {progress['loss']:.3f}"] if progress["loss"] is not None else []
    parts += (
        [f"{progress['eta_seconds']:,.0f} s left"] if progress["eta_seconds"] is not None else []
    )
    return ", ".join(parts)
