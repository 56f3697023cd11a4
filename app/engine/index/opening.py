"""Which kind of index a release has: shared with other replicas where the store is, or in memory with snapshots."""

from pathlib import Path

from app.engine.index.collection_index import CollectionIndexes
from app.engine.index.in_memory import IndexesInMemory
from app.engine.index.shared import SharedIndexes
from app.engine.index.snapshot import remove_snapshots, vectors_of
from app.engine.store import Store


def open_indexes(
    store: Store,
    dimension: int,
    folder: Path,
    digest: str,
    dtype: str,
    same_vectors: str | None = None,
) -> CollectionIndexes:
    """The indexes of the release of this digest, whose encoder is run in `dtype`; `folder` is for snapshots.

    Where it has none yet, they begin with those of the release of the digest `same_vectors`, which has the same
    bi-encoder.
    """
    of = vectors_of(digest, dtype)
    same = vectors_of(same_vectors, dtype) if same_vectors else None
    if store.vectors:
        return SharedIndexes(store, store.vectors, dimension, of, same)
    return IndexesInMemory(store, dimension, folder, of, same)


def remove_indexes(store: Store, folder: Path, digest: str) -> None:
    """Remove all that is kept of the indexes of the release of this digest, whatever made its vectors."""
    if store.vectors:
        for dtype in ("int8", "float32"):
            store.vectors.drop(vectors_of(digest, dtype))
    else:
        remove_snapshots(folder, digest)
