"""`sameask evidence`: what the labels of a collection support."""

from rich.table import Table

from app.cli.client import run
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import cell, print_line, print_result, print_table
from sameask_client import Evidence, Promise

TOO_FEW = "too few pairs"  # so high that any number of labels on them would support the precision


def evidence(
    collection: InCollection = "default",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Show the precisions of `duplicate` that the labels support, and how many labels the others lack."""
    answer = run(url, key_file, lambda service: service.read_evidence(collection))
    if as_json:
        print_result(answer)
        return
    table = Table(
        "target precision", "duplicate from", "precision at least", "recall", "labels", "lacking"
    )
    for promise in answer.promises:
        table.add_row(*map(cell, _cells(promise)))
    print_table(table)
    print_line(_words(answer))


def _cells(promise: Promise) -> list[object]:
    return [
        promise.target_precision,
        _figure(promise.duplicate),
        _figure(promise.precision_bound),
        _figure(promise.recall),
        promise.labels,
        TOO_FEW if promise.lacking is None else promise.lacking,
    ]


def _words(answer: Evidence) -> str:
    labels, near = answer.labels, answer.near_pairs
    people = ", ".join(f"{one.by} {one.labels:,}" for one in labels.by) or "nobody"
    counted = f"{labels.counted:,} labels count, by {people}"
    pairs = f"{near.known:,} near pairs, {near.to_read:,} questions to look at"
    source = f"`duplicate` begins by the {answer.thresholds.source}'s labels"
    return f"{counted}; {pairs}; {source}"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
