"""The index in PostgreSQL beside the one in memory: recall, times, deletes and vacuum, over real questions.

    python benchmarks/cluster.py --questions train.tsv.gz dev.tsv.gz --vectors kept.npy
    python benchmarks/cluster.py --vectors kept.npy --database postgresql://user@host/migrated_database

Vectors come from a file of (n, d) unit vectors. Where there is none, it is made of the questions, by the default
release's encoder. Rows called exact and sameask are those of `benchmarks/indexes.py`, each in a process of its own.
Those called pgvector are the shared index as replicas use it. Vectors are inserted 4,096 a transaction, then one
process of the server builds the graph. The server is one of this script's own on a socket, unless an address is given.
The last 1,000 vectors are asked and not indexed; three tenths of the others are then deleted. `per s` and
`p50` are of one query at a time.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from app.engine.index.shared import SharedIndexes
from app.engine.models.backends import TORCH
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.store import Store
from app.engine.store.store import migrate_database
from app.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.indexes import SEED, Ids, Vectors, compare, measure
from tests.postgres import started

SERVER = {  # as one of production has them
    "shared_buffers": "1GB",
    "fsync": "on",
    "full_page_writes": "on",
    "max_wal_size": "4GB",
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=Path, nargs="*", default=[])
    parser.add_argument("--vectors", type=Path, required=True, help=".npy; made where it is absent")
    parser.add_argument("--limit", type=int, help="vectors at most")
    parser.add_argument("--database", help="address of an empty database")
    parser.add_argument("--without-memory", action="store_true", help="measure PostgreSQL alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.vectors.exists():
        encode(options.questions, options.vectors, options.limit)
    rows = []
    if not options.without_memory:
        for name, figures in compare(options.vectors, ("exact", "sameask")):
            say(f"{name}: {figures}")
            rows.append({"index": name, **figures})
    with database(options.database) as address, closing(Store(address)) as store:
        say(figures := measure(lambda dimension: Shared(store, dimension), options.vectors))
        rows.append({"index": "pgvector", **figures})
    show({"indexes": rows}, as_json=options.json)


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


def encode(files: Sequence[Path], file: Path, limit: int | None) -> None:
    """Write the vectors of the questions in files, in no order."""
    texts = read_questions(files, limit)
    settings = Settings()
    encoder, _ = open_models(Release.open(settings.release), "cpu", TORCH)
    say(f"encoding {len(texts):,} questions")
    vectors = encoder.encode(texts)
    np.save(file, vectors[np.random.default_rng(SEED).permutation(len(vectors))])


if __name__ == "__main__":
    main()
