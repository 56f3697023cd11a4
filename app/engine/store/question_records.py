"""What a question is, and what a write or a look at the store comes to: the records of the room next door."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.engine.store.collections import Collection


@dataclass(frozen=True)
class Question:
    """One version of a question.

    `quarantined` says why it could not be embedded, if it could not. `digest` is that of its visible words, `loose`
    that of the words without letter case and end punctuation.
    """

    id: str
    text: str
    revision: int
    quarantined: str | None
    digest: bytes
    loose: bytes


@dataclass(frozen=True)
class Copies:
    """The current questions of one text: the first ids, the oldest first, and how many there are."""

    ids: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Written:
    """The outcome of a write. `revision` is the collection's after it."""

    collection: Collection
    revision: int
    added: int = 0
    updated: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Changes:
    """The difference between an index's revision and `revision`: texts to add, and revisions to remove."""

    revision: int
    added: Sequence[Question]
    removed: Sequence[int]
    complete: bool


@dataclass(frozen=True)
class Contents:
    """The questions that an index may hold: ids (n,) ascending, digests of their texts (n, 16), and which it must hold.

    It may lack a version that was superseded since: one that caught up in chunks never saw it; and one that is
    quarantined.
    """

    ids: NDArray[np.int64]
    required: NDArray[np.bool_]
    digests: NDArray[np.uint8]
