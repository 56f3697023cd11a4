"""`POST /duplicates`, by value."""

import re

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.engine.models.encoder import Encoder
from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.backend import WITHIN
from tests.conftest import publish_release, wait_until_ready
from tests.serving import PROBLEM, SAME_WORDS, ask, revision, watched_model, write

ASKED = "How do I reset my password?"
STORED = {
    "change": "How do I change my password?",
    "france": "What is the capital of France?",
    "laptop": "Why does my laptop overheat?",
    "can": "How can I reset my password?",
    "where": "Where do I reset my password?",
}


def _expected(encoder: Encoder, asked: str = ASKED) -> dict[str, float]:
    """Id -> similarity of every stored question, the most similar first, with NumPy alone."""
    vectors = encoder.encode([asked, *STORED.values()]).astype(np.float64)
    similarities = dict(zip(STORED, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    return dict(sorted(similarities.items(), key=lambda item: -item[1]))


def _verdict(probability: float) -> str:
    """By the thresholds of the tiny release."""
    return "duplicate" if probability >= 0.9 else "review" if probability >= 0.5 else "different"


def test_candidates_are_the_nearest_by_dot_product_the_most_similar_first(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    candidates = ask(client, ASKED)["results"][0]["candidates"]
    assert [c["id"] for c in candidates] == list(_expected(tiny_encoder))
    assert [c["similarity"] for c in candidates] == pytest.approx(
        list(_expected(tiny_encoder).values()), abs=WITHIN
    )
    assert [c["text"] for c in candidates] == [STORED[c["id"]] for c in candidates]


def test_probability_is_the_calibration_of_the_similarity(client: TestClient) -> None:
    write(client, **STORED)
    candidates = ask(client, ASKED)["results"][0]["candidates"]
    probabilities = [1 / (1 + np.exp(-(100.0 * c["similarity"] - 90.0))) for c in candidates]
    assert [c["probability"] for c in candidates] == pytest.approx(probabilities, rel=1e-9)


def test_verdict_of_a_candidate_follows_the_thresholds(client: TestClient) -> None:
    write(client, **STORED)
    candidates = ask(client, ASKED)["results"][0]["candidates"]
    verdicts = [_verdict(c["probability"]) for c in candidates]
    assert [c["verdict"] for c in candidates] == verdicts
    assert verdicts == ["duplicate", "review", "different", "different", "different"]


@pytest.mark.parametrize(
    ("stored", "verdict"),
    [("can", "duplicate"), ("where", "review"), ("change", "new"), ("france", "new")],
)
def test_verdict_of_a_question_is_its_best_candidates_and_different_is_new(
    client: TestClient, stored: str, verdict: str
) -> None:
    write(client, best=STORED[stored], worse="Zyx 1234?")
    result = ask(client, ASKED)["results"][0]
    assert [c["id"] for c in result["candidates"]] == ["best", "worse"]
    assert result["verdict"] == verdict


def test_nothing_is_a_duplicate_by_a_release_without_a_threshold(
    settings: Settings, tiny_release: Release
) -> None:
    base, out = tiny_release.base.open(), settings.data_dir.parent / "unsure"
    unsure = publish_release(out, base, tiny_release.dimension, duplicate_from=None)
    with TestClient(create_app(settings.model_copy(update={"release": unsure.path}))) as client:
        wait_until_ready(client)
        write(client, **STORED)
        answer = ask(client, ASKED)
    assert answer["release"] == "unsure"
    assert [c["verdict"] for c in answer["results"][0]["candidates"][:2]] == ["review", "review"]


def test_an_empty_collection_answers_new(client: TestClient) -> None:
    assert ask(client, ASKED) == {
        "release": "tiny",
        "collection": "default",
        "revision": 0,
        "results": [{"question": ASKED, "verdict": "new", "truncated": False, "candidates": []}],
    }


@pytest.mark.parametrize(
    "asked",
    [
        "How do I change my password?",
        "  How do I\tchange\n my password? ",
        "How do I change my pass\u00adword?\u200b",  # a soft hyphen, a zero-width space
    ],
)
def test_a_question_of_the_same_visible_words_is_a_duplicate_with_similarity_1(
    client: TestClient, asked: str
) -> None:
    write(client, **STORED)
    found = {
        "id": "change",
        "ids": ["change"],
        "id_count": 1,
        "text": STORED["change"],
        "truncated": False,
        "similarity": 1.0,
        "probability": 1.0,
        "read": False,
        "verdict": "duplicate",
        "reasons": [SAME_WORDS],
        "label": None,
    }
    assert ask(client, asked)["results"] == [
        {"question": asked, "verdict": "duplicate", "truncated": False, "candidates": [found]}
    ]


def test_every_exact_match_is_offered_the_oldest_first_up_to_top_k(client: TestClient) -> None:
    write(client, z="Same old?", m="Same  old?", a="Same old? ", other="Another one?")
    for asked, ids in {" Same old?": ["z", "m", "a"], "Same old? ": ["a", "z", "m"]}.items():
        found = ask(client, asked)["results"][0]["candidates"]
        assert [c["id"] for c in found] == ids  # the same bytes first
        found = ask(client, asked, top_k=2)["results"][0]["candidates"]
        assert [c["id"] for c in found] == ids[:2]


def test_exact_matches_are_found_while_the_model_fails(client: TestClient) -> None:
    write(client, **STORED)
    with watched_model() as model:
        model.failing = True
        result = ask(client, f" {STORED['where']}")["results"][0]
        other = client.post("/duplicates", json={"questions": [ASKED]})
    assert [(c["id"], c["similarity"], c["verdict"]) for c in result["candidates"]] == [
        ("where", 1.0, "duplicate")
    ]
    assert (other.status_code, other.headers["content-type"]) == (503, PROBLEM)
    assert other.json()["title"] == "Model failing"


def test_the_model_sees_each_open_question_once_and_no_exact_match(client: TestClient) -> None:
    write(client, **STORED)
    with watched_model() as model:
        ask(client, ASKED, STORED["can"], ASKED)
    assert model.seen == [ASKED]


def test_excluded_ids_are_never_offered_and_others_take_their_places(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    candidates = ask(client, ASKED, top_k=2, exclude_ids=["can", "change", "no such id"])[
        "results"
    ][0]["candidates"]
    rest = [id_ for id_ in _expected(tiny_encoder) if id_ not in ("can", "change")]
    assert [c["id"] for c in candidates] == rest[:2]


def test_a_stored_question_can_exclude_itself(client: TestClient, tiny_encoder: Encoder) -> None:
    write(client, **STORED, itself=ASKED)
    result = ask(client, ASKED, exclude_ids=["itself"])["results"][0]
    assert [c["id"] for c in result["candidates"]] == list(_expected(tiny_encoder))
    assert result["candidates"][0]["similarity"] < 1.0


def test_another_exact_match_stays_when_one_is_excluded(client: TestClient) -> None:
    write(client, one=ASKED, two=f"{ASKED} ")
    candidates = ask(client, ASKED, exclude_ids=["one"])["results"][0]["candidates"]
    assert [(c["id"], c["similarity"]) for c in candidates] == [("two", 1.0)]


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_at_most_top_k_candidates_are_offered(
    client: TestClient, tiny_encoder: Encoder, top_k: int
) -> None:
    write(client, **STORED)
    candidates = ask(client, ASKED, top_k=top_k)["results"][0]["candidates"]
    assert [c["id"] for c in candidates] == list(_expected(tiny_encoder))[:top_k]


def test_top_k_is_5_unless_said(client: TestClient, tiny_encoder: Encoder) -> None:
    write(client, **STORED, sixth="0")
    candidates = ask(client, ASKED)["results"][0]["candidates"]
    assert [c["id"] for c in candidates] == list(_expected(tiny_encoder))


def test_each_question_is_answered_in_its_place_repeats_alike(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    asked = [
        ASKED,
        STORED["france"],
        "Why does my laptop get hot?",
        ASKED,
        "how do I RESET my password?",
    ]
    results = ask(client, *asked, top_k=5)["results"]
    assert [r["question"] for r in results] == asked
    assert [r["candidates"][0]["id"] for r in results] == ["can", "france", "laptop", "can", "can"]
    assert results[3] == results[0]
    for result in (results[0], results[2]):
        similarities = _expected(tiny_encoder, result["question"])
        assert [c["id"] for c in result["candidates"]] == list(similarities)
        assert [c["similarity"] for c in result["candidates"]] == pytest.approx(
            [*similarities.values()], abs=WITHIN
        )


def test_truncated_says_that_the_model_did_not_read_all(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    most = (
        tiny_encoder.max_tokens or 0
    ) - 2  # the tiny tokenizer makes a token of each letter, and two special ones
    asked = ["x" * (most - 1) + "?", "x" * (most + 1), "x" * (most + 2)]
    results = ask(client, *asked)["results"]
    assert [r["truncated"] for r in results] == [False, True, True]
    assert [c["similarity"] for c in results[1]["candidates"]] == [
        c["similarity"] for c in results[2]["candidates"]
    ]


def test_texts_of_which_the_model_reads_the_same_are_review_at_most(client: TestClient) -> None:
    long = 50 * "x"
    write(
        client, cut=f"{long}to the end", years="¿Cuántos años?", bottle="Is a bottle with ☠ safe?"
    )
    asked = [f"{long}to the beginning", "¿Cuántos anos?", "Is a bottle with ☣ safe?"]
    for result, id_, code in zip(
        ask(client, *asked)["results"],
        ["cut", "years", "bottle"],
        ["cut", "unreadable", "unreadable"],
        strict=True,
    ):
        best = result["candidates"][0]
        assert (best["id"], best["verdict"], result["verdict"]) == (id_, "review", "review")
        assert best["similarity"] == pytest.approx(1.0, abs=WITHIN)
        assert best["reasons"][0]["code"] == code
        assert best["truncated"] == result["truncated"] == (id_ == "cut")
    (cut, _, skull) = (r["candidates"][0]["reasons"][0] for r in ask(client, *asked)["results"])
    assert cut["sentence"] == "read only to token 48"
    assert (cut["spans1"], cut["spans2"]) == (
        [[46, len(asked[0])]],
        [[46, len(f"{long}to the end")]],
    )
    assert (skull["spans1"], skull["spans2"]) == ([[17, 18]], [[17, 18]])


def test_a_missing_question_mark_and_letter_case_take_nothing_from_a_stored_question(
    client: TestClient,
) -> None:
    write(client, **STORED)
    for text in STORED.values():
        for asked in (text.rstrip("?"), text.lower(), f"{text}!", text.upper()):
            best = ask(client, asked)["results"][0]["candidates"][0]
            assert (best["text"], best["verdict"]) == (text, "duplicate")
            assert best["reasons"][0]["code"] == "likeness"


def test_letter_case_that_can_carry_meaning_is_review_at_most(client: TestClient) -> None:
    write(
        client, only="What does grep -o do?", digit="What is \\d in a pattern?", it="Can IT help?"
    )
    for asked in ("What does grep -O do?", "What is \\D in a pattern?", "Can it help?"):
        best = ask(client, asked)["results"][0]["candidates"][0]
        assert (best["verdict"], best["reasons"][0]["code"]) == ("review", "case")
        assert best["text"].lower() == asked.lower()


def test_one_text_under_many_ids_is_one_candidate(client: TestClient) -> None:
    ids = [f"copy-{number:02}" for number in range(30)]
    write(client, **dict.fromkeys(ids, STORED["can"]), **STORED)
    found = ask(client, ASKED, top_k=3)["results"][0]["candidates"]
    assert [(c["id"], c["id_count"]) for c in found] == [
        ("copy-00", 31),
        ("where", 1),
        ("change", 1),
    ]
    assert found[0]["ids"] == ids[:20]
    same = ask(client, STORED["can"], exclude_ids=[*ids[:2], "can"])["results"][0]["candidates"]
    assert [(c["id"], c["ids"], c["id_count"]) for c in same] == [("copy-02", ids[2:22], 28)]
    assert len(ask(client, ASKED, top_k=100)["results"][0]["candidates"]) == len(STORED)


def test_an_unknown_collection_is_404(client: TestClient) -> None:
    response = client.post("/duplicates", json={"questions": [ASKED], "collection": "nowhere"})
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Collection not found",
        "status": 404,
        "detail": "there is no collection 'nowhere': make it with PUT /collections/nowhere",
    }


def test_the_answer_names_release_collection_and_revision(client: TestClient) -> None:
    client.put("/collections/support")
    written = write(client, "support", **STORED)
    answer = ask(client, ASKED, collection="support")
    assert (answer["release"], answer["collection"], answer["revision"]) == (
        "tiny",
        "support",
        written["revision"],
    )
    assert written["revision"] == revision(client, "support") == 5


def test_the_answer_has_the_keys_of_the_contract_and_no_others(client: TestClient) -> None:
    write(client, **STORED)
    answer = ask(client, ASKED, STORED["can"])
    assert list(answer) == ["release", "collection", "revision", "results"]
    for result in answer["results"]:
        assert list(result) == ["question", "verdict", "truncated", "candidates"]
        for candidate in result["candidates"]:
            assert list(candidate) == [
                "id",
                "ids",
                "id_count",
                "text",
                "truncated",
                "similarity",
                "probability",
                "read",
                "verdict",
                "reasons",
                "label",
            ]


def test_server_timing_names_each_phase_and_its_milliseconds(client: TestClient) -> None:
    write(client, **STORED)
    response = client.post("/duplicates", json={"questions": [ASKED]})
    phases = [
        re.fullmatch(r"([a-z]+);dur=(\d+\.\d+)", part)
        for part in response.headers["Server-Timing"].split(", ")
    ]
    assert [phase and phase[1] for phase in phases] == [
        "lookup",
        "tokenize",
        "encode",
        "search",
        "read",
    ]
    assert all(phase and float(phase[2]) >= 0 for phase in phases)


def test_a_question_comes_back_as_it_was_sent(client: TestClient) -> None:
    asked = "  Wie ändere ich mein Paßwort? 🦊\r\n\t„quoted“ \u202eright to left\u202c e\u0301 "
    assert ask(client, asked)["results"][0]["question"] == asked
