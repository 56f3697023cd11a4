"""`sameask label`, `sameask undo` and `sameask review`: what a person says of pairs, one at a time."""

import asyncio
import getpass
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer

from app.cli.client import call, request, run
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import out, print_json, print_line, print_note
from app.errors import CommandError
from app.fields import MAX_NUMBER

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
        raise CommandError("say --duplicate or --different")
    pair = {"ids" if ids else "questions": [question1, question2], "is_duplicate": is_duplicate}
    body = {"collection": collection, "labels": [pair | _speaker(by, url) | _noted(note)]}
    labelled = request(url, key_file, "POST", "/labels", json=body)
    if as_json:
        print_json(labelled)
        return
    (given,) = labelled["labels"]
    contradicted = "; another person says the opposite" if given["contradicted"] else ""
    print_line(f"label {given['id']}{contradicted}")


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
    parameters = {"collection": collection} | _speaker(by, url)
    undone = request(url, key_file, "DELETE", f"/labels/{label_id}", params=parameters)
    if as_json:
        print_json(undone)
        return
    said = "duplicate" if undone["is_duplicate"] else "different"
    print_line(f"label {label_id} ({said}, by {undone['by']}) is undone")


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

    def __init__(
        self, service: httpx.AsyncClient, collection: str, speaker: dict[str, str]
    ) -> None:
        self._service = service
        self._collection = collection
        self._speaker = speaker
        self._labels: list[int] = []
        self._skipped = 0

    async def hold(self) -> None:
        """Offer pairs until there are none, or whoever sits here has enough."""
        print_note(KEYS)
        answers = _answers()
        while (pair := await self._next()) and await self._answered(pair, answers):
            pass
        print_line(f"{len(self._labels):,} labelled, {self._skipped:,} skipped")

    async def _next(self) -> dict[str, Any] | None:
        """The next pair. Waits while near pairs are still looked for and none is there."""
        path = f"/collections/{self._collection}/review-queue"
        parameters = {"limit": "1"} | self._speaker
        while True:
            queue = await call(self._service, "GET", path, params=parameters)
            if queue["pairs"] or not queue["to_read"]:
                return queue["pairs"][0] if queue["pairs"] else None
            await asyncio.sleep(LOOK_SECONDS)

    async def _answered(self, pair: dict[str, Any], answers: Iterator[str]) -> bool:
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

    async def _label(self, pair: dict[str, Any], is_duplicate: bool) -> None:
        texts = [question["text"] for question in pair["questions"]]
        label = {"questions": texts, "is_duplicate": is_duplicate} | self._speaker
        body = {"collection": self._collection, "labels": [label]}
        labelled = await call(self._service, "POST", "/labels", json=body)
        self._labels.append(labelled["labels"][0]["id"])

    async def _skip(self, pair: dict[str, Any]) -> None:
        path = f"/collections/{self._collection}/review-queue/skip"
        await call(self._service, "POST", path, json={"id": pair["id"]} | self._speaker)
        self._skipped += 1

    async def _undo(self) -> None:
        label_id = self._labels.pop()
        parameters = {"collection": self._collection} | self._speaker
        await call(self._service, "DELETE", f"/labels/{label_id}", params=parameters)
        print_note(f"label {label_id} is undone")


def _show(pair: dict[str, Any]) -> None:
    out.print()
    for question in pair["questions"]:
        print_line(f"  {question['text']}")
    print_note(f"  {pair['verdict']}, probability {pair['probability']:.3f}")


def _answers() -> Iterator[str]:
    """The first letter of each line of standard input."""
    for line in sys.stdin:
        yield line.strip().lower()[:1]


def _speaker(by: str | None, url: str | None) -> dict[str, str]:
    """Who says so; nobody, where the key of a server tells. Raises CommandError."""
    if by is None and url:
        return {}
    try:
        return {"by": by or getpass.getuser()}
    except (KeyError, OSError) as error:
        raise CommandError("who says so? Nobody is logged in here: --by names somebody") from error


def _noted(note: str | None) -> dict[str, str]:
    return {} if note is None else {"note": note}
