"""How fast the page answers while somebody types, and how large its screens are, of a server that runs.

    python benchmarks/page.py --url http://127.0.0.1:8000 --questions examples/questions.csv [--typed 40]

Each question is typed as the page sends it: a request after every few letters, one at a time over one connection, since
the newest replaces the ones before. The time is from a request to its answer, without the page's own wait of 80 ms.
"""

import argparse
import gzip
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import numpy as np

from app.engine.rows import read_rows

SCREENS = (
    "/",
    "/page/compare",
    "/page/review",
    "/page/questions",
    "/page/releases",
    "/page/health",
)
LETTERS = 4  # between two requests: some 80 ms of fast typing
HTMX = {"HX-Request": "true"}
FILE = re.compile(r'(?:src|href)="([^"]*/page/static/[^"]+)"')


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--questions", type=Path, required=True, help="file with a column `text`")
    parser.add_argument("--typed", type=int, default=40, help="questions that are typed")
    arguments = parser.parse_args()
    rows = islice(read_rows(arguments.questions, ["text"]), arguments.typed)
    texts = [str(row.values[0]) for row in rows]
    with httpx.Client(base_url=arguments.url, timeout=60, follow_redirects=True) as client:
        stored = client.get("/collections/default").json()["questions"]
        milliseconds = [answered(client, typed) for text in texts for typed in prefixes(text)]
        p50, p95 = np.percentile(milliseconds, [50, 95])
        print(
            f"{len(milliseconds)} requests while typing, {stored:,} questions stored:"
            f" p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        )
        for screen in SCREENS:
            print(
                f"{screen}: {size(client, screen) / 1000:.0f} kB with its files, as they are sent"
            )


def prefixes(text: str) -> Iterator[str]:
    """The parts of a question that the page sends, the whole of it last. The end differs from the stored one."""
    changed = text.rstrip("?") + ", please?"
    for length in range(LETTERS, len(changed), LETTERS):
        yield changed[:length]
    yield changed


def answered(client: httpx.Client, typed: str) -> float:
    """Milliseconds from a request to its answer."""
    started = time.perf_counter()
    client.post("/page/ask", data={"question": typed}, headers=HTMX).raise_for_status()
    return (time.perf_counter() - started) * 1000


def size(client: httpx.Client, screen: str) -> int:
    """Bytes of a screen and of its files, these packed."""
    page = client.get(screen)
    page.raise_for_status()
    files = [len(gzip.compress(client.get(path).content)) for path in set(FILE.findall(page.text))]
    return len(page.content) + sum(files)


if __name__ == "__main__":
    main()
