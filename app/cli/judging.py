"""`sameask label`, `sameask undo` and `sameask review`: what a person says of pairs, one at a time."""

import asyncio
import getpass
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.client import run
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import out, print_line, print_note, print_result
from app.errors import CommandError
from app.fields import MAX_NUMBER
from sameask_client import AsyncClient, NewLabel, OfferedPair

LOOK_SECONDS = 0.2
KEYS = "[d]uplicate  di[f]ferent  [s]kip  [u]ndo the last  [q]uit"

By = Annotated[
    str | None,
    typer.Option(
        help="Who says so. Left out, it is the key's name; without --url, who is logged in here."
    ),
]


def label(
    question1: Annotated[str, typer.Argument(help="One question, or its id with --ids.")],
    question2: Annotated[str, typer.Argument(help="The other.")],
    is_duplicate: Annotated[
        bool | None,
        typer.Option("--duplicate/--different", help="Whether the two ask the same."),
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="Both are ids of stored questions, not texts.")
    ] = False,
    note: Annotated[str | None, typer.Option(help="Anything, for the record.")] = None,
    by: By = None,
    collection: InCollection = "default",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Say of two questions whether they ask the same. The next answer keeps to it."""
    if is_duplicate is None:
        raise typer.BadParameter("say --duplicate or --different")
    pair = (question1, question2)
    said = NewLabel(
        is_duplicate=is_duplicate,
        by=_speaker(by, url),
        ids=pair if ids else None,
        questions=None if ids else pair,
        note=note,
    )
    labelled = run(
        url, key_file, lambda service: service.label_pairs([said], collection=collection)
    )
    if as_json:
        print_result(labelled)
        return
    (given,) = labelled.labels
    contradicted = "; another person says the opposite" if given.contradicted else ""
    print_line(f"label {given.id}{contradicted}")


def undo(
    label_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="Of the label.")
    ],
    by: By = None,
    collection: InCollection = "default",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Undo a label: the next answer is as if it had not been given. It stays for the record."""
    speaker = _speaker(by, url)
    undone = run(
        url,
        key_file,
        lambda service: service.undo_label(label_id, by=speaker, collection=collection),
    )
    if as_json:
        print_result(undone)
        return
    said = "duplicate" if undone.is_duplicate else "different"
    print_line(f"label {label_id} ({said}, by {undone.by}) is undone")


def review(
    collection: InCollection = "default",
    by: By = None,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Label the pairs of the review queue, one after the other: a key and Enter for each."""
    run(url, key_file, lambda service: _Sitting(service, collection, _speaker(by, url)).hold())


class _Sitting:
    """One person before the review queue of one collection."""

    def __init__(self, service: AsyncClient, collection: str, speaker: str | None) -> None:
        self._service = service
        self._collection = collection
        self._speaker = speaker
        self._labels: list[int] = []
        self._skipped = 0

    async def hold(self) -> None:
        """Offer pairs until there are none, or the person quits."""
        print_note(KEYS)
        answers = _answers()
        while (pair := await self._next()) and await self._answered(pair, answers):
            pass
        print_line(f"{len(self._labels):,} labelled, {self._skipped:,} skipped")

    async def _next(self) -> OfferedPair | None:
        """The next pair. Waits while near pairs are still looked for and none is there."""
        while True:
            queue = await self._service.read_review_queue(
                self._collection, by=self._speaker, limit=1
            )
            if queue.pairs or not queue.to_read:
                return queue.pairs[0] if queue.pairs else None
            await asyncio.sleep(LOOK_SECONDS)

    async def _answered(self, pair: OfferedPair, answers: Iterator[str]) -> bool:
        """Whether to go on, after an answer to this pair."""
        _show(pair)
        for answer in answers:
            if answer in ("d", "f"):
                await self._label(pair, answer == "d")
                return True
            if answer == "s":
                await self._skip(pair)
                return True
            if answer == "u" and self._labels:
                await self._undo()
                return True
            if answer == "q":
                return False
            print_note(KEYS)
        return False

    async def _label(self, pair: OfferedPair, is_duplicate: bool) -> None:
        one, other = (question.text for question in pair.questions)
        said = NewLabel(questions=(one, other), is_duplicate=is_duplicate, by=self._speaker)
        labelled = await self._service.label_pairs([said], collection=self._collection)
        self._labels.append(labelled.labels[0].id)

    async def _skip(self, pair: OfferedPair) -> None:
        await self._service.skip_pair(self._collection, pair.id, by=self._speaker)
        self._skipped += 1

    async def _undo(self) -> None:
        label_id = self._labels.pop()
        await self._service.undo_label(label_id, by=self._speaker, collection=self._collection)
        print_note(f"label {label_id} is undone")


def _show(pair: OfferedPair) -> None:
    out.print()
    for question in pair.questions:
        print_line(f"  {question.text}")
    print_note(f"  {pair.verdict}, probability {pair.probability:.3f}")


def _answers() -> Iterator[str]:
    """The first letter of each line of standard input."""
    for line in sys.stdin:
        yield line.strip().lower()[:1]


def _speaker(by: str | None, url: str | None) -> str | None:
    """The name to label under; None where the server knows it by the key. Raises CommandError."""
    if by is None and url:
        return None
    try:
        return by or getpass.getuser()
    except (KeyError, OSError) as error:
        raise CommandError("who says so? Nobody is logged in here: --by names somebody") from error
