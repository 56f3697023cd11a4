"""The pair classifier in the answers: `/pair-score` and `/duplicates` say what it says, where it has read the pair."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.models.pair_classifier import PairClassifier
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.tiny_model import build_tiny_classifier

QUESTIONS = {
    "a": "How do I reset my password?",
    "b": "How can I reset my password today?",
    "c": "Where is the invoice of March?",
    "d": "Who may park in this street?",
}
ASKED = "How do I reset my password now?"


@pytest.fixture(scope="module", params=[1, 2])
def classifier(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return build_tiny_classifier(
        tiny_model, tmp_path_factory.mktemp("classifier") / "tiny", request.param
    )


@pytest.fixture
def client(classifier: Path, tiny_model: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A service with a classifier that reads two candidates of a question."""
    release = publish_release(tmp_path / "classified", tiny_model, 32, classifier=classifier)
    settings = Settings(
        data_dir=tmp_path / "data", release=release.path, device="cpu", verify_depth=2
    )
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        client.post(
            "/questions",
            json={"questions": [{"id": i, "text": text} for i, text in QUESTIONS.items()]},
        )
        yield client


def probability(classifier: Path, first: str, second: str) -> float:
    """By the classifier alone, outside the service."""
    return 1 / (
        1 + math.exp(-float(PairClassifier.open(classifier, "cpu").score([(first, second)])[0]))
    )


def candidates(client: TestClient, verify: str) -> dict[str, dict[str, Any]]:
    answer = client.post("/duplicates", json={"questions": [ASKED], "top_k": 4, "verify": verify})
    assert answer.status_code == 200, answer.text
    return {candidate["id"]: candidate for candidate in answer.json()["results"][0]["candidates"]}


def test_pair_score_is_the_classifiers(client: TestClient, classifier: Path) -> None:
    for first, second in ((ASKED, QUESTIONS["a"]), (QUESTIONS["a"], ASKED)):
        body = {"pairs": [{"question1": first, "question2": second}]}
        (score,) = client.post("/pair-score", json=body).json()["scores"]
        assert score["probability"] == pytest.approx(
            probability(classifier, first, second), abs=1e-5
        )


def test_always_reads_every_candidate(client: TestClient, classifier: Path) -> None:
    found = candidates(client, "always")
    assert found.keys() == QUESTIONS.keys()
    for id_, candidate in found.items():
        assert candidate["probability"] == pytest.approx(
            probability(classifier, ASKED, QUESTIONS[id_]), abs=1e-5
        )


def test_never_reads_none_and_says_review_at_most(client: TestClient) -> None:
    found = candidates(client, "never").values()
    assert any(candidate["probability"] > 0.9 for candidate in found)
    for candidate in found:
        assert candidate["verdict"] != "duplicate"
        logit = 100 * candidate["similarity"] - 90
        assert candidate["probability"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-3)


def test_auto_reads_the_nearest(client: TestClient, classifier: Path) -> None:
    unread, found = candidates(client, "never"), candidates(client, "auto")
    nearest = sorted(unread.values(), key=lambda candidate: -candidate["similarity"])[:2]
    nearest_ids = {candidate["id"] for candidate in nearest}
    for id_, candidate in found.items():
        expected = (
            probability(classifier, ASKED, QUESTIONS[id_])
            if id_ in nearest_ids
            else unread[id_]["probability"]
        )
        assert candidate["probability"] == pytest.approx(expected, abs=1e-5)


def test_what_people_call_different_takes_no_place_of_what_is_read(client: TestClient) -> None:
    nearest = ("a", "b")
    assert {id_ for id_, one in candidates(client, "auto").items() if one["read"]} == {*nearest}
    labels = [
        {"questions": [ASKED, QUESTIONS[id_]], "is_duplicate": False, "by": "anna"}
        for id_ in nearest
    ]
    client.post("/labels", json={"labels": labels})
    assert {id_ for id_, one in candidates(client, "auto").items() if one["read"]} == {"c", "d"}


def test_the_strongest_verdict_comes_first(client: TestClient) -> None:
    for verify in ("auto", "always", "never"):
        found = list(candidates(client, verify).values())
        order = ["duplicate", "review", "different"]
        ranks = [
            (order.index(candidate["verdict"]), -candidate["probability"]) for candidate in found
        ]
        assert ranks == sorted(ranks)


def test_timing_says_how_long_reading_took(client: TestClient) -> None:
    answer = client.post("/duplicates", json={"questions": [ASKED], "verify": "always"})
    assert "verify;dur=" in answer.headers["Server-Timing"]


def test_more_pairs_than_may_wait_are_refused(client: TestClient) -> None:
    body = {"questions": [f"{ASKED} {i}" for i in range(100)], "top_k": 100, "verify": "always"}
    answer = client.post("/duplicates", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["detail"]) == (
        "verify",
        "always means 10,000 pairs; at most 1,024 (SAMEASK_MAX_WAITING_PAIRS)",
    )


def test_a_top_k_too_long_to_be_multiplied_is_refused(client: TestClient) -> None:
    """Python tells no integer of more than 4,300 digits."""
    body = {"questions": [ASKED] * 100, "top_k": 10**4299, "verify": "always"}
    answer = client.post("/duplicates", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "top_k"


def test_always_needs_a_classifier(tiny_model: Path, tmp_path: Path) -> None:
    release = publish_release(tmp_path / "plain", tiny_model, 32)
    settings = Settings(data_dir=tmp_path / "data", release=release.path, device="cpu")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        answer = client.post("/duplicates", json={"questions": [ASKED], "verify": "always"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "verify"
        assert (
            client.post("/duplicates", json={"questions": [ASKED], "verify": "auto"}).status_code
            == 200
        )
