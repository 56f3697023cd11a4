"""`sameask releases`: list releases, compare them, and make another one live."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from app.cli.client import run, run_and_watch
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import cell, err, out, print_result, print_table
from app.errors import CommandError
from sameask_client import AsyncClient, Judgement, LiveRelease, SwapProgress, as_document

LOOK_SECONDS = 0.2

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
    answer = run(url, key_file, AsyncClient.list_releases)
    if as_json:
        print_result(answer)
        return
    table = Table("name", "state", "parent", "made", "last live")
    for release in answer.releases:
        table.add_row(
            cell(release.name),
            cell(release.why or release.state),
            cell(release.parent),
            cell(release.created_at),
            cell(as_document(release.last_live_at)),
        )
    print_table(table)


@releases.command()
def shadow(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Open a release beside the live one, and wait until it has caught up; `diff` then says what it would change."""
    run_and_watch(url, key_file, lambda service, watching: _open_shadow(service, watching, name))
    out.print(cell(f"{name} has caught up"))


@releases.command()
def diff(
    name: Name,
    collection: InCollection = "default",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Most examples; left out, 100 or as many as the server allows."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show which verdicts would change if the shadow went live, over the stored questions' nearest pairs."""
    answer = run(
        url,
        key_file,
        lambda service: service.compare_release(name, collection=collection, limit=limit),
    )
    if as_json:
        print_result(answer)
        return
    unlabelled = answer.pairs - answer.labelled
    title = f"{answer.changed:,} of {unlabelled:,} pairs would change"
    table = Table(title=title)
    for heading in (answer.live, answer.shadow, "questions"):
        table.add_column(cell(heading))
    for example in answer.examples:
        texts = "\n".join(question.text for question in example.questions)
        live = _judgement(example.live)
        shadow = _judgement(example.shadow)
        table.add_row(cell(live), cell(shadow), cell(texts))
    print_table(table)


@releases.command()
def activate(
    name: Name, reason: Reason = "", force: Force = None, url: Url = None, key_file: KeyFile = None
) -> None:
    """Make a release live, and wait until it is; no request fails meanwhile."""

    async def swap(service: AsyncClient, watching: AsyncClient) -> None:
        await _swapped(watching, await service.activate_release(name, reason=reason, force=force))

    run_and_watch(url, key_file, swap)


@releases.command()
def rollback(reason: Reason = "", url: Url = None, key_file: KeyFile = None) -> None:
    """Make the release live that was live before, and wait until it is."""

    async def swap(service: AsyncClient, watching: AsyncClient) -> None:
        await _swapped(watching, await service.roll_back_release(reason=reason))

    run_and_watch(url, key_file, swap)


@releases.command()
def remove(name: Name, url: Url = None, key_file: KeyFile = None) -> None:
    """Remove a release that was trained here, with its snapshots."""
    run(url, key_file, lambda service: service.remove_release(name))
    out.print(cell(f"{name} is removed"))


async def _open_shadow(service: AsyncClient, watching: AsyncClient, name: str) -> None:
    """Raises CommandError if the shadow fails."""
    progress = await service.open_shadow(name)
    with err.status("") as status:
        while progress.phase in ("opening", "indexing", "promising"):
            status.update(_words(progress))
            await asyncio.sleep(LOOK_SECONDS)
            progress = await watching.read_shadow()
    _check(progress)


async def _swapped(watching: AsyncClient, live: LiveRelease) -> None:
    """Wait until a swap is done. Raises CommandError if it fails, or is ended meanwhile."""
    wanted = live.swap.release if live.swap else live.release
    with err.status("") as status:
        while live.swap:
            _check(live.swap)
            status.update(_words(live.swap))
            await asyncio.sleep(LOOK_SECONDS)
            live = await watching.read_live_release()
    if live.release != wanted:
        raise CommandError(f"{live.release} is live: the swap to {wanted} was ended meanwhile")
    out.print(cell(f"{live.release} is live"))


def _check(progress: SwapProgress) -> None:
    """Raise CommandError if the shadow failed."""
    if progress.failure:
        raise CommandError(
            f"{progress.release} failed, the live release is as it was: {progress.failure}"
        )


def _judgement(score: Judgement) -> str:
    return f"{score.verdict} {score.probability:.3f}"


def _words(progress: SwapProgress) -> str:
    done, total = progress.questions_indexed, progress.questions
    return f"{progress.phase}: {done:,} of {total:,} questions"
