"""`POST /duplicates` and `POST /pair-score`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sameask_client.operation import UNSET, Operation, Unset, given, post

Verdict = Literal["duplicate", "review", "different"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a verdict is what it is: a code for programs, a sentence for people.

    `spans1`, `spans2`: where it shows in the first text (the one asked) and in the second (the candidate's), as start
    and end in code points; the end is not part of it.
    """

    code: str
    sentence: str
    spans1: tuple[tuple[int, ...], ...] = ()
    spans2: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLabel:
    """What people said of a pair; `undo_label` undoes it by its id. `contradicted`: others say the opposite."""

    id: int
    is_duplicate: bool
    by: str
    at: datetime
    contradicted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A stored text offered for the one asked.

    `id`: of the oldest question with this text; `ids`: of up to 20 with it, of `id_count`. `similarity`: cosine, higher
    is closer. `probability`: calibrated P(duplicate). `read`: whether the pair classifier has read the pair. `label`:
    what people said of the pair; None where the verdict is the model's.
    """

    id: str
    ids: tuple[str, ...] = ()
    id_count: int = 1
    text: str
    truncated: bool = False
    similarity: float
    probability: float
    read: bool = False
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    label: PairLabel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer for one question. `truncated`: the text was longer than the model reads, and cut."""

    question: str
    verdict: Literal["duplicate", "review", "new"]
    truncated: bool
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """One finding for each question, in their order, by one release at one revision of the collection."""

    release: str
    collection: str
    revision: int
    results: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How alike two questions are; the fields are those of a candidate."""

    similarity: float
    probability: float
    read: bool = False
    verdict: Verdict
    truncated1: bool = False
    truncated2: bool = False
    reasons: tuple[Reason, ...] = ()
    label: PairLabel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One score for each pair, in their order."""

    release: str
    scores: tuple[Score, ...]


def find_duplicates(
    questions: str | Iterable[str],
    *,
    collection: str = "default",
    top_k: int | Unset = UNSET,
    verify: Literal["auto", "always", "never"] | Unset = UNSET,
    exclude_ids: str | Iterable[str] = (),
) -> Operation[Duplicates]:
    """Find stored questions that ask the same as these, or as this one.

    `top_k`: the most candidates for each. `verify`: which of them the pair classifier reads. `exclude_ids`: never
    offered; ask so for a question that is stored itself.
    """
    texts = [questions] if isinstance(questions, str) else list(questions)
    excluded = [exclude_ids] if isinstance(exclude_ids, str) else list(exclude_ids)
    fields = given(
        questions=texts,
        collection=collection,
        top_k=top_k,
        verify=verify,
        exclude_ids=excluded or UNSET,
    )
    return post(Duplicates, "/duplicates", fields, is_repeatable=True)


def score_pairs(
    pairs: Iterable[tuple[str, str]], *, collection: str = "default"
) -> Operation[Scores]:
    """Score pairs of questions: whether the two ask the same. `collection`: whose labels hold."""
    documents = [{"question1": one, "question2": other} for one, other in pairs]
    fields = {"pairs": documents, "collection": collection}
    return post(Scores, "/pair-score", fields, is_repeatable=True)
