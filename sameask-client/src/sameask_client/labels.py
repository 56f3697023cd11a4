"""`/labels`: what people say of pairs."""

import unicodedata
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sameask_client.operation import Listing, Operation, delete_and_read, post
from sameask_client.uploading import MAX_BYTES, MAX_ITEMS, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLabel:
    """What somebody says of a pair, which is named by two ids of the collection or by two texts.

    `by`: who says so; None: whom the key is named after. Raises ValueError where it is named by both or by neither.
    """

    is_duplicate: bool
    by: str | None = None
    ids: tuple[str, str] | None = None
    questions: tuple[str, str] | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if (self.ids is None) == (self.questions is None):
            raise ValueError("a label names its pair either by ids or by questions")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLabel:
    """The label that now stands for what was said. `contradicted`: another person says the opposite."""

    id: int
    contradicted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The outcome of labelling. It is durable, and the next answer keeps to it. `labels`: one for each, in their
    order."""

    collection: str
    added: int
    replaced: int
    unchanged: int
    labels: tuple[GivenLabel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLabels:
    """How many labels an import added, how many replaced an earlier one of the same person, and how many were there."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0

    @property
    def items(self) -> int:
        """How many labels were sent."""
        return self.added + self.replaced + self.unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Who ended a label, and when. `replaced_by`: the later label of the same person; None if it was undone."""

    by: str
    at: datetime
    replaced_by: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What somebody said of a pair: its two texts. `ended`: None while the label is active.

    To a key without the scope `read`, undoing tells no texts, and `a person` for everybody else's name.

    `offered_by`, `offered_probability`: how the review queue drew the pair; None for one that it never drew.
    """

    id: int
    questions: tuple[str, ...]
    is_duplicate: bool
    by: str
    at: datetime
    note: str | None
    contradicted: bool
    ended: Ending | None
    offered_by: Literal["chosen", "random"] | None = None
    offered_probability: float | None = None


def label_pairs(labels: Iterable[NewLabel], *, collection: str = "default") -> Operation[Labelled]:
    """Say of pairs whether they ask the same; all of them, or none."""
    documents = [_document(label) for label in labels]
    fields = {"collection": collection, "labels": documents}
    return post(Labelled, "/labels", fields, is_repeatable=True)


def import_labels(
    *,
    collection: str = "default",
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
    in_flight: int = 1,
    progress: Callable[[ImportedLabels], object] | None = None,
) -> Upload[NewLabel, ImportedLabels]:
    """Give any number of labels, in batches; of what a person says twice of a pair the later holds.

    `in_flight`: batches that are sent at once; with more than one, nobody must say two things of a pair. `progress`:
    called with the counts until then, after each batch.
    """
    return Upload(
        path="/labels",
        items="labels",
        collection=collection,
        document_of=_document,
        total=ImportedLabels(),
        max_items=max_items,
        max_bytes=max_bytes,
        in_flight=in_flight,
        progress=progress,
        key_of=_pair_and_person,
    )


def _pair_and_person(label: NewLabel) -> Hashable:
    """What is the same where two labels are one person's word on one pair; perhaps also where they are not."""
    named = label.ids or [_bare(text) for text in label.questions or ()]
    return frozenset(named), label.by


def _bare(text: str) -> str:
    """The letters and digits of a text: two that the service takes for one question have the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded))


def list_labels(
    *,
    collection: str = "default",
    is_duplicate: bool | None = None,
    by: str | None = None,
    contradicted: bool | None = None,
    history: bool | None = None,
    page_size: int | None = None,
) -> Listing[Label]:
    """Labels in the order in which they were given, a page at a time: the active ones, or with `history` all.

    `is_duplicate`, `by`, `contradicted`: those alone of which it holds.
    """
    query = {
        "collection": collection,
        "is_duplicate": is_duplicate,
        "by": by,
        "contradicted": contradicted,
        "history": history,
        "limit": page_size,
    }
    return Listing("/labels", "labels", Label, query)


def undo_label(id: int, *, by: str | None = None, collection: str = "default") -> Operation[Label]:  # noqa: A002
    """Undo a label: the next answer is as if it had not been given. `by`: who undoes it; None: the key's name."""
    return delete_and_read(Label, f"/labels/{id:d}", by=by, collection=collection)


def _document(label: NewLabel) -> dict[str, object]:
    document: dict[str, object] = {"is_duplicate": label.is_duplicate}
    if label.by is not None:
        document["by"] = label.by
    if label.ids is not None:
        document["ids"] = label.ids
    if label.questions is not None:
        document["questions"] = label.questions
    if label.note is not None:
        document["note"] = label.note
    return document
