"""`/questions`: what is written is there, what is deleted is gone, and pages miss nothing."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from starlette.testclient import TestClient

from app.engine.models.encoder import Encoder
from app.main import create_app
from app.settings import Settings
from tests.backend import WITHIN
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, app_of, ask, detector_of, revision, served, write

ODD_IDS = [
    "a/b",
    "a b",
    " edges ",
    "100%",
    "%41",
    "what?",
    "#1",
    "a+b",
    "a&b=c;d",
    "...",
    "~user:@host[1]",
    "back\\slash",
    "\"quoted\" 'id'",
    "{id}",
    "üñí-日本語-🦊",
    "e\u0301",  # not the same id as its composed form
    "\u00e9",
    "ALPHA",
    "alpha",
    "x" * 256,
]
CLIMBING_IDS = [
    "../collections/victim",
    "a/../b",
    "./here",
    "here/.",
    "a//b",
    "/leading",
    "trailing/",
    "/",
    "..\\collections\\victim",
    "a\\\\b",
    "%2e%2e/collections/victim",
    "a/%2E./b",
]


def _path(id_: str) -> str:
    return "/questions/" + quote(id_, safe="")


def _walk(client: TestClient, limit: int) -> Iterator[dict[str, Any]]:
    """The pages of GET /questions."""
    parameters: dict[str, Any] = {"limit": limit}
    while True:
        page = client.get("/questions", params=parameters).json()
        yield page
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]


def test_a_write_tells_added_updated_and_unchanged(client: TestClient) -> None:
    first = write(client, a="One?", b="Two?")
    assert first.pop("tokens") > 4
    assert first == {
        "collection": "default",
        "revision": 2,
        "added": 2,
        "updated": 0,
        "unchanged": 0,
        "truncated": 0,
        "unknown_tokens": 0,
    }
    second = write(client, a="One?", b="Two, then?", c="Three?")
    assert [second[name] for name in ("revision", "added", "updated", "unchanged")] == [4, 1, 1, 1]


def test_a_write_tells_what_the_model_does_not_read(client: TestClient) -> None:
    written = write(client, a="long " * 600, b="What is \U0001f98a?")
    assert (written["truncated"], written["unknown_tokens"]) == (1, 1)


def test_a_whole_number_is_an_id_by_its_digits(client: TestClient) -> None:
    questions = [{"id": 7, "text": "One?"}, {"id": -(2**64), "text": "Two?"}]
    client.post("/questions", json={"questions": questions})
    assert client.get("/questions/7").json()["text"] == "One?"
    assert client.get(f"/questions/{-(2**64)}").json()["text"] == "Two?"
    answer = client.post("/duplicates", json={"questions": ["One?"], "exclude_ids": [7]}).json()
    assert [found["id"] for found in answer["results"][0]["candidates"]] == [str(-(2**64))]
    label = {"ids": [7, str(-(2**64))], "is_duplicate": True, "by": "anna"}
    assert client.post("/labels", json={"labels": [label]}).json()["added"] == 1
    twice = [{"id": 7, "text": "One?"}, {"id": "7", "text": "One?"}]
    refused = client.post("/questions", json={"questions": twice})
    assert refused.json()["errors"][0] == {
        "field": "questions.0.id",
        "detail": "stands more than once in this request",
    }


def test_writing_the_same_again_changes_nothing(client: TestClient) -> None:
    first = write(client, a="One?", b="Two?")
    again = write(client, b="Two?", a="One?")
    assert (again["revision"], again["unchanged"], again["added"], again["updated"]) == (
        first["revision"],
        2,
        0,
        0,
    )
    assert client.get("/questions/a").json()["revision"] == 1


def test_a_text_that_differs_in_case_alone_is_an_update(client: TestClient) -> None:
    write(client, a="One?")
    assert write(client, a="ONE?")["updated"] == 1
    assert client.get("/questions/a").json()["text"] == "ONE?"


def test_a_find_right_after_the_answer_sees_the_question(client: TestClient) -> None:
    for number in range(20):
        text = f"How many are {number} and {number}?"
        written = write(client, **{str(number): text})
        answer = ask(
            client, text + "!", top_k=1
        )  # not an exact match: it has to come from the index
        assert answer["revision"] == written["revision"] == number + 1
        assert answer["results"][0]["candidates"][0]["id"] == str(number)


def test_an_update_replaces_the_text_and_its_vector(
    client: TestClient, tiny_encoder: Encoder
) -> None:
    asked = "Can I cancel an order?"
    write(client, a="Can I cancel my order?", b="Zyx?")
    write(client, a="What is the capital of France?")
    candidates = ask(client, asked, top_k=10)["results"][0]["candidates"]
    texts = {"a": "What is the capital of France?", "b": "Zyx?"}
    vectors = tiny_encoder.encode([asked, *texts.values()])
    similarities = dict(zip(texts, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    assert {c["id"]: c["text"] for c in candidates} == texts
    assert {c["id"]: c["similarity"] for c in candidates} == pytest.approx(similarities, abs=WITHIN)
    assert ask(client, "can i cancel MY order?")["results"][0]["candidates"][0]["similarity"] < 1.0


def test_a_question_reads_back_as_it_was_written(client: TestClient) -> None:
    text = "  Wie ändere ich mein Paßwort? 🦊\r\n\t„quoted“, \u202eright to left\u202c e\u0301 "
    write(client, a="First?", **{"the id": text})
    assert client.get("/questions/the%20id").json() == {
        "id": "the id",
        "text": text,
        "revision": 2,
        "quarantined": None,
    }


def test_a_deleted_question_is_gone_from_every_answer(client: TestClient) -> None:
    write(client, a="Can I cancel my order?", b="What is the capital of France?")
    response = client.delete("/questions/a")
    assert (response.status_code, response.json()) == (
        200,
        {"collection": "default", "revision": 3},
    )
    answer = ask(client, "Can I cancel an order?", "CAN I cancel my order?", top_k=10)
    assert [[c["id"] for c in result["candidates"]] for result in answer["results"]] == [
        ["b"],
        ["b"],
    ]
    assert answer["revision"] == 3
    assert [q["id"] for q in client.get("/questions").json()["questions"]] == ["b"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_question_that_is_not_there_is_404(client: TestClient, method: str) -> None:
    write(client, a="One?")
    client.delete("/questions/a")
    for id_ in ("a", "never"):
        response = client.request(method, f"/questions/{id_}")
        assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
        assert response.json()["title"] == "Question not found"
        assert (
            response.json()["detail"] == f"collection 'default' holds no question with id '{id_}'"
        )
    assert revision(client) == 2


def test_a_deleted_id_can_be_written_again(client: TestClient) -> None:
    write(client, a="One?")
    client.delete("/questions/a")
    assert (write(client, a="One?")["added"], revision(client)) == (1, 3)
    assert [c["id"] for c in ask(client, "one?")["results"][0]["candidates"]] == ["a"]


@pytest.fixture(scope="module")
def connection(shared_settings: Settings) -> Iterator[httpx.Client]:
    """A real connection to a real server: a test client decodes a path twice, a server once."""
    own = shared_settings.model_copy(
        update={"data_dir": shared_settings.data_dir.with_name("connection")}
    )
    with served(create_app(own)) as url, httpx.Client(base_url=url) as connection:
        yield connection


@pytest.mark.parametrize("id_", ODD_IDS)
def test_any_id_makes_the_round_trip_through_the_url(connection: httpx.Client, id_: str) -> None:
    written = connection.post("/questions", json={"questions": [{"id": id_, "text": "One?"}]})
    assert written.json()["added"] == 1
    assert connection.get(_path(id_)).json()["id"] == id_
    assert connection.delete(_path(id_)).status_code == 200
    assert connection.get(_path(id_)).status_code == 404
    assert connection.get("/questions").json()["questions"] == []


@pytest.mark.parametrize("id_", CLIMBING_IDS)
def test_an_id_that_clients_would_ask_for_at_another_path_is_refused(
    connection: httpx.Client, id_: str
) -> None:
    assert connection.put("/collections/victim").status_code in (200, 201)
    refused = connection.post("/questions", json={"questions": [{"id": id_, "text": "One?"}]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "questions.0.id")
    assert connection.get("/questions").json()["questions"] == []
    assert connection.get("/collections/victim").status_code == 200


@pytest.mark.parametrize("id_", CLIMBING_IDS)
def test_such_an_id_that_is_stored_already_stays_reachable(client: TestClient, id_: str) -> None:
    detector_of(client).store.questions.upsert("default", [(id_, "One?"), ("other", "Two?")])
    wait_until_ready(client)
    label = {"ids": [id_, "other"], "is_duplicate": True, "by": "anna"}
    assert client.post("/labels", json={"labels": [label]}).status_code == 200
    ask(client, "One?", exclude_ids=[id_])
    for method, status in (("GET", 200), ("DELETE", 200), ("GET", 404)):
        assert _raw_request(client, method, _path(id_)) == status


def _raw_request(client: TestClient, method: str, path: str) -> int:
    """The status of a request whose path is decoded once, as a server does it."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
    }
    assert client.portal is not None
    client.portal.call(app_of(client), scope, receive, send)
    return statuses[0]


def test_pages_walk_every_question_once_in_the_order_of_ids(client: TestClient) -> None:
    write(client, **{id_: f"{number}?" for number, id_ in enumerate(ODD_IDS)})
    pages = list(_walk(client, limit=4))
    assert [q["id"] for page in pages for q in page["questions"]] == sorted(ODD_IDS)
    assert [len(page["questions"]) for page in pages] == [4, 4, 4, 4, 4]
    assert {page["collection"] for page in pages} == {"default"}


@pytest.mark.parametrize(
    ("limit", "pages"),
    [(1, [["a"], ["b"], ["c"]]), (2, [["a", "b"], ["c"]]), (3, [["a", "b", "c"]])],
)
def test_the_last_page_has_no_cursor(
    client: TestClient, limit: int, pages: list[list[str]]
) -> None:
    write(client, a="One?", b="Two?", c="Three?")
    assert [[q["id"] for q in page["questions"]] for page in _walk(client, limit=limit)] == pages


def test_pages_keep_their_order_while_questions_come_and_go(client: TestClient) -> None:
    write(client, **{f"{number:02}": f"{number}?" for number in range(0, 20, 2)})
    seen: list[str] = []
    for number, page in enumerate(_walk(client, limit=3)):
        seen += [q["id"] for q in page["questions"]]
        write(client, **{f"{2 * number + 1:02}": "between"})  # before the cursor, but for the first
        if number == 1:
            client.delete(f"/questions/{seen[-1]}")  # the one that the cursor stands on
    assert seen == sorted(set(seen))
    assert [id_ for id_ in seen if int(id_) % 2 == 0] == [
        f"{number:02}" for number in range(0, 20, 2)
    ]


def test_a_question_written_past_the_cursor_appears(client: TestClient) -> None:
    write(client, a="One?", c="Three?", e="Five?")
    pages = _walk(client, limit=2)
    next(pages)
    write(client, b="Two?", d="Four?")
    assert [q["id"] for q in next(pages)["questions"]] == ["d", "e"]


def test_an_empty_collection_is_one_empty_page(client: TestClient) -> None:
    assert client.get("/questions").json() == {
        "collection": "default",
        "questions": [],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    "cursor", ["", "!", "a", "YQ==", "not a cursor", "é", "_w", "YQ\n", "Y Q", "YR", "a" * 5]
)
@pytest.mark.parametrize("path", ["/questions", "/collections", "/labels"])
def test_a_cursor_that_was_never_given_is_refused_by_name(
    shared_client: TestClient, path: str, cursor: str
) -> None:
    response = shared_client.get(path, params={"cursor": cursor})
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["errors"] == [
        {"field": "cursor", "detail": "is not one that this service gave"}
    ]


def test_questions_outlive_the_process(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        write(client, a="Can I cancel my order?", b="What is the capital of France?")
        before = client.get("/questions").json()
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert client.get("/questions").json() == before
        answer = ask(client, "Can I cancel an order?")
    assert (answer["revision"], [c["id"] for c in answer["results"][0]["candidates"]]) == (
        2,
        ["a", "b"],
    )
