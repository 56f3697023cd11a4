"""The answers that count for a promise, by a release that has not read all of their pairs."""

from types import SimpleNamespace
from typing import Any, cast

from app.engine.collection_thresholds import EDGES
from app.engine.store import NewOffer, Store
from app.promises.labelled import LabelledPairs

NEW: Any = SimpleNamespace(release=SimpleNamespace(digest="b" * 64))  # the release that reads


def test_skipped_pairs_that_a_new_release_can_not_read_count_where_they_were_drawn(
    store: Store,
) -> None:
    collection = store.collections.get("default")
    offered = [
        NewOffer(bytes([stratum]), f"{'a' * 16}:{stratum}", 10, "chosen", 0.1)
        for stratum in range(len(EDGES) + 1)
    ]
    for offer in store.offers.write(collection, offered):
        store.offers.skip("default", offer.id, "anna")
    labelled = LabelledPairs(store, NEW, collection.key, cast(Any, None))
    labelled.load()
    drawn = labelled.drawn()
    assert drawn.probabilities.tolist() == [*EDGES, 1.0]
    assert not drawn.is_duplicate.any()
    labelled.note({bytes([0]): 0.01})
    assert labelled.drawn().probabilities.tolist() == [0.01, *EDGES[1:], 1.0]
