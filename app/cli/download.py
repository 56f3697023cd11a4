"""An export of a list, as CSV or one JSON object a line, on standard output."""

import csv
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from app.cli.terminal import as_json, visible
from app.settings import Settings

Item = TypeVar("Item")

MAX_ITEMS = 1000  # in one page, where the settings allow as many


def page_size() -> int:
    """How many items an export asks for at a time."""
    return min(MAX_ITEMS, Settings().max_page)


async def print_all(
    items: AsyncIterator[Item],
    columns: Sequence[str],
    record: Callable[[Item], list[object]],
    in_json: bool,
) -> None:
    """Print all items of a list, each as the record that `record` makes of it.

    JSON, and CSV into a file or a pipe, give every text as it is stored; on a terminal nothing steers it.
    """
    writer = csv.writer(sys.stdout)
    is_terminal = sys.stdout.isatty()
    is_headed = in_json
    async for item in items:
        values = record(item)
        if in_json:
            fields = dict(zip(columns, values, strict=True))
            sys.stdout.write(as_json(fields) + "\n")
            continue
        if not is_headed:
            writer.writerow(columns)
            is_headed = True
        writer.writerow([visible(str(value)) for value in values] if is_terminal else values)
    if not is_headed:
        writer.writerow(columns)
