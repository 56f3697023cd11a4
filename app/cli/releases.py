"""`sameask releases`: which releases there are, which one is live, and how another takes its place."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.client import AsJson, KeyFile, Url, call, run
from app.errors import CommandError

LOOK_SECONDS = 0.2

releases = typer.Typer(
    help="Which release is live, and how another takes its place.", no_args_is_help=True
)
out = Console()
err = Console(stderr=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `sameask releases list` shows it.")]
Reason = Annotated[str, typer.Option(help="For the record.")]
Force = Annotated[
    str | None, typer.Option(help="Why it is to go live although its gate did not pass.")
]


@releases.command("list")
def list_(as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show every release: its state, its parent, when it was made and when it was last made live."""
    found = run(url, key_file, lambda service: call(service, "GET", "/admin/releases"))
    if as_json:
        out.print_json(data=found)
        return
    table = Table("name", "state", "parent", "made", "last live")
    for one in found["releases"]:
        cells = (
            one["name"],
            one["why"] or one["state"],
            one["parent"],
            one["created_at"],
            one["last_live_at"],
        )
        table.add_row(*(Text(cell or "") for cell in cells))
    out.print(table)


@releases.command()
def shadow(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Open a release beside the live one, and wait until it has caught up; `diff` then says what it would change."""

    async def open_(service: httpx.AsyncClient) -> None:
        progress = await call(service, "PUT", "/admin/releases/shadow", json={"release": name})
        with err.status("") as status:
            while progress["phase"] in ("opening", "indexing"):
                status.update(_words(progress))
                await asyncio.sleep(LOOK_SECONDS)
                progress = await call(service, "GET", "/admin/releases/shadow")
        _check(progress)
        out.print(Text(f"{name} has caught up"))

    run(url, key_file, open_)


@releases.command()
def diff(
    name: Name,
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="The collection.")
    ] = "default",
    limit: Annotated[int, typer.Option(min=1, help="Most examples.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show which verdicts would change if the shadow went live, over the stored questions' nearest pairs."""
    parameters = {"collection": collection, "limit": limit}
    path = f"/admin/releases/{name}/diff"
    found = run(url, key_file, lambda service: call(service, "GET", path, params=parameters))
    if as_json:
        out.print_json(data=found)
        return
    title = f"{found['changed']:,} of {found['pairs'] - found['labelled']:,} pairs would change"
    table = Table(found["live"], found["shadow"], "questions", title=title)
    for one in found["examples"]:
        said = (
            f"{one[side]['verdict']} {one[side]['probability']:.3f}" for side in ("live", "shadow")
        )
        table.add_row(
            *map(Text, said), Text("\n".join(question["text"] for question in one["questions"]))
        )
    out.print(table)


@releases.command()
def activate(
    name: Name, reason: Reason = "", force: Force = None, url: Url = None, key_file: KeyFile = None
) -> None:
    """Make a release live, and wait until it is; no request fails meanwhile."""
    body = {"release": name, "reason": reason, "force": force}
    run(url, key_file, lambda service: _swap(service, "PUT", "/admin/releases/live", body))


@releases.command()
def rollback(reason: Reason = "", url: Url = None, key_file: KeyFile = None) -> None:
    """Make the release live that was live before, and wait until it is."""
    run(
        url,
        key_file,
        lambda service: _swap(service, "POST", "/admin/releases/live/rollback", {"reason": reason}),
    )


@releases.command()
def remove(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Remove a release that was trained here, with its snapshots."""
    run(url, key_file, lambda service: call(service, "DELETE", f"/admin/releases/{name}"))
    out.print(Text(f"{name} is removed"))


async def _swap(
    service: httpx.AsyncClient, method: str, path: str, body: Mapping[str, object]
) -> None:
    live: dict[str, Any] = await call(service, method, path, json=body)
    with err.status("") as status:
        while live["swap"]:
            _check(live["swap"])
            status.update(_words(live["swap"]))
            await asyncio.sleep(LOOK_SECONDS)
            live = await call(service, "GET", "/admin/releases/live")
    out.print(Text(f"{live['release']} is live"))


def _check(progress: dict[str, Any]) -> None:
    """Raise CommandError if the shadow failed."""
    if progress["failure"]:
        raise CommandError(
            f"{progress['release']} failed, the live release is as it was: {progress['failure']}"
        )


def _words(progress: dict[str, Any]) -> str:
    return f"{progress['phase']}: {progress['questions_indexed']:,} of {progress['questions']:,} questions"
