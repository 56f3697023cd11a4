"""Metrics of verdicts and promises, and the alarms that read them."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.engine.findings import Findings
from app.engine.store import Store
from app.promises.activity import DAY_SECONDS, DAYS, HOUR_SECONDS, MOST_NAMED, Activity
from tests.promises.corpus import counted, evidence, fill, label, queue
from tests.serving import app_of, ask, wait_until, write

RULES = Path(__file__).parent.parent.parent / "deploy" / "prometheus-rules.yaml"


def samples(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric, by the values of its labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        tuple(sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_verdicts_are_counted_by_collection(client: TestClient) -> None:
    write(client, a="One?", b="Is this something else?")
    ask(client, "One?", "one?")
    client.put("/collections/faq")
    ask(client, "One?", collection="faq")
    assert samples(client, "sameask_verdicts_total") == {
        ("default", "duplicate"): 2,
        ("faq", "new"): 1,
    }


def test_collections_past_a_number_are_counted_together(client: TestClient) -> None:
    activity: Activity = app_of(client).state.activity
    write(client, a="One?")
    for number in range(MOST_NAMED + 3):
        client.put(f"/collections/c{number:02}")
        ask(client, "One?", collection=f"c{number:02}")
    assert len({name for name, _ in activity.verdicts}) == MOST_NAMED + 1
    assert activity.verdicts["(others)", "new"] == 3


def volumes(client: TestClient, name: str) -> list[float]:
    """Questions a day, by the points of a collection's curve."""
    return [point["volume_a_day"] for point in evidence(client, name)["curve"]]


def test_what_was_asked_in_a_deleted_collection_is_none_of_a_new_one(client: TestClient) -> None:
    activity: Activity = app_of(client).state.activity
    activity._since -= 24 * HOUR_SECONDS
    for is_asked in (True, False):
        client.put("/collections/faq")
        write(client, "faq", a="One?", b="Two?")
        if is_asked:
            ask(client, "One?", collection="faq")
        assert max(volumes(client, "faq")) == pytest.approx(float(is_asked), abs=0.01)
        assert client.delete("/collections/faq").status_code == 204


def test_what_was_counted_long_ago_is_forgotten_though_nobody_asks_there(store: Store) -> None:
    now = 0.0
    activity = Activity(store, clock=lambda: now)

    def asked(collection_key: int) -> None:
        candidate = SimpleNamespace(probability=1.0)
        finding = SimpleNamespace(verdict="review", candidates=[candidate])
        found = SimpleNamespace(collection="some", collection_key=collection_key, results=[finding])
        activity.note(cast(Findings, found))

    asked(1)
    now = DAYS * DAY_SECONDS - 1
    asked(2)
    assert activity.a_day(1, [0.5]) == [pytest.approx(1 / DAYS)]
    now += 1
    assert activity.a_day(1, [0.5]) == [0]
    assert activity._by_day.keys() == {2}


def test_a_promise_shows_whether_it_is_kept_and_how_many_labels_it_lacks(
    client: TestClient,
) -> None:
    assert samples(client, "sameask_promise_kept") == {}
    fill(client)
    client.put("/collections/default", json={"target_precision": 0.9})
    label(client, *queue(client)["pairs"], is_duplicate=True)
    wait_until(lambda: counted(client) == 5)
    assert samples(client, "sameask_promise_kept") == {("default",): 0}
    assert samples(client, "sameask_promise_labels") == {("default",): 5}
    wait_until(lambda: 10 < samples(client, "sameask_promise_labels_lacking")["default",] < 200)
    assert samples(client, "sameask_labels_last_day") == {(): 5}
    label(client, *queue(client, limit=20)["pairs"], is_duplicate=False)
    wait_until(lambda: math.isnan(samples(client, "sameask_promise_labels_lacking")["default",]))


def test_alarms_read_metrics_that_there_are(client: TestClient) -> None:
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} >= {
        "SameaskNothingIsADuplicate",
        "SameaskNearlyEverythingIsADuplicate",
    }
    exposed = client.get("/metrics").text
    for rule in rules:
        for name in re.findall(r"sameask_[a-z_]+", rule["expr"]):
            assert f"# TYPE {name} " in exposed, rule["alert"]
