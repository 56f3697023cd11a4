"""PostgreSQL beside a data directory, over real questions: servers over each, and the indexes that they have.

    python benchmarks/cluster.py --questions train.tsv.gz dev.tsv.gz --vectors kept.npy
    python benchmarks/cluster.py --vectors kept.npy --database postgresql://user@host/migrated_database

*Servers*: one over a data directory, one over PostgreSQL, and two replicas over the same PostgreSQL: replicas.py says
how they are asked. It needs wrk.

*Indexes*: recall, times, deletes and vacuum. Vectors come from a file of (n, d) unit vectors. Where there is none, it
is made of the questions, by the release's encoder. Rows called exact and sameask are those of `benchmarks/indexes.py`,
each in a process of its own. Those called pgvector are the shared index as replicas use it. Vectors are inserted 4,096
a transaction, then one process of the server builds the graph. The last 1,000 vectors are asked and not indexed; three
tenths of the others are then deleted. `per s` and `p50` are of one query at a time. Fewer than 2,000 questions are too
few for that.

PostgreSQL is one of this script's own on a socket, unless an address is given: then servers are not measured.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.engine.index.shared import SharedIndexes
from app.engine.models.backends import AUTO
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.store import Store
from app.engine.store.store import migrate_database
from app.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.indexes import QUERIES, SEED, Ids, Vectors, compare, measure
from benchmarks.replicas import compare_served
from tests.postgres import started

ROOT = Path(__file__).parent.parent
SERVER = {  # as one of production has them
    "shared_buffers": "1GB",
    "fsync": "on",
    "full_page_writes": "on",
    "max_wal_size": "4GB",
    "autovacuum": "on",
}


class Shared:
    """The index that replicas share, as a contender."""

    def __init__(self, store: Store, dimension: int) -> None:
        assert store.vectors
        self._indexes = SharedIndexes(store, store.vectors, dimension, "benchmark")
        self._index = self._indexes[1]
        self._index.open()
        self._none = np.empty((0, dimension), dtype=np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self._index.apply(self._index.revision + 1, ids.tolist(), vectors, [])

    def finish(self) -> None:
        self._indexes.upkeep()

    def remove(self, ids: Ids) -> None:
        self._index.apply(self._index.revision + 1, [], self._none, ids.tolist())

    def search(self, queries: Vectors, k: int) -> list[Ids]:
        _, found = self._index.search(queries, k)
        return [np.array([hit.revision for hit in hits], dtype=np.int64) for hits in found]


def main() -> None:
    """Measure servers and indexes, and report."""
    options = _options()
    texts = read_questions(options.questions, options.limit)
    with TemporaryDirectory() as folder:
        report: dict[str, Any] = {"questions": len(texts), "cores": os.cpu_count()}
        if not options.database:
            report |= {"servers": _servers(texts, Path(folder), options)}
        vectors = options.vectors or Path(folder) / "vectors.npy"
        if not vectors.exists() and len(texts) >= 2 * QUERIES:
            encode(texts, vectors, options.release)
        if vectors.exists():
            report |= {"indexes": _indexes(vectors, options)}
    show(report, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", type=Path, nargs="+", default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--release", type=Path, default=Settings().release)
    parser.add_argument("--vectors", type=Path, help=".npy; made where it is absent")
    parser.add_argument("--database", help="address of an empty database")
    parser.add_argument("--seconds", type=int, default=5, help="of each load of a server")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--without-memory", action="store_true", help="index PostgreSQL alone")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args()


def _servers(
    texts: Sequence[str], folder: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    with database(None) as address:
        return compare_served(
            texts,
            folder,
            address,
            options.release,
            seconds=options.seconds,
            connections=options.connections,
        )


def _indexes(vectors: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if not options.without_memory:
        for name, figures in compare(vectors, ("exact", "sameask")):
            say(f"{name}: {figures}")
            rows.append({"index": name, **figures})
    with database(options.database) as address, closing(Store(address)) as store:
        say(figures := measure(lambda dimension: Shared(store, dimension), vectors))
        rows.append({"index": "pgvector", **figures})
    return rows


@contextmanager
def database(address: str | None) -> Iterator[str]:
    """The address of a database with our schema."""
    if address:
        yield address
        return
    with started(**SERVER) as server:
        address = server.url(server.new_database())
        migrate_database(address)
        yield address


def encode(texts: Sequence[str], file: Path, release: Path) -> None:
    """Write the vectors of the questions, in no order."""
    encoder, _ = open_models(Release.open(release), "cpu", AUTO)
    say(f"encoding {len(texts):,} questions")
    vectors = encoder.encode(texts)
    np.save(file, vectors[np.random.default_rng(SEED).permutation(len(vectors))])


if __name__ == "__main__":
    main()
