"""Two services over one database: whichever of them is asked, the answer is the same."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.engine.store import Store
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.promises.corpus import evidence, fill, label, label_until_kept, queue, thresholds
from tests.serving import ask, wait_until, write


@pytest.fixture
def replicas(
    cluster_url: str, tmp_path: Path, tiny_release: Release
) -> Iterator[tuple[TestClient, TestClient]]:
    """Two, each with a data directory of its own."""
    one, other = (
        Settings(
            data_dir=tmp_path / name,
            database_url=cluster_url,
            release=tiny_release.path,
            device="cpu",
        )
        for name in ("one", "other")
    )
    with TestClient(create_app(one)) as first, TestClient(create_app(other)) as second:
        wait_until_ready(first)
        wait_until_ready(second)
        yield first, second


def nearest(client: TestClient, question: str, collection: str = "default") -> list[str]:
    """The ids of the candidates, the most similar first."""
    (result,) = ask(client, question, collection=collection, verify="never")["results"]
    return [candidate["id"] for candidate in result["candidates"]]


def test_what_one_acknowledges_the_other_finds_at_once(
    replicas: tuple[TestClient, TestClient],
) -> None:
    one, other = replicas
    write(one, a="How do I share a folder?", b="How do I cook rice?")
    for number in range(5):
        writer, asker = (one, other) if number % 2 else (other, one)
        written = write(writer, **{f"q{number}": f"How do I share folder number {number}?"})
        answer = ask(asker, f"how do i share a folder number {number}", verify="never")
        assert answer["revision"] == written["revision"]
        offered = [candidate["id"] for candidate in answer["results"][0]["candidates"]]
        assert f"q{number}" in offered
    assert other.delete("/questions/a").status_code == 200
    assert "a" not in nearest(one, "how do i share a folder")


def test_collection_that_one_makes_the_other_fills_and_deletes(
    replicas: tuple[TestClient, TestClient],
) -> None:
    one, other = replicas
    assert one.put("/collections/made", json={}).status_code in (200, 201)
    assert nearest(other, "anything", "made") == []
    write(other, "made", x="How do I share a folder?")
    assert nearest(one, "how to share folders", "made") == ["x"]
    for client in replicas:
        ready = client.get("/readyz").json()
        assert (ready["collections_ready"], ready["questions_indexed"]) == (2, 1)
    assert other.delete("/collections/made").status_code == 204
    answer = one.post("/duplicates", json={"questions": ["a"], "collection": "made"})
    assert answer.status_code == 404
    assert one.get("/readyz").json()["collections_ready"] == 1


def test_write_of_a_process_that_died_is_indexed_by_the_others(
    replicas: tuple[TestClient, TestClient], cluster_url: str
) -> None:
    one, other = replicas
    with closing(Store(cluster_url)) as store:  # it commits, and embeds nothing
        store.questions.upsert("default", [("a", "How do I share a folder?")])
    wait_until(lambda: nearest(other, "how to share folders") == ["a"])
    assert nearest(one, "how to share folders") == ["a"]


def test_thresholds_that_one_derives_of_labels_hold_at_the_other(
    replicas: tuple[TestClient, TestClient],
) -> None:
    one, other = replicas
    fill(one)
    assert one.put("/collections/default", json={"target_precision": 0.8}).status_code == 200
    label_until_kept(one)
    wait_until(lambda: thresholds(other) == thresholds(one))
    assert thresholds(other)["source"] == "collection"
    assert evidence(other)["labels"]["counted"] == evidence(one)["labels"]["counted"] > 0
    assert one.put("/collections/default", json={"target_precision": None}).status_code == 200
    wait_until(lambda: thresholds(other)["source"] == "release")


def test_nobody_is_offered_a_pair_that_somebody_looks_at_at_another_replica(
    replicas: tuple[TestClient, TestClient],
) -> None:
    one, other = replicas
    fill(one)
    wait_until(lambda: evidence(other)["near_pairs"]["known"] > 0)
    wait_until(lambda: evidence(other)["near_pairs"]["to_read"] == 0)
    annas = {pair["id"] for pair in queue(one, "anna", limit=20)["pairs"]}
    bens: set[int] = set()
    for _ in range(5):
        bens |= {pair["id"] for pair in queue(other, "ben", limit=20)["pairs"]}
    assert (len(annas), len(bens), annas & bens) == (20, 20, set())
    assert {pair["id"] for pair in queue(other, "anna", limit=20)["pairs"]} == annas
    first, *_ = queue(one, "anna")["pairs"]
    label(other, first)
    wait_until(lambda: evidence(one)["labels"]["counted"] == 1)
    assert first["id"] not in {pair["id"] for pair in queue(one, "anna")["pairs"]}
