"""`/collections`: made explicitly, apart from one another, deleted whole."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, ask, write


def _names(client: TestClient, limit: int) -> list[list[str]]:
    """The names on each page."""
    pages: list[list[str]] = []
    parameters: dict[str, Any] = {"limit": limit}
    while "cursor" not in parameters or parameters["cursor"] is not None:
        page = client.get("/collections", params=parameters).json()
        pages.append([collection["name"] for collection in page["collections"]])
        parameters["cursor"] = page["next_cursor"]
    return pages


def test_the_default_collection_is_there_from_the_start(client: TestClient) -> None:
    found = client.get("/collections/default").json()
    assert list(found) == [
        *("name", "revision", "questions", "created_at"),
        *("target_precision", "review_recall", "url_template", "thresholds"),
    ]
    assert (found["name"], found["revision"], found["questions"]) == ("default", 0, 0)
    assert client.get("/collections").json() == {"collections": [found], "next_cursor": None}


def test_a_collection_is_made_once_and_found_after(client: TestClient) -> None:
    first, again = client.put("/collections/support"), client.put("/collections/support")
    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.json()["name"], first.json()["revision"], first.json()["questions"]) == (
        "support",
        0,
        0,
    )
    assert again.json() == first.json() == client.get("/collections/support").json()


def test_created_at_is_the_time_in_utc(client: TestClient) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created_at = datetime.fromisoformat(client.put("/collections/support").json()["created_at"])
    assert before <= created_at <= datetime.now(UTC)


def test_a_collection_counts_its_questions_and_changes(client: TestClient) -> None:
    client.put("/collections/support")
    write(client, "support", a="One?", b="Two?")
    write(client, "support", a="One, then?")
    client.delete("/questions/b", params={"collection": "support"})
    found = client.get("/collections/support").json()
    assert (found["questions"], found["revision"]) == (1, 4)
    assert client.put("/collections/support").json() == found


def test_collections_know_nothing_of_one_another(client: TestClient) -> None:
    client.put("/collections/left")
    client.put("/collections/right")
    write(client, "left", a="Can I cancel my order?")
    write(client, "right", a="What is the capital of France?", b="Can I cancel an order?")
    asked = "Can I cancel any order?"
    found = {
        name: ask(client, asked, collection=name)["results"][0]["candidates"]
        for name in ("left", "right")
    }
    assert {c["id"]: c["text"] for c in found["left"]} == {"a": "Can I cancel my order?"}
    assert {c["id"] for c in found["right"]} == {"a", "b"}
    assert ask(client, asked)["results"][0]["verdict"] == "new"
    assert client.get("/questions/a").status_code == 404
    assert (
        client.get("/questions/a", params={"collection": "left"}).json()["text"]
        == "Can I cancel my order?"
    )


def test_a_delete_in_one_collection_leaves_the_same_id_in_another(client: TestClient) -> None:
    client.put("/collections/left")
    write(client, "left", a="One?")
    write(client, a="One?")
    client.delete("/questions/a", params={"collection": "left"})
    assert [c["id"] for c in ask(client, "ONE?")["results"][0]["candidates"]] == ["a"]
    assert ask(client, "ONE?", collection="left")["results"][0]["candidates"] == []


def test_a_deleted_collection_is_404_everywhere(client: TestClient) -> None:
    client.put("/collections/support")
    write(client, "support", a="One?")
    response = client.delete("/collections/support")
    assert (response.status_code, response.content) == (204, b"")
    in_it = {"collection": "support"}
    for answer in (
        client.get("/collections/support"),
        client.delete("/collections/support"),
        client.get("/questions", params=in_it),
        client.get("/questions/a", params=in_it),
        client.delete("/questions/a", params=in_it),
        client.post(
            "/questions", json={"collection": "support", "questions": [{"id": "a", "text": "One?"}]}
        ),
        client.post("/duplicates", json={"collection": "support", "questions": ["One?"]}),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
        assert answer.json()["title"] == "Collection not found"
        assert answer.json()["detail"].startswith("there is no collection 'support'")
    assert _names(client, 10) == [["default"]]


def test_a_collection_made_again_under_a_deleted_name_is_empty(client: TestClient) -> None:
    client.put("/collections/support")
    write(client, "support", a="One?")
    client.delete("/collections/support")
    assert client.put("/collections/support").status_code == 201
    answer = ask(client, "One?", "Two?", collection="support")
    assert (answer["revision"], [r["verdict"] for r in answer["results"]]) == (0, ["new", "new"])
    write(client, "support", b="Three?")
    assert [
        c["id"] for c in ask(client, "Two?", collection="support")["results"][0]["candidates"]
    ] == ["b"]


def test_the_default_collection_can_not_be_deleted(client: TestClient) -> None:
    write(client, a="One?")
    response = client.delete("/collections/default")
    assert (response.status_code, response.headers["content-type"]) == (409, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Collection is protected",
        "status": 409,
        "detail": "collection 'default' always exists and can't be deleted; delete its questions instead",
    }
    assert client.get("/questions/a").json()["text"] == "One?"


@pytest.mark.parametrize(
    "name", ["a", "0", "9-lives", "snake_case", "kebab-case", "a" * 64, "a_", "a-"]
)
def test_a_name_is_lower_case_letters_digits_dash_and_underscore(
    shared_client: TestClient, name: str
) -> None:
    assert shared_client.put(f"/collections/{name}").status_code == 201
    assert shared_client.get(f"/collections/{name}").json()["name"] == name
    assert shared_client.delete(f"/collections/{name}").status_code == 204


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "Support",
        "-a",
        "_a",
        "a" * 65,
        "a b",
        "a.b",
        "ä",
        "a\n",
        "a\x00",
        "日本",
        ".",
        "..",
        "%",
        "a?b",
        "²",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_any_other_name_is_refused_by_field(
    shared_client: TestClient, method: str, name: str
) -> None:
    encoded = quote(name, safe="").replace(".", "%2E")
    response = shared_client.request(method, f"/collections/{encoded}")
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["errors"] == [
        {
            "field": "name",
            "detail": "must be 1 to 64 of `a` to `z`, digits, `-` and `_`, and begin with a letter or a digit",
        }
    ]
    assert _names(shared_client, 10) == [["default"]]


def test_pages_walk_every_collection_once_in_the_order_of_names(client: TestClient) -> None:
    for name in ("zoo", "a", "a-b", "a_b", "a0", "0"):
        client.put(f"/collections/{name}")
    assert _names(client, 3) == [["0", "a", "a-b"], ["a0", "a_b", "default"], ["zoo"]]
    assert _names(client, 7) == [["0", "a", "a-b", "a0", "a_b", "default", "zoo"]]


def test_no_more_collections_than_the_limit_are_made(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"max_collections": 2}))) as client:
        wait_until_ready(client)
        assert client.put("/collections/second").status_code == 201
        response = client.put("/collections/third")
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
        (error,) = response.json()["errors"]
        assert error["field"] == "name"
        assert "at most 2" in error["detail"]
        assert client.put("/collections/second").status_code == 200
        assert _names(client, 10) == [["default", "second"]]
