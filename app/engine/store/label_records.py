"""What labels are, and what labelling did: the records of the room next door."""

from collections.abc import Sequence
from dataclasses import dataclass

NAMELESS = "a person"  # stands for a name, to those who are not to know who labels


@dataclass(frozen=True)
class NewLabel:
    """What somebody says of a pair, named either by two ids of the collection or by two texts."""

    is_duplicate: bool
    by: str
    note: str | None = None
    ids: Sequence[str] | None = None
    questions: Sequence[str] | None = None


@dataclass(frozen=True)
class Ending:
    """Who ended a label, and when: undone, or replaced by a later label of the same person."""

    by: str
    at: str
    replaced_by: int | None


@dataclass(frozen=True)
class Label:
    """What a person said of a pair: active until it is `ended`, `contradicted` while others say the opposite.

    `questions` are the texts as they were given, `loose` the digests of each that loosely the same texts share. `pair`
    is the digest by which the pair is known.
    """

    id: int
    questions: tuple[str, str]
    is_duplicate: bool
    by: str
    at: str
    note: str | None
    contradicted: bool
    ended: Ending | None
    pair: bytes
    loose: tuple[bytes, bytes]


@dataclass(frozen=True)
class Given:
    """The label that now stands for what was said, and whether others say the opposite."""

    id: int
    contradicted: bool


@dataclass(frozen=True)
class Labelled:
    """What labelling did; `labels` has one for each pair, in the order they were given."""

    added: int
    replaced: int
    unchanged: int
    labels: Sequence[Given]
