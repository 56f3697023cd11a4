"""One server over a data directory, one over PostgreSQL, and two replicas over the same PostgreSQL, asked by wrk.

Each question asked is a stored one with a number behind it, so that none is stored word for word, and none is asked
twice; the cache of embeddings is off. `p50` is of one connection. `requests per second` is of all connections together;
of two replicas, each is asked over half of them. All run on one machine: more replicas than it has cores gain nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from app.settings import Settings
from benchmarks.corpus import say
from benchmarks.load import Asking, Load, by_wrk
from benchmarks.processes import Served, serving
from benchmarks.servers import NO_CACHE, SETTINGS, Corpus, fill, write_lines

WARM_UP_SECONDS = 2
BEFORE, AFTER = '{"questions": ["', '"], "verify": "never"}'


def compare_served(
    texts: Sequence[str],
    folder: Path,
    database: str,
    release: Path,
    *,
    seconds: int,
    connections: int,
) -> list[dict[str, Any]]:
    """A row of figures for each of the three; ratios are to the server over a data directory.

    `database` is the address of an empty one with our schema.
    """
    corpus = Corpus(texts, folder)
    write_lines(corpus)
    alone = Settings(data_dir=folder / "alone", release=release.resolve(), **SETTINGS, **NO_CACHE)
    replicas = [
        alone.model_copy(update={"data_dir": folder / name, "database_url": database})
        for name in ("one", "two")
    ]
    for one in replicas:
        one.model_fields_set.add("database_url")
    say(f"importing {len(texts):,} questions twice")
    fill(alone, texts, folder)
    fill(replicas[0], texts, folder)
    asked = {"data directory": [alone], "PostgreSQL": replicas[:1], "two replicas": replicas}
    rows: list[dict[str, Any]] = []
    for part, (name, settings) in enumerate(asked.items(), 1):
        with _all_serving(settings) as servers:
            lone, together = _measure(servers, corpus, part, seconds, connections)
        rows.append(_row(name, lone, together, rows[0] if rows else None))
        say(rows[-1])
    return rows


@contextmanager
def _all_serving(settings: Sequence[Settings]) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(one)) for one in settings]


def _measure(
    servers: Sequence[Served], corpus: Corpus, part: int, seconds: int, connections: int
) -> tuple[Load, list[Load]]:
    """What the first did over one connection, and what each did over its share of all."""
    askings = [Asking(f"{server.url}/duplicates", BEFORE, AFTER) for server in servers]
    for asking in askings:
        by_wrk(asking, corpus.lines, 1, WARM_UP_SECONDS, 100 * part)
    lone = by_wrk(askings[0], corpus.lines, 1, seconds, 100 * part + 1)
    share = max(1, connections // len(servers))
    with ThreadPoolExecutor(len(servers)) as threads:
        loads = [
            threads.submit(by_wrk, asking, corpus.lines, share, seconds, 100 * part + number)
            for number, asking in enumerate(askings, 2)
        ]
    return lone, [load.result() for load in loads]


def _row(
    name: str, lone: Load, together: Sequence[Load], first: dict[str, Any] | None
) -> dict[str, Any]:
    per_second = sum(load.requests_per_second for load in together)
    row: dict[str, Any] = {
        "server": name,
        "p50_ms": lone.p50_ms,
        "requests_per_second": per_second,
    }
    first = first or row
    return row | {
        "p50_ratio": lone.p50_ms / first["p50_ms"],
        "requests_ratio": per_second / first["requests_per_second"],
    }
