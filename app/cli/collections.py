"""`sameask collections`: list them, make and delete them, and set the wishes for each."""

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from app.cli.client import run
from app.cli.options import AsJson, KeyFile, Url
from app.cli.terminal import cell, print_line, print_result, print_table
from app.errors import CommandError
from sameask_client import UNSET, AsyncClient, Collection, Thresholds
from sameask_client.operation import Unset

NONE = "none"

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
        print_result(stored)
        return
    table = Table("name", "questions", "target precision", "duplicate from", "review from", "by")
    for collection in stored:
        thresholds = _thresholds(collection)
        table.add_row(
            cell(collection.name),
            cell(f"{collection.questions:,}"),
            cell(collection.target_precision),
            cell(_probability(thresholds.duplicate)),
            cell(_probability(thresholds.review)),
            cell(f"the {thresholds.source}'s labels"),
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
    made = run(url, key_file, lambda service: wishes.tell(service, name))
    print_line(f"collection {made.name}: {made.questions:,} questions, {_words(made)}")


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
    if wishes == _Wishes():
        raise typer.BadParameter(
            "nothing to change: give --target-precision, --review-recall or --url-template"
        )

    async def change(service: AsyncClient) -> Collection:
        await service.read_collection(name)  # or it would be made
        return await wishes.tell(service, name)

    changed = run(url, key_file, change)
    print_line(f"collection {changed.name}: {_words(changed)}")


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
    run(url, key_file, lambda service: service.delete_collection(name))
    print_line(f"collection {name} is deleted")


async def _all(service: AsyncClient) -> tuple[Collection, ...]:
    return tuple([collection async for collection in service.list_collections()])


@dataclass(frozen=True)
class _Wishes:
    """The wishes for a collection: None takes a wish back, UNSET leaves it as it is."""

    target_precision: float | Unset | None = UNSET
    review_recall: float | Unset | None = UNSET
    url_template: str | Unset | None = UNSET

    async def tell(self, service: AsyncClient, name: str) -> Collection:
        """Make or change the collection."""
        return await service.create_collection(
            name,
            target_precision=self.target_precision,
            review_recall=self.review_recall,
            url_template=self.url_template,
        )


def _wishes(
    target_precision: str | None, review_recall: str | None, url_template: str | None
) -> _Wishes:
    """The options' values as wishes. Raises CommandError."""
    template: str | Unset | None = UNSET if url_template is None else url_template
    return _Wishes(
        _number("target-precision", target_precision),
        _number("review-recall", review_recall),
        None if template == NONE else template,
    )


def _number(option: str, given: str | None) -> float | Unset | None:
    if given is None:
        return UNSET
    try:
        return None if given == NONE else float(given)
    except ValueError:
        raise CommandError(f"--{option} must be a number or `{NONE}`, not {given!r}") from None


def _words(collection: Collection) -> str:
    thresholds = _thresholds(collection)
    duplicate = _probability(thresholds.duplicate)
    begins = f"`duplicate` from {duplicate} on" if duplicate else "nothing is called `duplicate`"
    return f"{begins}, by the {thresholds.source}'s labels"


def _thresholds(collection: Collection) -> Thresholds:
    """Raises CommandError for a service that is too old to tell."""
    if collection.thresholds is None:
        raise CommandError("the server tells no thresholds: it is older than this command")
    return collection.thresholds


def _probability(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
