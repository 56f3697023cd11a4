"""The history of what was made live."""

import json
from pathlib import Path

import pytest

from app.engine.store import Activation, Store
from app.engine.store.deliveries import Outbox
from tests.engine.test_store import behind_its_back


def test_activations_come_back_the_latest_first(store: Store) -> None:
    assert store.activations.latest_first() == []
    first = store.activations.add("one", "d1", "a start", "releases/one")
    second = store.activations.add("two", "d2", "it is better", "releases/one")
    assert store.activations.latest_first() == [second, first]
    assert second == Activation(2, "two", "d2", "it is better", "releases/one", second.activated_at)


def test_an_activation_and_what_the_webhook_tells_of_it_stand_together_or_not_at_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store.activations.add("two", "d2", "it is better", "releases/one", before="one")
    (kept,) = store.deliveries.all()
    told = {"release": "two", "before": "one", "reason": "it is better", "at": made.activated_at}
    assert (kept.event, json.loads(kept.body)["data"]) == ("release.activated", told)

    def fail(*_: object) -> None:
        raise RuntimeError("the process is killed here")

    monkeypatch.setattr(Outbox, "insert", fail)
    with pytest.raises(RuntimeError):
        store.activations.add("three", "d3", "", "releases/one", before="two")
    assert store.activations.latest_first() == [made]
    assert store.deliveries.all() == [kept]


def test_a_damaged_activation_is_reported_and_left_out(store: Store, path: Path) -> None:
    first = store.activations.add("one", "d1", "", "releases/one")
    store.activations.add("two", "d2", "", "releases/one")
    behind_its_back(path, "UPDATE activations SET release = 'three' WHERE id = ?", 2)
    assert store.activations.latest_first() == [first]
    assert store.database.damaged == 1
