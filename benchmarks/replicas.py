"""One server over a data directory, one over PostgreSQL, and two replicas over the same PostgreSQL, asked by wrk.

Each question asked is a stored one with a number behind it, so that none is stored word for word, and none is asked
twice. `p50` is of one connection. `requests per second` is of all connections together; of two replicas, each is asked
over half of them. `cached per second` is the same of 200 questions whose embeddings each server still has, so that the
model takes no time. All run on one machine: more replicas than it has cores gain nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from app.settings import Settings
from benchmarks.corpus import say
from benchmarks.load import Asking, by_wrk, one_at_a_time
from benchmarks.processes import Served, serving
from benchmarks.servers import SETTINGS, Corpus, fill, write_lines

WARM_UP_SECONDS = 2
CACHED = 200  # questions that are asked again and again
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
    alone = Settings(data_dir=folder / "alone", release=release.resolve(), **SETTINGS)
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
            rows.append(_measure(name, servers, corpus, part, seconds, connections))
        rows[-1] |= _ratios(rows)
        say(rows[-1])
    return rows


@contextmanager
def _all_serving(settings: Sequence[Settings]) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(one)) for one in settings]


def _measure(
    name: str,
    servers: Sequence[Served],
    corpus: Corpus,
    part: int,
    seconds: int,
    connections: int,
) -> dict[str, Any]:
    """What the first did over one connection, and all together over theirs."""
    askings = [Asking(f"{server.url}/duplicates", BEFORE, AFTER) for server in servers]
    for asking in askings:
        by_wrk(asking, corpus.lines, 1, WARM_UP_SECONDS, 100 * part)
        one_at_a_time(asking, _cached(corpus))
    share = max(1, connections // len(servers))

    def together(pool: int) -> float:
        with ThreadPoolExecutor(len(servers)) as threads:
            loads = [
                threads.submit(by_wrk, asking, corpus.lines, share, seconds, 100 * part + n, pool)
                for n, asking in enumerate(askings, 2)
            ]
        return sum(load.result().requests_per_second for load in loads)

    lone = by_wrk(askings[0], corpus.lines, 1, seconds, 100 * part + 1)
    return {
        "server": name,
        "p50_ms": lone.p50_ms,
        "cached_per_second": together(CACHED),
        "requests_per_second": together(0),
    }


def _cached(corpus: Corpus) -> list[str]:
    """What ask.lua asks with a pool of CACHED."""
    count = len(corpus.texts)
    return [f"{corpus.texts[number % count]} {number}" for number in range(1, CACHED + 1)]


def _ratios(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the last row to the first, and to the one before."""
    first, before, last = rows[0], rows[max(0, len(rows) - 2)], rows[-1]
    return {
        "p50_ratio": last["p50_ms"] / first["p50_ms"],
        "cached_ratio": last["cached_per_second"] / first["cached_per_second"],
        "cached_ratio_to_row_before": last["cached_per_second"] / before["cached_per_second"],
    }
