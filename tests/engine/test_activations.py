"""The history of what was made live."""

from pathlib import Path

from app.engine.store import Activation, Store
from tests.engine.test_store import behind_its_back


def test_activations_come_back_the_latest_first(store: Store) -> None:
    assert store.activations.latest_first() == []
    first = store.activations.add("one", "d1", "a start", "releases/one")
    second = store.activations.add("two", "d2", "it is better", "releases/one")
    assert store.activations.latest_first() == [second, first]
    assert second == Activation(2, "two", "d2", "it is better", "releases/one", second.activated_at)


def test_a_damaged_activation_is_reported_and_left_out(store: Store, tmp_path: Path) -> None:
    first = store.activations.add("one", "d1", "", "releases/one")
    store.activations.add("two", "d2", "", "releases/one")
    behind_its_back(tmp_path / "sameask.db", "UPDATE activations SET release = 'three' WHERE id = ?", 2)
    assert store.activations.latest_first() == [first]
    assert store.database.damaged == 1
