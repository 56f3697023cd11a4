"""`/labels`, by value: what people say of a pair is honoured in the very next answer, and for ever."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.engine.models.encoder import Encoder
from app.main import create_app
from app.settings import Settings
from tests.backend import WITHIN
from tests.conftest import publish_release, wait_until_ready
from tests.serving import PROBLEM, ask, watched_model, write
from tests.tiny_model import build_tiny_classifier

ASKED = "How do I reset my password?"
NEAREST = "How can I reset my password?"  # a duplicate to the tiny model
FARTHEST = "What is the capital of France?"  # different
STORED = {
    "can": NEAREST,
    "where": "Where do I reset my password?",
    "change": "How do I change my password?",
    "laptop": "Why does my laptop overheat?",
    "france": FARTHEST,
}


def label(
    client: TestClient, pair: Sequence[str], is_duplicate: bool, by: str = "anna", **fields: Any
) -> dict[str, Any]:
    """Label a pair of texts, and return the answer."""
    return label_all(
        client, {"questions": list(pair), "is_duplicate": is_duplicate, "by": by}, **fields
    )


def label_all(client: TestClient, *labels: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = client.post("/labels", json={"labels": labels, **fields})
    assert response.status_code == 200, response.text
    return cast(dict[str, Any], response.json())


def candidates(
    client: TestClient, text: str = ASKED, **fields: object
) -> dict[str, dict[str, Any]]:
    """Candidates by id, in the order of the answer."""
    return {c["id"]: c for c in ask(client, text, **fields)["results"][0]["candidates"]}


def verdicts(client: TestClient, text: str = ASKED, **fields: object) -> dict[str, str]:
    return {
        id_: candidate["verdict"] for id_, candidate in candidates(client, text, **fields).items()
    }


def score(client: TestClient, *pair: str, **fields: object) -> dict[str, Any]:
    body = {"pairs": [{"question1": pair[0], "question2": pair[1]}], **fields}
    response = client.post("/pair-score", json=body)
    assert response.status_code == 200, response.text
    return cast(dict[str, Any], response.json()["scores"][0])


def labels(client: TestClient, **filters: object) -> list[dict[str, Any]]:
    response = client.get("/labels", params=cast(Any, filters))
    assert response.status_code == 200, response.text
    return cast(list[dict[str, Any]], response.json()["labels"])


# Honoured in the next answer


def test_a_cannot_link_takes_the_verdict_from_the_nearest_and_nothing_else(
    client: TestClient,
) -> None:
    write(client, **STORED)
    before = candidates(client)
    assert (next(iter(before)), before["can"]["verdict"], before["can"]["label"]) == (
        "can",
        "duplicate",
        None,
    )
    answer = label(client, (NEAREST, ASKED), False)
    assert answer == {
        "collection": "default",
        "added": 1,
        "replaced": 0,
        "unchanged": 0,
        "labels": [{"id": 1, "contradicted": False}],
    }
    after = candidates(client)
    (stored,) = labels(client)
    assert after["can"]["label"] == {
        "id": 1,
        "is_duplicate": False,
        "by": "anna",
        "at": stored["at"],
        "contradicted": False,
    }
    assert after["can"]["verdict"] == "different"
    assert after["can"]["reasons"][0]["code"] == "label"
    assert after["can"]["reasons"][0]["sentence"].startswith("anna said so on ")
    assert {id_: c["verdict"] for id_, c in after.items() if id_ != "can"} == {
        id_: c["verdict"] for id_, c in before.items() if id_ != "can"
    }
    for name in ("similarity", "probability", "text"):
        assert {id_: c[name] for id_, c in after.items()} == {
            id_: c[name] for id_, c in before.items()
        }
    assert (
        ask(client, ASKED)["results"][0]["verdict"] == "review"
    )  # of `where`, the strongest that is left


def test_a_must_link_is_offered_first_even_where_no_search_finds_it(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    assert "france" not in candidates(client, top_k=2)
    label(client, (ASKED, FARTHEST), True)
    for top_k in (1, 2, 5):
        found = candidates(client, top_k=top_k)
        assert len(found) == top_k
        assert found["france"]["verdict"] == "duplicate"
    vectors = tiny_encoder.encode([ASKED, FARTHEST])
    similarity = float(vectors[0] @ vectors[1])
    assert found["france"]["similarity"] == pytest.approx(similarity, abs=WITHIN)
    assert found["france"]["probability"] == pytest.approx(
        1 / (1 + np.exp(90 - 100 * similarity)), rel=1e-3
    )
    assert list(found)[:2] == ["can", "france"]  # duplicates, the more probable first
    assert ask(client, ASKED, top_k=1)["results"][0]["verdict"] == "duplicate"


def test_labels_hold_both_ways_and_whatever_case_and_space_say(client: TestClient) -> None:
    write(client, a=ASKED)
    label(client, (f"  {ASKED.upper()}", FARTHEST), True)
    label(client, (NEAREST.upper(), ASKED), False)
    assert verdicts(client, FARTHEST.lower()) == {"a": "duplicate"}
    assert verdicts(client, f"{NEAREST}  ") == {"a": "different"}
    assert score(client, FARTHEST, ASKED.upper())["verdict"] == "duplicate"


def test_pair_score_keeps_to_labels_both_ways(client: TestClient) -> None:
    pairs = [(ASKED, NEAREST), (ASKED, FARTHEST)]
    before = [score(client, *pair) for pair in pairs]
    assert [(s["verdict"], s["label"]) for s in before] == [
        ("duplicate", None),
        ("different", None),
    ]
    label_all(
        client,
        {"questions": pairs[0], "is_duplicate": False, "by": "anna"},
        {"questions": pairs[1], "is_duplicate": True, "by": "bob"},
    )
    for turned in (False, True):
        after = [score(client, *(pair[::-1] if turned else pair)) for pair in pairs]
        assert [s["verdict"] for s in after] == ["different", "duplicate"]
        assert [
            (s["label"]["id"], s["label"]["by"], s["label"]["is_duplicate"]) for s in after
        ] == [
            (1, "anna", False),
            (2, "bob", True),
        ]
        for name in ("similarity", "probability"):
            assert [s[name] for s in after] == pytest.approx(
                [s[name] for s in before], rel=1e-4, abs=1e-6
            )


def test_labels_hold_in_their_collection_alone(client: TestClient) -> None:
    client.put("/collections/faq")
    write(client, **STORED)
    write(client, "faq", **STORED)
    label(client, (ASKED, NEAREST), False, collection="faq")
    assert verdicts(client)["can"] == score(client, ASKED, NEAREST)["verdict"] == "duplicate"
    assert verdicts(client, collection="faq")["can"] == "different"
    assert score(client, ASKED, NEAREST, collection="faq")["verdict"] == "different"
    assert client.delete("/collections/faq").status_code == 204
    client.put("/collections/faq")
    assert score(client, ASKED, NEAREST, collection="faq")["verdict"] == "duplicate"


def test_an_unknown_collection_is_404(client: TestClient) -> None:
    pair = {"question1": "One?", "question2": "one?"}
    answers = [
        client.post("/pair-score", json={"pairs": [pair], "collection": "nowhere"}),
        client.post(
            "/labels",
            json={
                "collection": "nowhere",
                "labels": [{"questions": [ASKED, NEAREST], "is_duplicate": True, "by": "anna"}],
            },
        ),
        client.get("/labels", params={"collection": "nowhere"}),
        client.delete("/labels/1", params={"collection": "nowhere", "by": "anna"}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
        assert (
            answer.json()["detail"]
            == "there is no collection 'nowhere': make it with PUT /collections/nowhere"
        )


def test_labels_by_ids_are_labels_of_their_texts(client: TestClient) -> None:
    write(client, **STORED)
    label_all(client, {"ids": ["can", "france"], "is_duplicate": True, "by": "anna"})
    assert labels(client)[0]["questions"] == [NEAREST, FARTHEST]
    assert score(client, FARTHEST, NEAREST)["verdict"] == "duplicate"
    assert verdicts(client, NEAREST, exclude_ids=["can"], top_k=1) == {"france": "duplicate"}


# Beside exact matches


def test_beside_an_exact_match_what_labels_link_to_it_is_offered(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    label(client, (NEAREST, FARTHEST), True)
    label(client, (NEAREST, STORED["laptop"]), True, by="anna")
    label(client, (NEAREST, STORED["laptop"]), False, by="bob")
    label(client, (NEAREST, STORED["where"]), False)
    with watched_model() as model:
        model.failing = True  # it is not asked
        found = candidates(client, f"{NEAREST} ")
    assert {id_: c["verdict"] for id_, c in found.items()} == {
        "can": "duplicate",
        "france": "duplicate",
        "laptop": "review",
    }
    assert (found["can"]["similarity"], found["can"]["label"]) == (1.0, None)
    vectors = tiny_encoder.encode([NEAREST, FARTHEST])
    assert found["france"]["similarity"] == pytest.approx(
        float(vectors[0] @ vectors[1]), abs=WITHIN
    )
    assert found["france"]["label"]["by"] == "anna"
    assert list(candidates(client, NEAREST, top_k=2)) == ["can", "france"]
    assert list(candidates(client, NEAREST, exclude_ids=["france"])) == ["can", "laptop"]


def test_every_copy_of_a_linked_question_is_offered(client: TestClient) -> None:
    write(client, a=NEAREST, b=FARTHEST, c=FARTHEST.upper(), d="Zyx?")
    label(client, (NEAREST, FARTHEST), True)
    assert verdicts(client, NEAREST) == {"a": "duplicate", "b": "duplicate", "c": "duplicate"}
    label(client, (ASKED, FARTHEST), False)
    assert verdicts(client, ASKED, exclude_ids=["a"]) == {
        "b": "different",
        "c": "different",
        "d": "different",
    }


# With the other fields of a request


def test_an_excluded_question_is_not_offered_for_any_label(client: TestClient) -> None:
    write(client, **STORED)
    label(client, (ASKED, FARTHEST), True)
    assert "france" not in candidates(client, exclude_ids=["france"])


def test_a_linked_text_that_is_not_stored_is_not_offered(client: TestClient) -> None:
    write(client, **STORED)
    before = candidates(client)
    label(client, (ASKED, "Never stored?"), True)
    assert candidates(client) == before


def test_a_cannot_link_takes_no_other_candidates_place(client: TestClient) -> None:
    write(client, **STORED)
    assert verdicts(client, top_k=1) == {"can": "duplicate"}
    label(client, (ASKED, NEAREST), False)
    assert verdicts(client, top_k=1) == {"where": "review"}
    assert ask(client, ASKED, top_k=1)["results"][0]["verdict"] == "review"
    assert verdicts(client, top_k=2) == {"where": "review", "can": "different"}


def test_of_more_links_than_top_k_the_most_probable_are_offered(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    write(client, **STORED)
    linked = ["laptop", "france", "change"]
    for id_ in linked:
        label(client, (ASKED, STORED[id_]), True)
    vectors = tiny_encoder.encode([ASKED, *(STORED[id_] for id_ in linked)])
    by_similarity = [linked[i] for i in np.argsort(-(vectors[1:] @ vectors[0]))]
    for top_k in (1, 2, 3):
        assert list(verdicts(client, top_k=top_k).items()) == [
            (id_, "duplicate") for id_ in by_similarity[:top_k]
        ]
    assert list(verdicts(client, top_k=4)) == ["can", *by_similarity]


@pytest.mark.parametrize("verify", ["auto", "always", "never"])
def test_labels_hold_whatever_the_pair_classifier_reads(
    settings: Settings, tmp_path: Any, tiny_model: Any, verify: str
) -> None:
    classifier = build_tiny_classifier(tiny_model, tmp_path / "classifier", 1)
    release = publish_release(tmp_path / "classified", tiny_model, 32, classifier=classifier)
    with TestClient(
        create_app(settings.model_copy(update={"release": release.path, "verify_depth": 2}))
    ) as client:
        wait_until_ready(client)
        write(client, **STORED)
        before = candidates(client, verify=verify)
        scored = [score(client, ASKED, text)["probability"] for text in (NEAREST, FARTHEST)]
        label(client, (ASKED, NEAREST), False)
        label(client, (ASKED, FARTHEST), True)
        after = candidates(client, verify=verify)
        assert (after["can"]["verdict"], after["france"]["verdict"]) == ("different", "duplicate")
        # With `auto` another pair is read in the place of the one that is called different.
        same = [id_ for id_, one in after.items() if one["read"] == before[id_]["read"]]
        assert len(same) == (3 if verify == "auto" else 5)
        for id_ in same:
            assert after[id_]["probability"] == pytest.approx(before[id_]["probability"], abs=1e-5)
        assert verdicts(client, top_k=1, verify=verify) == {"france": "duplicate"}
        assert [
            score(client, ASKED, text)["probability"] for text in (NEAREST, FARTHEST)
        ] == pytest.approx(scored, abs=1e-5)
        assert score(client, ASKED, NEAREST)["verdict"] == "different"


# For ever


def test_the_most_similar_stay_apart_and_the_least_similar_together_after_restart_and_import(
    settings: Settings,
) -> None:
    def assert_held(client: TestClient, near: str, far: str) -> None:
        assert verdicts(client, top_k=10)[near] == "different"
        assert verdicts(client, top_k=1) == {far: "duplicate"}
        assert verdicts(client, NEAREST, exclude_ids=[near], top_k=10).get(far) != "duplicate"
        assert (
            score(client, ASKED, NEAREST)["verdict"],
            score(client, FARTHEST, ASKED)["verdict"],
        ) == (
            "different",
            "duplicate",
        )

    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        write(client, **STORED)
        label(client, (ASKED, NEAREST), False)
        label(client, (ASKED, FARTHEST), True)
        assert_held(client, "can", "france")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert_held(client, "can", "france")
        for id_ in ("can", "france"):
            assert client.delete(f"/questions/{id_}").status_code == 200
        assert not {"can", "france"} & candidates(client, top_k=10).keys()
        write(client, **{"again/near": NEAREST, "again/far": FARTHEST.upper()})
        assert_held(client, "again/near", "again/far")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert_held(client, "again/near", "again/far")


def test_a_question_whose_text_changes_leaves_its_labels(client: TestClient) -> None:
    write(client, **STORED)
    label(client, (ASKED, FARTHEST), True)
    write(client, france="What is the capital of Spain?")
    assert candidates(client, top_k=10)["france"]["label"] is None
    assert candidates(client, top_k=10)["france"]["verdict"] == "different"


# Contradictions


@pytest.mark.parametrize("text", [NEAREST, FARTHEST])
def test_while_people_disagree_the_verdict_is_review(client: TestClient, text: str) -> None:
    write(client, **STORED)
    id_ = next(id_ for id_, stored in STORED.items() if stored == text)
    label(client, (ASKED, text), True, by="anna")
    assert label(client, (text, ASKED), False, by="bob")["labels"] == [
        {"id": 2, "contradicted": True}
    ]
    candidate = candidates(client, top_k=2)[id_]
    assert (candidate["verdict"], candidate["label"]["contradicted"], candidate["label"]["by"]) == (
        "review",
        True,
        "bob",
    )
    assert score(client, ASKED, text)["verdict"] == "review"
    assert [entry["id"] for entry in labels(client, contradicted="true")] == [1, 2]
    assert _contradicted(client) == 2
    label(client, (ASKED, text), True, by="bob")
    assert (
        candidates(client, top_k=2)[id_]["verdict"]
        == score(client, ASKED, text)["verdict"]
        == "duplicate"
    )
    assert (labels(client, contradicted="true"), _contradicted(client)) == ([], 0)


@pytest.mark.parametrize("top_k", [1, 2])
def test_a_link_comes_before_the_same_words_that_people_disagree_on(
    client: TestClient, top_k: int
) -> None:
    write(client, **STORED)
    respaced = NEAREST.replace(" ", "  ")
    label(client, (respaced, NEAREST), True, by="anna")
    label(client, (respaced, NEAREST), False, by="bob")
    label(client, (respaced, FARTHEST), True)
    found = ask(client, respaced, top_k=top_k)["results"][0]
    offered = [(candidate["id"], candidate["verdict"]) for candidate in found["candidates"]]
    assert found["verdict"] == "duplicate"
    assert offered == [("france", "duplicate"), ("can", "review")][:top_k]


def test_the_same_words_that_people_disagree_on_take_no_others_place(client: TestClient) -> None:
    write(client, **STORED)
    write(client, later=NEAREST + " ", last=NEAREST + "  ")
    respaced = NEAREST.replace(" ", "  ")
    label(client, (respaced, NEAREST), True, by="anna")
    label(client, (respaced, NEAREST), False, by="bob")
    assert verdicts(client, respaced, top_k=1) == {"later": "duplicate"}
    assert list(verdicts(client, respaced, top_k=3).items()) == [
        ("later", "duplicate"),
        ("last", "duplicate"),
        ("can", "review"),
    ]


def _contradicted(client: TestClient) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    (value,) = [
        s.value
        for family in families
        for s in family.samples
        if s.name == "sameask_labels_contradicted"
    ]
    return value


# Undo and the record


def test_undo_makes_the_next_answer_as_if_nothing_had_been_said(client: TestClient) -> None:
    write(client, **STORED)
    before = candidates(client)
    (given,) = label(client, (ASKED, NEAREST), False)["labels"]
    assert candidates(client) != before
    response = client.delete(f"/labels/{given['id']}", params={"by": "bob"})
    assert response.status_code == 200
    undone = response.json()
    assert undone["ended"] == {"by": "bob", "at": undone["ended"]["at"], "replaced_by": None}
    assert candidates(client) == before
    assert labels(client) == []
    assert labels(client, history="true") == [undone]
    assert list(undone) == [
        "id",
        "questions",
        "is_duplicate",
        "by",
        "at",
        "note",
        "contradicted",
        "ended",
        "offered_by",
        "offered_probability",
    ]
    assert client.delete(f"/labels/{given['id']}", params={"by": "carl"}).json() == undone


def test_what_was_replaced_stays_readable(client: TestClient) -> None:
    label_all(
        client, {"questions": [ASKED, NEAREST], "is_duplicate": True, "by": "anna", "note": "sure"}
    )
    assert label(client, (ASKED, NEAREST), True)["unchanged"] == 1
    assert label(client, (ASKED, NEAREST), False) == {
        "collection": "default",
        "added": 0,
        "replaced": 1,
        "unchanged": 0,
        "labels": [{"id": 2, "contradicted": False}],
    }
    old, new = labels(client, history="true")
    assert (old["is_duplicate"], old["note"], old["ended"]["by"], old["ended"]["replaced_by"]) == (
        True,
        "sure",
        "anna",
        2,
    )
    assert (new["is_duplicate"], new["ended"]) == (False, None)
    response = client.delete("/labels/1", params={"by": "anna"})
    assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
    assert response.json()["detail"] == "label 1 was replaced by label 2: undo that one"


def test_a_label_that_is_not_there_is_404(client: TestClient) -> None:
    response = client.delete("/labels/7", params={"by": "anna"})
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert response.json()["detail"] == "collection 'default' holds no label with id 7"


# Lists


def test_labels_are_filtered_and_paged(client: TestClient) -> None:
    for n in range(7):
        label(client, (f"One {n}?", f"Other {n}?"), n % 2 == 0, by=("anna", "bob")[n % 3 == 0])
    assert [entry["id"] for entry in labels(client, is_duplicate="false")] == [2, 4, 6]
    assert [entry["id"] for entry in labels(client, by="bob")] == [1, 4, 7]
    assert [entry["id"] for entry in labels(client, by="bob", is_duplicate="true")] == [1, 7]
    assert labels(client, contradicted="true") == []
    seen: list[int] = []
    parameters: dict[str, Any] = {"limit": 3}
    while True:
        page = client.get("/labels", params=parameters).json()
        seen += [entry["id"] for entry in page["labels"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert (seen, page["collection"]) == ([1, 2, 3, 4, 5, 6, 7], "default")


def test_the_same_request_again_changes_nothing(client: TestClient) -> None:
    pair = {"questions": [ASKED, NEAREST], "is_duplicate": True, "by": "anna"}
    first = label_all(client, pair)
    again = label_all(client, pair)
    assert (first["added"], first["unchanged"]) == (1, 0)
    assert (again["added"], again["unchanged"]) == (0, 1)
    assert again["labels"] == first["labels"]
    assert [entry["id"] for entry in labels(client, history="true")] == [1]


def test_a_label_of_nothing_stored_waits_for_its_question(client: TestClient) -> None:
    label(client, (ASKED, FARTHEST), True)
    assert candidates(client) == {}
    write(client, late=FARTHEST)
    assert verdicts(client) == {"late": "duplicate"}
