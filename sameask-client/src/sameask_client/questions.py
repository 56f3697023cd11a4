"""`/questions`: what a collection holds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sameask_client.operation import Listing, Operation, delete_and_read, get, in_path, post
from sameask_client.uploading import MAX_BYTES, MAX_ITEMS, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A stored question. `revision`: the one that wrote it. `quarantined`: why its text could not be embedded."""

    id: str
    text: str
    revision: int
    quarantined: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The outcome of a write. It is durable, and the next answer knows it.

    `truncated`: texts that the model does not read to their end. `unknown_tokens` of `tokens` stand for what it can't
    read.
    """

    collection: str
    revision: int
    added: int
    updated: int
    unchanged: int
    truncated: int = 0
    tokens: int = 0
    unknown_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A delete that is durable; no later answer offers the question."""

    collection: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedQuestions:
    """How many questions an import added, gave another text, and found there already.

    `truncated`, `tokens`, `unknown_tokens`: as of one write.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    truncated: int = 0
    tokens: int = 0
    unknown_tokens: int = 0

    @property
    def items(self) -> int:
        """How many questions were sent."""
        return self.added + self.updated + self.unchanged


def upsert_questions(
    questions: Iterable[tuple[str, str]], *, collection: str = "default"
) -> Operation[Written]:
    """Add or update questions, each an id and a text, all of them or none. `import_questions` takes any number."""
    documents = [_document(question) for question in questions]
    fields = {"collection": collection, "questions": documents}
    return post(Written, "/questions", fields, is_repeatable=True)


def import_questions(
    *,
    collection: str = "default",
    max_items: int = MAX_ITEMS,
    max_bytes: int = MAX_BYTES,
    in_flight: int = 1,
    progress: Callable[[ImportedQuestions], object] | None = None,
) -> Upload[tuple[str, str], ImportedQuestions]:
    """Add or update any number of questions, each an id and a text, in batches; of an id that comes twice the later.

    Items are taken as they are sent, so that they need not fit into memory. A batch is durable when the next one goes
    out: an import that broke can be begun again, and changes nothing that is there.

    `in_flight`: batches that are sent at once; with more than one, an id must not come twice. `progress`: called with
    the counts until then, after each batch.
    """
    return Upload(
        path="/questions",
        items="questions",
        collection=collection,
        document_of=_document,
        total=ImportedQuestions(),
        max_items=max_items,
        max_bytes=max_bytes,
        in_flight=in_flight,
        progress=progress,
        key_of=_id,
    )


def list_questions(
    *, collection: str = "default", page_size: int | None = None
) -> Listing[Question]:
    """Every question of a collection, in the order of their ids, a page at a time."""
    query = {"collection": collection, "limit": page_size}
    return Listing("/questions", "questions", Question, query)


def read_question(id: str, *, collection: str = "default") -> Operation[Question]:  # noqa: A002
    """Read one question."""
    return get(Question, f"/questions/{in_path(id)}", collection=collection)


def delete_question(id: str, *, collection: str = "default") -> Operation[Deleted]:  # noqa: A002
    """Delete one question. Sent again after a broken connection, it may raise NotFound: it was done the first time."""
    return delete_and_read(Deleted, f"/questions/{in_path(id)}", collection=collection)


def _document(question: tuple[str, str]) -> dict[str, object]:
    id_, text = question
    return {"id": id_, "text": text}


def _id(question: tuple[str, str]) -> str:
    return question[0]
