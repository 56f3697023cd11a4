"""Names of columns in, places out: spaces around a name make no difference, and a wanted name stands once."""

from collections.abc import Sequence
from typing import Any

from app.errors import ColumnNotFound


def places(
    header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> list[int | None]:
    """Where each column stands, the optional ones last: None for one that is not there. Raises ColumnNotFound."""
    names = [name.strip() for name in header]
    found: list[int | None] = []
    for column in (*columns, *optional):
        times = names.count(column.strip())
        if times > 1:
            raise ColumnNotFound(f"has {times} columns {column!r}: which one is meant?")
        if not times and column in columns:
            raise ColumnNotFound(f"has no column {column!r}; it has {shown(names)}")
        found.append(names.index(column.strip()) if times else None)
    return found


def chosen(cells: Sequence[Any], found: Sequence[int | None]) -> list[Any]:
    """The cells at these places."""
    return [None if place is None else cells[place] for place in found]


def shown(names: Sequence[str]) -> str:
    """Names of columns for a message; no more than a person would read."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(name[:50]) for name in names[:20]) + more
