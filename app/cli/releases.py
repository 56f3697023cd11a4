"""`sameask releases`: which releases there are, which one is live, and how another takes its place."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from app.cli.client import call, request, run
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import cell, err, out, print_json, print_table
from app.errors import CommandError

LOOK_SECONDS = 0.2
RELEASES = "/admin/releases"
LIVE = "/admin/releases/live"
SHADOW = "/admin/releases/shadow"
ROLLBACK = "/admin/releases/live/rollback"

releases = typer.Typer(
    help="Which release is live, and how another takes its place.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `sameask releases list` shows it.")]
Reason = Annotated[str, typer.Option(help="For the record.")]
Force = Annotated[
    str | None, typer.Option(help="Why it is to go live although its gate did not pass.")
]


@releases.command("list")
def list_(as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show every release: its state, its parent, when it was made and when it was last made live."""
    answer = request(url, key_file, "GET", RELEASES)
    if as_json:
        print_json(answer)
        return
    table = Table("name", "state", "parent", "made", "last live")
    for release in answer["releases"]:
        table.add_row(
            cell(release["name"]),
            cell(release["why"] or release["state"]),
            cell(release["parent"]),
            cell(release["created_at"]),
            cell(release["last_live_at"]),
        )
    print_table(table)


@releases.command()
def shadow(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Open a release beside the live one, and wait until it has caught up; `diff` then says what it would change."""
    run(url, key_file, lambda service: _open_shadow(service, name))
    out.print(cell(f"{name} has caught up"))


@releases.command()
def diff(
    name: Name,
    collection: InCollection = "default",
    limit: Annotated[int, typer.Option(min=1, help="Most examples.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show which verdicts would change if the shadow went live, over the stored questions' nearest pairs."""
    parameters = {"collection": collection, "limit": limit}
    answer = request(url, key_file, "GET", f"{RELEASES}/{name}/diff", params=parameters)
    if as_json:
        print_json(answer)
        return
    unlabelled = answer["pairs"] - answer["labelled"]
    title = f"{answer['changed']:,} of {unlabelled:,} pairs would change"
    table = Table(title=title)
    for heading in (answer["live"], answer["shadow"], "questions"):
        table.add_column(cell(heading))
    for example in answer["examples"]:
        texts = "\n".join(question["text"] for question in example["questions"])
        live = _judgement(example["live"])
        shadow = _judgement(example["shadow"])
        table.add_row(cell(live), cell(shadow), cell(texts))
    print_table(table)


@releases.command()
def activate(
    name: Name, reason: Reason = "", force: Force = None, url: Url = None, key_file: KeyFile = None
) -> None:
    """Make a release live, and wait until it is; no request fails meanwhile."""
    body = {"release": name, "reason": reason, "force": force}
    run(url, key_file, lambda service: _swap(service, "PUT", LIVE, body))


@releases.command()
def rollback(reason: Reason = "", url: Url = None, key_file: KeyFile = None) -> None:
    """Make the release live that was live before, and wait until it is."""
    run(url, key_file, lambda service: _swap(service, "POST", ROLLBACK, {"reason": reason}))


@releases.command()
def remove(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Remove a release that was trained here, with its snapshots."""
    request(url, key_file, "DELETE", f"{RELEASES}/{name}")
    out.print(cell(f"{name} is removed"))


async def _open_shadow(service: httpx.AsyncClient, name: str) -> None:
    """Raises CommandError if the shadow fails."""
    progress = await call(service, "PUT", SHADOW, json={"release": name})
    with err.status("") as status:
        while progress["phase"] in ("opening", "indexing"):
            status.update(_words(progress))
            await asyncio.sleep(LOOK_SECONDS)
            progress = await call(service, "GET", SHADOW)
    _check(progress)


async def _swap(
    service: httpx.AsyncClient, method: str, path: str, body: Mapping[str, object]
) -> None:
    """Ask for a swap, and wait until it is done. Raises CommandError if it fails."""
    live: dict[str, Any] = await call(service, method, path, json=body)
    with err.status("") as status:
        while live["swap"]:
            _check(live["swap"])
            status.update(_words(live["swap"]))
            await asyncio.sleep(LOOK_SECONDS)
            live = await call(service, "GET", LIVE)
    out.print(cell(f"{live['release']} is live"))


def _check(progress: dict[str, Any]) -> None:
    """Raise CommandError if the shadow failed."""
    if progress["failure"]:
        raise CommandError(
            f"{progress['release']} failed, the live release is as it was: {progress['failure']}"
        )


def _judgement(score: dict[str, Any]) -> str:
    return f"{score['verdict']} {score['probability']:.3f}"


def _words(progress: dict[str, Any]) -> str:
    done = progress["questions_indexed"]
    total = progress["questions"]
    return f"{progress['phase']}: {done:,} of {total:,} questions"
