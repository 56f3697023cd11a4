"""What works by a collection's key may find that it was deleted meanwhile, and another made under its name."""

import numpy as np
import pytest

from app.engine.scorer import CollectionThresholds
from app.engine.store import Derived, Store
from app.engine.store.offers import NewOffer
from app.errors import CollectionNotFound

PAIR = b"p" * 32
RELEASE = "digest"
OFFER = NewOffer(PAIR, "middle", 1, "chosen", 1.0)


def test_what_is_derived_for_a_collection_that_is_gone_is_not_kept(store: Store) -> None:
    gone = store.collections.create("faq", 10)[0]
    store.collections.delete("faq")
    store.collections.create("faq", 10)
    thresholds = CollectionThresholds(0.9, 0.5, "collection", "release")
    store.derived.note(gone.key, RELEASE, Derived(thresholds, np.array([0.5], np.float32)))
    store.derived.note_scores(gone.key, RELEASE, {PAIR: 0.5})
    store.asked.note(gone.key, ["One?"])
    assert store.derived.of_release(RELEASE) == {}
    assert store.derived.scores(gone.key, RELEASE) == {}
    assert store.asked.latest(gone.key, 10) == []


def test_nothing_is_offered_of_a_collection_that_is_gone(store: Store) -> None:
    gone = store.collections.create("faq", 10)[0]
    store.collections.delete("faq")
    with pytest.raises(CollectionNotFound, match="faq"):
        store.offers.write(gone, [OFFER])
