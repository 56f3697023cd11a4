"""A promise over HTTP: wishes, the review queue, labels, and thresholds that follow them."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.engine.background_reading import embed
from app.engine.live_release import LiveRelease
from app.engine.scorer import CollectionThresholds
from app.engine.store import Derived, NewLabel
from app.engine.store.asked import Asked
from app.main import create_app
from app.promises import pool
from app.promises.labelled import LabelledPairs
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.promises.corpus import (
    counted,
    evidence,
    fill,
    label,
    label_until_kept,
    promises_of,
    questions,
    queue,
    thresholds,
)
from tests.serving import PATIENCE_SECONDS, PROBLEM, ask, detector_of, wait_until, write

RANGE = "must be above 0.5 and at most 0.999"
WISH = {"target_precision": 0.8}


def test_wishes_are_kept_and_taken_back(client: TestClient) -> None:
    wishes = {"target_precision": 0.95, "url_template": "https://forum.example/t/{id}"}
    made = client.put("/collections/faq", json=wishes)
    assert made.status_code == 201
    assert made.json() | wishes == made.json()
    assert made.json()["review_recall"] is None
    changed = client.put("/collections/faq", json={"review_recall": 0.9}).json()
    assert changed | wishes | {"review_recall": 0.9} == changed
    back = client.put("/collections/faq", json={"target_precision": None})
    assert (back.status_code, back.json()["target_precision"]) == (200, None)
    assert client.put("/collections/faq").json() == back.json()


@pytest.mark.parametrize("target", [0.5, 0.9991, 1, 0, -0.9, 95])
def test_a_target_out_of_its_range_is_refused_with_the_range(
    client: TestClient, target: float
) -> None:
    answer = client.put("/collections/faq", json={"target_precision": target})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["errors"] == [{"field": "target_precision", "detail": RANGE}]
    assert client.get("/collections/faq").status_code == 404


@pytest.mark.parametrize(
    "template",
    [
        "https://forum.example/t/",
        "https://forum.example/{id}/{id}",
        "https://{id}.example/t",
        "https://forum.example/t/{id}/{slug}",
        "javascript:alert({id})",
        "//forum.example/{id}",
        "https://anna@forum.example/{id}",
        "https://forum.example/t {id}",
        "https:///{id}",
    ],
)
def test_a_template_that_leads_elsewhere_is_refused(client: TestClient, template: str) -> None:
    answer = client.put("/collections/faq", json={"url_template": template})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["url_template"]


def test_labels_of_the_queue_move_the_threshold_and_a_restart_keeps_it(
    settings: Settings,
) -> None:
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        fill(client)
        client.put("/collections/default", json=WISH)
        assert thresholds(client)["source"] == "release"
        assert evidence(client)["promise"]["lacking"] > 0
        label_until_kept(client)
        own = thresholds(client)
        report = evidence(client)
        assert report["thresholds"] == own
        assert report["promise"]["duplicate"] == own["duplicate"]
        assert report["promise"]["precision_bound"] >= 0.8
        assert report["labels"]["by"] == [{"by": "anna", "labels": report["labels"]["counted"]}]
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert thresholds(client) == own
        wait_until(lambda: evidence(client)["near_pairs"]["to_read"] == 0)
        assert thresholds(client) == own
        assert evidence(client)["labels"] == report["labels"]


def test_the_threshold_decides_in_every_answer_and_a_new_import_keeps_it(
    client: TestClient,
) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    label_until_kept(client)
    own = thresholds(client)
    assert own["source"] == "collection"
    texts = questions(160, seed=7)
    pairs = [{"question1": texts["q0"], "question2": text} for text in list(texts.values())[1:100]]
    scores = client.post("/pair-score", json={"pairs": pairs}).json()["scores"]
    assert {score["verdict"] for score in scores if score["probability"] >= own["duplicate"]} == {
        "duplicate"
    }
    other = [s["verdict"] for s in scores if own["review"] <= s["probability"] < own["duplicate"]]
    assert set(other) <= {"review"}
    for id_ in questions():
        client.delete(f"/questions/{id_}")
    write(client, **questions())
    assert thresholds(client) == own
    wait_until(lambda: evidence(client)["near_pairs"]["known"] > 100)
    assert counted(client) > 0


def test_a_label_acts_at_once_and_its_undoing_too(client: TestClient) -> None:
    fill(client)
    client.put("/collections/default", json=WISH)
    pair, *_ = queue(client)["pairs"]
    label(client, pair)
    wait_until(lambda: counted(client) == 1)
    client.delete("/labels/1", params={"by": "anna"})
    wait_until(lambda: counted(client) == 0)


def test_two_moderators_get_different_pairs_and_each_its_own_again(client: TestClient) -> None:
    fill(client)
    annas, bens = queue(client, "anna"), queue(client, "ben")
    assert len(annas["pairs"]) == len(bens["pairs"]) == 5
    ids = {pair["id"] for pair in annas["pairs"]}
    assert ids.isdisjoint(pair["id"] for pair in bens["pairs"])
    assert ids == {pair["id"] for pair in queue(client, "anna")["pairs"]}
    for pair in annas["pairs"]:
        assert 0 < pair["offered_probability"] <= 1
        assert pair["offered_by"] in ("chosen", "random")
        assert pair["claimed_until"].endswith("Z")


def test_a_claim_ends_after_a_minute(client: TestClient) -> None:
    fill(client, 12)
    promises_of(client)
    held = queue(client, "anna", limit=20)
    while queue(client, "anna", limit=20)["waiting"]:
        for pair in queue(client, "anna", limit=20)["pairs"]:
            client.post(
                "/collections/default/review-queue/skip", json={"by": "anna", "id": pair["id"]}
            )
        held = queue(client, "anna", limit=20)
    assert held["pairs"]
    assert queue(client, "ben")["pairs"] == []
    claims = detector_of(client).store.claims
    now = claims.clock()
    claims.clock = lambda: now + 61
    assert queue(client, "ben", limit=1)["pairs"]


def test_a_pair_that_nobody_answered_comes_before_others(client: TestClient) -> None:
    fill(client, 30)
    first = [pair["id"] for pair in queue(client, "anna", limit=3)["pairs"]]
    claims = detector_of(client).store.claims
    now = claims.clock()
    claims.clock = lambda: now + 61
    again = [pair["id"] for pair in queue(client, "ben", limit=5)["pairs"]]
    assert again[:3] == first
    assert len(set(again)) == 5


def test_looks_that_nobody_answers_count_nothing_that_was_labelled_elsewhere(
    client: TestClient,
) -> None:
    """Else easy pairs that people chose would be all that counts, and promise what others don't keep."""
    fill(client, 24)
    ids = list(questions(24))[:16]
    labels = [
        {"ids": [one, other], "is_duplicate": True, "by": "anna"}
        for place, one in enumerate(ids)
        for other in ids[place + 1 :]
    ]
    assert client.post("/labels", json={"labels": labels}).status_code == 200
    claims = detector_of(client).store.claims
    now = claims.clock()
    (offered,) = queue(client, "ben", limit=1)["pairs"]
    before = counted(client)
    looks = 0

    def later() -> float:
        return now + 61 * looks

    claims.clock = later
    for _ in range(20):
        looks += 1
        assert [pair["id"] for pair in queue(client, "ben", limit=1)["pairs"]] == [offered["id"]]
    assert counted(client) == before


def test_each_pair_is_offered_once_and_a_skipped_one_counts_as_no_duplicate(
    client: TestClient,
) -> None:
    fill(client, 30)
    first, second, *_ = queue(client)["pairs"]
    skip = {"by": "anna", "id": first["id"]}
    answer = client.post("/collections/default/review-queue/skip", json=skip)
    assert (answer.status_code, answer.json()) == (
        200,
        {"collection": "default", "id": first["id"]},
    )
    label(client, second, is_duplicate=True)
    wait_until(lambda: evidence(client)["labels"]["skipped"] == 1 and counted(client) == 1)
    assert evidence(client)["labels"]["duplicates"] == 1
    seen = [first["id"], second["id"]]
    while pairs := queue(client, limit=20)["pairs"]:
        seen += [pair["id"] for pair in pairs]
        label(client, *pairs)
    assert len(set(seen)) == len(seen)
    unknown = {"by": "anna", "id": 10_000}
    answer = client.post("/collections/default/review-queue/skip", json=unknown)
    assert (answer.status_code, answer.json()["title"]) == (404, "Offer not found")


def test_contradicted_pairs_and_those_that_were_not_drawn_do_not_count(client: TestClient) -> None:
    fill(client, 30)
    first, second, *_ = queue(client)["pairs"]
    label(client, first, second, by="anna", is_duplicate=True)
    label(client, first, by="ben", is_duplicate=False)
    chosen = {"questions": ["Something else?", "Other things?"], "is_duplicate": False, "by": "cem"}
    client.post("/labels", json={"labels": [chosen]})
    wait_until(lambda: evidence(client)["labels"]["contradicted"] == 1)
    counts = evidence(client)["labels"]
    assert (counts["counted"], counts["not_offered"]) == (1, 1)


def test_a_pair_that_was_labelled_elsewhere_counts_once_the_lot_falls_on_it(
    client: TestClient,
) -> None:
    write(client, **questions(12))
    ids = list(questions(12))
    labels = [
        {"ids": [one, other], "is_duplicate": True, "by": "anna"}
        for place, one in enumerate(ids)
        for other in ids[place + 1 :]
    ]
    assert client.post("/labels", json={"labels": labels}).status_code == 200
    wait_until(lambda: evidence(client)["near_pairs"]["known"] > 12)
    assert queue(client, limit=20)["pairs"] == []
    wait_until(lambda: counted(client) == evidence(client)["near_pairs"]["known"])


ASKED = "can i cancel my parcel secretly?"


@contextmanager
def having_asked(settings: Settings) -> Iterator[TestClient]:
    """The running service, which remembers that somebody asked ASKED."""
    remembering = settings.model_copy(update={"remember_asked": True})
    with TestClient(create_app(remembering)) as client:
        wait_until_ready(client)
        write(client, **questions(8))
        ask(client, ASKED)
        wait_until(lambda: ASKED in promises_of(client)._store.asked.latest(1, 10))
        yield client


def test_a_wish_that_was_taken_back_holds_no_more_after_a_kill(settings: Settings) -> None:
    """It is acknowledged a little before the thresholds that it brought are let go of."""
    with TestClient(create_app(settings)) as client:
        detector = detector_of(client)
        by = detector.live.release.digest
        key = detector.store.collections.get("default").key
        held = CollectionThresholds(0.6, 0.3, "collection", "collection")
        detector.store.derived.note(key, by, Derived(held, np.ones(3, np.float32)))
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        wait_until(lambda: thresholds(client)["source"] == "release")


def test_what_was_asked_is_offered_only_where_it_is_remembered_and_is_erased(
    settings: Settings,
) -> None:
    with having_asked(settings) as client:
        assert ASKED in texts_offered(client)
        assert client.delete("/collections/default/asked").status_code == 204
        assert promises_of(client)._store.asked.latest(1, 10) == []
        assert ASKED not in texts_offered(client)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        ask(client, ASKED)
        time.sleep(1.2)  # longer than until it would be written
        assert promises_of(client)._store.asked.latest(1, 10) == []


def test_what_another_replica_erased_is_offered_to_nobody(settings: Settings) -> None:
    with having_asked(settings) as client:
        assert ASKED in texts_offered(client)
        promises_of(client)._store.asked.erase("default")  # as another process does
        assert ASKED not in texts_offered(client)
        assert ASKED not in texts_offered(client, "ben")


def test_a_pair_that_somebody_holds_goes_with_its_question(client: TestClient) -> None:
    write(client, **questions(24))
    pair, *_ = queue(client, limit=20)["pairs"]
    gone = pair["questions"][0]
    assert client.delete(f"/questions/{gone['id']}").status_code == 200
    assert gone["text"] not in texts_offered(client)


def texts_offered(client: TestClient, by: str = "anna") -> list[str]:
    """The texts of all pairs that a person is offered."""
    pairs = queue(client, by, limit=20)["pairs"]
    return [question["text"] for pair in pairs for question in pair["questions"]]


def test_what_is_erased_while_its_pairs_are_looked_for_is_not_offered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_embedding, go_on = threading.Event(), threading.Event()

    async def slowly(release: LiveRelease, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        vectors = await embed(release, texts)
        is_embedding.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return vectors

    monkeypatch.setattr(pool, "embed", slowly)
    with having_asked(settings) as client:
        evidence(client)
        assert is_embedding.wait(PATIENCE_SECONDS)
        assert client.delete("/collections/default/asked").status_code == 204
        go_on.set()
        kept = promises_of(client).kept.get(1)
        assert kept is not None
        wait_until(lambda: kept.pool.to_read == 0)
        assert ASKED not in texts_offered(client)


def test_what_is_erased_while_it_is_written_is_erased(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, go_on, is_written = threading.Event(), threading.Event(), threading.Event()
    note = Asked.note

    def slowly(asked: Asked, collection_key: int, texts: Sequence[str]) -> None:
        is_writing.set()
        assert go_on.wait(PATIENCE_SECONDS)
        note(asked, collection_key, texts)
        is_written.set()

    monkeypatch.setattr(Asked, "note", slowly)
    remembering = settings.model_copy(update={"remember_asked": True})
    with TestClient(create_app(remembering)) as client, ThreadPoolExecutor(1) as thread:
        wait_until_ready(client)
        write(client, **questions(8))
        ask(client, ASKED)
        assert is_writing.wait(PATIENCE_SECONDS)
        erasure = thread.submit(client.delete, "/collections/default/asked")
        wait([erasure], timeout=0.3)  # it would be over by now, and what follows be kept
        go_on.set()
        assert is_written.wait(PATIENCE_SECONDS)
        assert erasure.result(PATIENCE_SECONDS).status_code == 204
        assert promises_of(client)._store.asked.latest(1, 10) == []


def test_a_label_keeps_how_its_pair_was_offered(client: TestClient) -> None:
    fill(client, 12)
    pair, *_ = queue(client)["pairs"]
    label(client, pair)
    chosen = {"questions": ["Something else?", "Other things?"], "is_duplicate": False, "by": "cem"}
    client.post("/labels", json={"labels": [chosen]})
    first, second = client.get("/labels").json()["labels"]
    assert first["offered_by"] == pair["offered_by"]
    assert first["offered_probability"] == pair["offered_probability"]
    assert (second["offered_by"], second["offered_probability"]) == (None, None)
    undone = client.delete("/labels/1", params={"by": "anna"}).json()
    assert undone["offered_by"] == pair["offered_by"]


@pytest.mark.parametrize("made", ["tiny", "its parent"])
def test_labels_that_a_release_has_learnt_from_count_for_nothing_by_it(
    client: TestClient, made: str
) -> None:
    fill(client, 30)
    label(client, *queue(client)["pairs"])
    wait_until(lambda: counted(client) == 5)
    promises = promises_of(client)
    runs = promises._store.training_runs
    run = runs.start("default", {"champion": "/releases/before"})
    assert runs.claim("worker", 60)
    runs.end(run.id, "worker", "succeeded", release=made)
    if made != "tiny":  # which goes back to that, by labels of another collection
        client.put("/collections/another")
        texts = ("One?", "Two?")
        promises._store.labels.write("another", [NewLabel(True, "anna", questions=texts)])
        later = runs.start("another", {"champion": f"/releases/{made}"})
        assert runs.claim("worker", 60)
        runs.end(later.id, "worker", "succeeded", release="tiny")
    promises.kept.forget(run.collection_key)
    assert evidence(client)["promises"][0]["labels"] == 0
    assert all(point["labels"] == 0 for point in evidence(client)["curve"])


def test_an_unknown_collection_has_no_evidence(client: TestClient) -> None:
    for address in ("evidence", "review-queue?by=anna"):
        answer = client.get(f"/collections/none/{address}")
        assert (answer.status_code, answer.json()["title"]) == (404, "Collection not found")


def test_a_labelled_pair_is_not_offered_again_while_its_label_is_being_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thresholds' task has taken the label, and has not read it yet."""
    fill(client, 30)
    (pair,) = queue(client, limit=1)["pairs"]
    is_reading, may_read, renew = threading.Event(), threading.Event(), LabelledPairs.renew

    def wait_and_renew(labelled: LabelledPairs, pairs: Sequence[bytes]) -> None:
        is_reading.set()
        assert may_read.wait(PATIENCE_SECONDS)
        renew(labelled, pairs)

    monkeypatch.setattr(LabelledPairs, "renew", wait_and_renew)
    label(client, pair, is_duplicate=True)
    assert is_reading.wait(PATIENCE_SECONDS)
    with ThreadPoolExecutor(1) as asking:
        offered = asking.submit(queue, client, limit=1)
        time.sleep(0.2)  # enough for an answer that waits for nothing
        may_read.set()
        (following,) = offered.result(PATIENCE_SECONDS)["pairs"]
    assert following["id"] != pair["id"]
