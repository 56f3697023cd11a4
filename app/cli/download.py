"""An export of a list: every page of it, as CSV or one JSON object a line, on standard output."""

import csv
import sys
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from app.cli.client import call
from app.cli.terminal import as_json, visible
from app.settings import Settings

MAX_ITEMS = 1000  # in one page, where the settings allow as many


async def print_all(
    service: httpx.AsyncClient,
    items: str,
    collection: str,
    columns: Sequence[str],
    record: Callable[[dict[str, Any]], list[object]],
    in_json: bool,
) -> None:
    """Print all items of a list, each as the record that `record` makes of it.

    JSON, and CSV into a file or a pipe, give every text as it is stored; on a terminal nothing steers it.
    """
    writer = csv.writer(sys.stdout)
    is_terminal = sys.stdout.isatty()
    parameters = {"collection": collection, "limit": min(MAX_ITEMS, Settings().max_page)}
    while True:
        page = await call(service, "GET", f"/{items}", params=parameters)
        if not in_json and "cursor" not in parameters:
            writer.writerow(columns)
        for item in page[items]:
            if in_json:
                fields = dict(zip(columns, record(item), strict=True))
                sys.stdout.write(as_json(fields) + "\n")
            elif is_terminal:
                writer.writerow([visible(str(value)) for value in record(item)])
            else:
                writer.writerow(record(item))
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]
