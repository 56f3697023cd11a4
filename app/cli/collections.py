"""`sameask collections`: which there are, how they are made and deleted, and what is wished of each."""

from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from app.cli.client import call, request, run
from app.cli.options import AsJson, KeyFile, Url
from app.cli.terminal import cell, print_json, print_line, print_table
from app.errors import CommandError
from app.settings import Settings

NONE = "none"
MAX_ITEMS = 1000  # of one page

collections = typer.Typer(
    help="Collections: list, make, delete, and say which precision `duplicate` is to have.",
    no_args_is_help=True,
    add_completion=False,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As `sameask collections list` shows it.")
]
Target = Annotated[
    str | None,
    typer.Option(
        help=f"The precision that `duplicate` is to have, as 0.95; `{NONE}` takes the wish back."
    ),
]
Recall = Annotated[
    str | None,
    typer.Option(
        help=f"The share of duplicates that `review` and `duplicate` are to hold; `{NONE}` takes it back."
    ),
]
UrlTemplate = Annotated[
    str | None,
    typer.Option(
        help=f"Where a question is read, as `https://forum.example/t/{{id}}`; `{NONE}` takes it back."
    ),
]


@collections.command("list")
def list_(as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show every collection: its questions, and where its verdicts begin."""
    stored = run(url, key_file, _all)
    if as_json:
        print_json(stored)
        return
    table = Table("name", "questions", "target precision", "duplicate from", "review from", "by")
    for collection in stored:
        thresholds = collection["thresholds"]
        table.add_row(
            cell(collection["name"]),
            cell(f"{collection['questions']:,}"),
            cell(collection["target_precision"]),
            cell(_probability(thresholds["duplicate"])),
            cell(_probability(thresholds["review"])),
            cell(f"the {thresholds['source']}'s labels"),
        )
    print_table(table)


@collections.command()
def create(
    name: Name,
    target_precision: Target = None,
    review_recall: Recall = None,
    url_template: UrlTemplate = None,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Make a collection; one that is there stays as it is, but for what is wished."""
    wishes = _wishes(target_precision, review_recall, url_template)
    made = request(url, key_file, "PUT", f"/collections/{name}", json=wishes)
    print_line(f"collection {made['name']}: {made['questions']:,} questions, {_words(made)}")


@collections.command("set")
def set_(
    name: Name,
    target_precision: Target = None,
    review_recall: Recall = None,
    url_template: UrlTemplate = None,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Change what is wished of a collection that is there."""
    wishes = _wishes(target_precision, review_recall, url_template)
    if not wishes:
        raise CommandError(
            "nothing is to be changed: --target-precision, --review-recall or --url-template says what"
        )

    async def change(service: httpx.AsyncClient) -> Any:
        await call(service, "GET", f"/collections/{name}")  # or it would be made
        return await call(service, "PUT", f"/collections/{name}", json=wishes)

    changed = run(url, key_file, change)
    print_line(f"collection {changed['name']}: {_words(changed)}")


@collections.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Delete a collection with all its questions and labels."""
    if not yes:
        typer.confirm(f"Delete {name} with all its questions and labels?", abort=True, err=True)
    request(url, key_file, "DELETE", f"/collections/{name}")
    print_line(f"collection {name} is deleted")


async def _all(service: httpx.AsyncClient) -> list[dict[str, Any]]:
    parameters: dict[str, Any] = {"limit": min(MAX_ITEMS, Settings().max_page)}
    stored: list[dict[str, Any]] = []
    while True:
        page = await call(service, "GET", "/collections", params=parameters)
        stored += page["collections"]
        if page["next_cursor"] is None:
            return stored
        parameters["cursor"] = page["next_cursor"]


def _wishes(
    target_precision: str | None, review_recall: str | None, url_template: str | None
) -> dict[str, float | str | None]:
    """What is said of a collection: `none` is null. Raises CommandError."""
    numbers = {"target_precision": target_precision, "review_recall": review_recall}
    wishes: dict[str, float | str | None] = {
        name: _number(name, given) for name, given in numbers.items() if given is not None
    }
    if url_template is not None:
        wishes["url_template"] = None if url_template == NONE else url_template
    return wishes


def _number(name: str, given: str) -> float | None:
    try:
        return None if given == NONE else float(given)
    except ValueError:
        option = name.replace("_", "-")
        raise CommandError(f"--{option} must be a number or `{NONE}`, not {given!r}") from None


def _words(collection: dict[str, Any]) -> str:
    thresholds = collection["thresholds"]
    duplicate = _probability(thresholds["duplicate"])
    begins = f"`duplicate` from {duplicate} on" if duplicate else "nothing is called `duplicate`"
    return f"{begins}, by the {thresholds['source']}'s labels"


def _probability(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
