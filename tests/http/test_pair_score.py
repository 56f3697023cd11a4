"""`POST /pair-score`, by value."""

import itertools
import re
from typing import Any, cast

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.engine.models.encoder import Encoder
from tests.backend import WITHIN
from tests.serving import PROBLEM, SAME_WORDS, ask, watched_model, write

TEXTS = [
    "How do I reset my password?",
    "How can I reset my password?",
    "Where do I reset my password?",
    "How do I change my password?",
    "Why does my laptop overheat?",
    "What is the capital of France?",
    "What is the capital of Spain?",
    "¿Cuál es la capital de España?",
    "x",
    "A long one: " + "and so on, " * 30,
]


def _score(client: TestClient, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    body = {"pairs": [{"question1": a, "question2": b} for a, b in pairs]}
    response = client.post("/pair-score", json=body)
    assert response.status_code == 200, response.text
    return cast(list[dict[str, Any]], response.json()["scores"])


def test_similarity_is_the_dot_product_of_the_unit_vectors(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    pairs = list(itertools.combinations(range(len(TEXTS)), 2))
    vectors = tiny_encoder.encode(TEXTS).astype(np.float64)
    scores = _score(client, *((TEXTS[i], TEXTS[j]) for i, j in pairs))
    assert [s["similarity"] for s in scores] == pytest.approx(
        [vectors[i] @ vectors[j] for i, j in pairs], abs=1e-6
    )


def test_probability_is_the_calibration_of_the_similarity(client: TestClient) -> None:
    scores = _score(client, *itertools.combinations(TEXTS, 2))
    probabilities = [1 / (1 + np.exp(-(100.0 * s["similarity"] - 90.0))) for s in scores]
    assert [s["probability"] for s in scores] == pytest.approx(probabilities, rel=1e-9)


@pytest.mark.parametrize(
    ("other", "verdict"), [(1, "duplicate"), (2, "review"), (3, "different"), (5, "different")]
)
def test_verdict_follows_the_thresholds(client: TestClient, other: int, verdict: str) -> None:
    (score,) = _score(client, (TEXTS[0], TEXTS[other]))
    assert score["verdict"] == verdict
    assert ((score["probability"] >= 0.5), (score["probability"] >= 0.9)) == {
        "duplicate": (True, True),
        "review": (True, False),
        "different": (False, False),
    }[verdict]


def test_the_order_of_a_pair_makes_no_difference(client: TestClient) -> None:
    pairs = list(itertools.combinations(TEXTS, 2))
    together = _score(client, *pairs)
    turned = _score(client, *((b, a) for a, b in reversed(pairs)))[::-1]
    alone = [_score(client, (b, a))[0] for a, b in pairs[:10]]
    for name in ("similarity", "probability"):
        assert [s[name] for s in turned] == pytest.approx(
            [s[name] for s in together], abs=1e-4, rel=1e-4
        )
    assert [s["similarity"] for s in turned] == pytest.approx(
        [s["similarity"] for s in together], abs=1e-6
    )
    assert [s["similarity"] for s in alone] == pytest.approx(
        [s["similarity"] for s in together[:10]], abs=1e-6
    )
    assert [s["verdict"] for s in turned] == [s["verdict"] for s in together]


def test_a_pair_and_its_turn_in_one_request_score_alike(client: TestClient) -> None:
    one, turned = _score(client, (TEXTS[0], TEXTS[2]), (TEXTS[2], TEXTS[0]))
    for reason in turned["reasons"]:
        reason["spans1"], reason["spans2"] = reason["spans2"], reason["spans1"]
    for reason in (*one["reasons"], *turned["reasons"]):
        del reason["sentence"]  # it names what the first text has, then what the second has
    assert one == turned


@pytest.mark.parametrize(
    ("question1", "question2"),
    [
        ("How do I reset my password?", "How do I reset my password?"),
        ("How do I reset my password?", " How do I\u2003reset\nmy password? "),
        ("What’s “this”?", 'What\'s "this"?'),
        ("caf\u00e9?", "cafe\u0301?\u200b"),
    ],
)
def test_a_pair_of_the_same_visible_words_is_1_without_the_model(
    client: TestClient, question1: str, question2: str
) -> None:
    with watched_model() as model:
        model.failing = True
        scores = _score(client, (question1, question2))
    assert scores == [
        {
            "similarity": 1.0,
            "probability": 1.0,
            "read": False,
            "verdict": "duplicate",
            "truncated1": False,
            "truncated2": False,
            "reasons": [SAME_WORDS],
            "label": None,
        }
    ]
    assert model.seen == []


def test_equal_and_unequal_pairs_keep_their_places(client: TestClient) -> None:
    pairs = [(TEXTS[0], TEXTS[1]), ("Same?", " Same?"), (TEXTS[0], TEXTS[4]), (TEXTS[0], TEXTS[1])]
    scores = _score(client, *pairs)
    assert scores[1] == {
        "similarity": 1.0,
        "probability": 1.0,
        "read": False,
        "verdict": "duplicate",
        "truncated1": False,
        "truncated2": False,
        "reasons": [SAME_WORDS],
        "label": None,
    }
    assert scores[0] == scores[3]
    for place in (0, 2):
        assert scores[place]["similarity"] == pytest.approx(
            _score(client, pairs[place])[0]["similarity"], abs=1e-6
        )
    assert scores[0]["similarity"] > scores[2]["similarity"]


def test_it_says_what_duplicates_says_of_the_same_pair(client: TestClient) -> None:
    stored = {str(i): text for i, text in enumerate(TEXTS[1:])}
    write(client, **stored)
    candidates = ask(client, TEXTS[0], top_k=100)["results"][0]["candidates"]
    scores = _score(client, *((TEXTS[0], stored[c["id"]]) for c in candidates))
    assert sorted(c["id"] for c in candidates) == sorted(stored)
    assert [s["similarity"] for s in scores] == pytest.approx(
        [c["similarity"] for c in candidates], abs=WITHIN
    )
    assert [s["probability"] for s in scores] == pytest.approx(
        [c["probability"] for c in candidates], abs=100 * WITHIN
    )
    assert [s["verdict"] for s in scores] == [c["verdict"] for c in candidates]


def test_truncated_says_which_text_the_model_did_not_read_to_its_end(client: TestClient) -> None:
    short, long = TEXTS[0], TEXTS[-1]
    scores = _score(client, (short, long), (long, short), (long, f"{long} more"), (short, TEXTS[1]))
    flags = [(score["truncated1"], score["truncated2"]) for score in scores]
    assert flags == [(False, True), (True, False), (True, True), (False, False)]
    assert scores[2]["verdict"] == "review"


def test_while_the_model_fails_an_unequal_pair_is_503(client: TestClient) -> None:
    body = {"pairs": [{"question1": TEXTS[0], "question2": TEXTS[1]}]}
    with watched_model() as model:
        model.failing = True
        response = client.post("/pair-score", json=body)
    assert (response.status_code, response.headers["content-type"]) == (503, PROBLEM)
    assert response.headers["Retry-After"] == "1"


def test_the_answer_has_the_keys_of_the_contract_and_no_others(client: TestClient) -> None:
    body = {
        "pairs": [{"question1": TEXTS[0], "question2": other} for other in (TEXTS[0], TEXTS[1])]
    }
    answer = client.post("/pair-score", json=body).json()
    assert list(answer) == ["release", "scores"]
    assert answer["release"] == "tiny"
    assert [list(score) for score in answer["scores"]] == 2 * [
        [
            *("similarity", "probability", "read", "verdict"),
            *("truncated1", "truncated2", "reasons", "label"),
        ]
    ]


def test_server_timing_names_each_phase_and_its_milliseconds(client: TestClient) -> None:
    body = {"pairs": [{"question1": TEXTS[0], "question2": TEXTS[1]}]}
    timing = client.post("/pair-score", json=body).headers["Server-Timing"]
    assert re.fullmatch(r"lookup;dur=\d+\.\d+, tokenize;dur=\d+\.\d+, encode;dur=\d+\.\d+", timing)
