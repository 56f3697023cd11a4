"""One hit of a search."""

from typing import NamedTuple


class Hit(NamedTuple):
    """An indexed question that a search found: its revision, and its similarity to the query."""

    revision: int
    similarity: float
