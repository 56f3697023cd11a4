"""Bad input is a problem document that names the field and the limit, echoes no text, and changes nothing."""

import gzip
import json
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from app import fields, main
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, app_of, ask, revision, write

MARKER = "xyzzy"

# Where a text can stand: the path, a body with that text, and its field.
PLACES: dict[str, tuple[str, Callable[[object], object], str]] = {
    "duplicates": ("/duplicates", lambda text: {"questions": ["Fine?", text]}, "questions.1"),
    "pair, first": (
        "/pair-score",
        lambda text: {"pairs": [_pair(text, "Fine?")]},
        "pairs.0.question1",
    ),
    "pair, second": (
        "/pair-score",
        lambda text: {"pairs": [_pair("Fine?", text)]},
        "pairs.0.question2",
    ),
    "questions": (
        "/questions",
        lambda text: {"questions": [_question(), _question("b", text)]},
        "questions.1.text",
    ),
    "label": (
        "/labels",
        lambda text: {"labels": [_label(), _label(questions=["Fine?", text])]},
        "labels.1.questions.1",
    ),
}

BAD_TEXTS = {
    "empty": ("", "must not be empty"),
    "blank": (" \t\r\n\u3000\u2003", "must not be blank"),
    "invisible": ("\u200b\u00ad\u3164", "must not be blank"),
    "blank Braille": ("\u2800", "must not be blank"),
    "a lone mark": (" \u0301", "must not be blank"),
    "too long": (
        MARKER + "x" * 9_996,
        "has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
    ),
    "a number": (7, "must be a text"),
    "true": (True, "must be a text"),
    "null": (None, "must be a text"),
    "a list": ([MARKER], "must be a text"),
    "an object": ({"text": MARKER}, "must be a text"),
    "a lone high surrogate": (MARKER + "\ud800", "must be a text of whole Unicode characters"),
    "a lone low surrogate": ("\udfff" + MARKER, "must be a text of whole Unicode characters"),
    "NUL": (MARKER + "\x00", "must not contain a NUL character"),
}

BAD_IDS = {
    "empty": ("", "must not be empty"),
    "blank": ("  ", "must not be blank, '.' or '..'"),
    "a dot": (".", "must not be blank, '.' or '..'"),
    "two dots": ("..", "must not be blank, '.' or '..'"),
    "too long": (MARKER + "x" * 252, "may have at most 256 characters"),
    "a line feed": (MARKER + "\n", "must not contain control characters"),
    "NUL": (MARKER + "\x00", "must not contain control characters"),
    "DEL": (MARKER + "\x7f", "must not contain control characters"),
    "a fraction": (7.0, "must be a text or a whole number"),
    "true": (True, "must be a text or a whole number"),
    "null": (None, "must be a text or a whole number"),
    "a long number": (10**256, "may have at most 256 characters"),
    "a lone surrogate": (MARKER + "\ud800", "must be a text"),
}

BAD_TOP_K = {
    "0": (0, "must be at least 1"),
    "negative": (-1, "must be at least 1"),
    "past the limit": (101, "is 101; at most 100 (SAMEASK_MAX_TOP_K)"),
    "huge": (10**30, "at most 100 (SAMEASK_MAX_TOP_K)"),
    "true": (True, "must be a whole number"),
    "a string": ("3", "must be a whole number"),
    "a fraction": (2.5, "must be a whole number"),
    "not a number": (float("nan"), "must be a whole number"),
    "infinite": (float("inf"), "must be a whole number"),
    "null": (None, "must be a whole number"),
}

BAD_PEOPLE = {
    "empty": ("", "must not be empty"),
    "blank": ("  ", "must not be blank"),
    "too long": (MARKER + "x" * 252, "may have at most 256 characters"),
    "a line feed": (MARKER + "\n", "must not contain control characters"),
    "NUL": (MARKER + "\x00", "must not contain control characters"),
    "a number": (7, "must be a text"),
    "null": (None, "is missing"),  # a key with a name could say it
    "a lone surrogate": (MARKER + "\ud800", "must be a text"),
}

TOO_MANY = {
    "questions to find": (
        "/duplicates",
        {"questions": [f"{MARKER} {n}?" for n in range(101)]},
        ("questions", "has 101 items; at most 100 (SAMEASK_MAX_QUESTIONS)"),
    ),
    "pairs": (
        "/pair-score",
        {"pairs": [{"question1": MARKER, "question2": f"{n}?"} for n in range(101)]},
        ("pairs", "has 101 items; at most 100 (SAMEASK_MAX_PAIRS)"),
    ),
    "questions to write": (
        "/questions",
        {"questions": [{"id": str(n), "text": MARKER} for n in range(1001)]},
        ("questions", "has 1,001 items; at most 1,000 (SAMEASK_MAX_UPSERT)"),
    ),
    "pairs to label": (
        "/labels",
        {
            "labels": [
                {"questions": [MARKER, f"{n}?"], "is_duplicate": True, "by": "a"}
                for n in range(1001)
            ]
        },
        ("labels", "has 1,001 items; at most 1,000 (SAMEASK_MAX_LABELS)"),
    ),
    "ids to exclude": (
        "/duplicates",
        {"questions": [MARKER], "exclude_ids": [str(n) for n in range(1001)]},
        ("exclude_ids", "has 1,001 items; at most 1,000 (SAMEASK_MAX_EXCLUDE_IDS)"),
    ),
}

MALFORMED = {
    "no list": ("/duplicates", {}, ("questions", "is missing")),
    "an empty list": ("/duplicates", {"questions": []}, ("questions", "must not be an empty list")),
    "a text for a list": ("/duplicates", {"questions": MARKER}, ("questions", "must be a list")),
    "an empty list of pairs": (
        "/pair-score",
        {"pairs": []},
        ("pairs", "must not be an empty list"),
    ),
    "half a pair": (
        "/pair-score",
        {"pairs": [{"question1": MARKER}]},
        ("pairs.0.question2", "is missing"),
    ),
    "an empty list to write": (
        "/questions",
        {"questions": []},
        ("questions", "must not be an empty list"),
    ),
    "no id": (
        "/questions",
        {"questions": [{"text": MARKER}]},
        ("questions.0.id", "is missing"),
    ),
    "no text": (
        "/questions",
        {"questions": [{"id": MARKER}]},
        ("questions.0.text", "is missing"),
    ),
    "no object": ("/duplicates", [MARKER], ("body", "must be an object")),
    "null": ("/duplicates", None, ("body", "must be an object")),
    "an unknown field": (
        "/duplicates",
        {"questions": [MARKER], "nonsense": MARKER},
        ("nonsense", "is no field of this request"),
    ),
    "an unknown field inside": (
        "/questions",
        {"questions": [{"id": "a", "text": MARKER, "nonsense": MARKER}]},
        ("questions.0.nonsense", "is no field of this request"),
    ),
    "an unknown field in a pair": (
        "/pair-score",
        {"pairs": [{"question1": MARKER, "question2": MARKER, "nonsense": MARKER}]},
        ("pairs.0.nonsense", "is no field of this request"),
    ),
    "a collection that is no name": (
        "/duplicates",
        {"questions": [MARKER], "collection": MARKER.upper()},
        ("collection", "must be 1 to 64 of `a` to `z`"),
    ),
    "a collection that is no string": (
        "/questions",
        {"questions": [{"id": "a", "text": MARKER}], "collection": 7},
        ("collection", "must be a text"),
    ),
}

BAD_LABELS: dict[str, tuple[dict[str, object], str, str]] = {
    "no pair": ({"questions": ...}, "labels.1", "names its pair either by `ids` or by `questions`"),
    "two pairs": (
        {"ids": ["a", "b"]},
        "labels.1",
        "names its pair either by `ids` or by `questions`",
    ),
    "null for a pair": ({"questions": None}, "labels.1.questions", "must be a list"),
    "half a pair": ({"questions": [MARKER]}, "labels.1.questions", "must have 2 items, not 1"),
    "three of a pair": (
        {"questions": [MARKER, "b", "c"]},
        "labels.1.questions",
        "must have 2 items, not 3",
    ),
    "a text for a pair": ({"questions": MARKER}, "labels.1.questions", "must be a list"),
    "one id": ({"questions": ..., "ids": [MARKER]}, "labels.1.ids", "must have 2 items, not 1"),
    "an empty id": (
        {"questions": ..., "ids": [MARKER, ""]},
        "labels.1.ids.1",
        "must not be empty",
    ),
    "no word": ({"is_duplicate": ...}, "labels.1.is_duplicate", "is missing"),
    "null for a word": ({"is_duplicate": None}, "labels.1.is_duplicate", "must be true or false"),
    "a number for a word": ({"is_duplicate": 1}, "labels.1.is_duplicate", "must be true or false"),
    "a string for a word": (
        {"is_duplicate": "true"},
        "labels.1.is_duplicate",
        "must be true or false",
    ),
    "nobody": ({"by": ...}, "labels.1.by", "is missing"),
    "a blank note": ({"note": "  "}, "labels.1.note", "must not be blank"),
    "a long note": (
        {"note": MARKER + "x" * 9_996},
        "labels.1.note",
        "has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
    ),
    "an unknown field": (
        {"nonsense": MARKER},
        "labels.1.nonsense",
        "is no field of this request",
    ),
    "a pair with itself": (
        {"questions": [MARKER, MARKER]},
        "labels.1",
        "a text with itself",
    ),
    "the opposite": (
        {"questions": ["Which?", "Fine?"], "is_duplicate": False},
        "labels.1",
        "otherwise than labels.0",
    ),
}

NOT_JSON = {
    "words": b"How do I reset my xyzzy?",
    "a trailing comma": b'{"questions": ["xyzzy"],}',
    "single quotes": b"{'questions': ['xyzzy']}",
    "cut short": b'{"questions": ["xyzzy"',
    "two documents": b'{"questions": ["xyzzy"]}{}',
    "nested too deeply": b'{"questions": ["xyzzy", ' + b"[" * 10_000 + b"]" * 10_000 + b"]}",
    "objects nested too deeply": b'{"xyzzy":' * 10_000 + b"1" + b"}" * 10_000,
    "an integer of 5,000 digits": b'{"questions": ["xyzzy"], "top_k": ' + b"9" * 5_000 + b"}",
    "not UTF-8": b'{"questions": ["xyzzy \xff\xfe"]}',
    "UTF-8 cut short": b'{"questions": ["xyzzy \xe2\x82"]}',
    "Latin-1": '{"questions": ["xyzzy é?"]}'.encode("latin-1"),
}

METHODS = {
    "/duplicates": "POST",
    "/pair-score": "POST",
    "/v1/embeddings": "POST",
    "/questions": "GET, HEAD, POST",
    "/labels": "GET, HEAD, POST",
    "/labels/1": "DELETE",
    "/questions/some/id": "DELETE, GET, HEAD",
    "/questions/a%3Fb": "DELETE, GET, HEAD",
    "/collections": "GET, HEAD",
    "/collections/default": "DELETE, GET, HEAD, PUT",
    "/livez": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/docs": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
}

FORBIDDEN = [
    (method, path)
    for path, allowed in METHODS.items()
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH")
    if method not in allowed.split(", ")
]


def _pair(question1: object, question2: object) -> dict[str, object]:
    return {"question1": question1, "question2": question2}


def _question(id_: object = "a", text: object = "Fine?") -> dict[str, object]:
    return {"id": id_, "text": text}


def _label(**changes: object) -> dict[str, object]:
    """A good label with these fields changed, or (`...`) left out."""
    label: dict[str, object] = {
        "questions": ["Fine?", "Which?"],
        "is_duplicate": True,
        "by": "anna",
        **changes,
    }
    return {name: value for name, value in label.items() if value is not ...}


def _post(client: TestClient, path: str, body: object) -> dict[str, Any]:
    """The problem document with which a body is refused; it says 422, and nothing has changed."""
    return _refused(client, path, json.dumps(body).encode(), 422)


def _refused(client: TestClient, path: str, body: bytes, status: int) -> dict[str, Any]:
    before = revision(client)
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert MARKER not in response.text
    assert revision(client) == before
    assert client.get("/questions").json()["questions"] == []
    assert client.get("/labels", params={"history": "true"}).json()["labels"] == []
    document = cast(dict[str, Any], response.json())
    assert (document["type"], document["status"]) == ("about:blank", status)
    return document


def _assert_only_error(document: dict[str, Any], field: str, detail: str) -> None:
    assert [error["field"] for error in document["errors"]] == [field]
    assert detail in document["errors"][0]["detail"]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_bad_text_is_refused_wherever_it_stands(
    shared_client: TestClient, place: str, text: str
) -> None:
    path, body, field = PLACES[place]
    value, detail = BAD_TEXTS[text]
    _assert_only_error(_post(shared_client, path, body(value)), field, detail)


@pytest.mark.parametrize("id_", BAD_IDS)
def test_a_bad_id_is_refused(shared_client: TestClient, id_: str) -> None:
    value, detail = BAD_IDS[id_]
    written = _post(shared_client, "/questions", {"questions": [_question(), _question(value)]})
    excluded = _post(
        shared_client, "/duplicates", {"questions": ["Fine?"], "exclude_ids": ["a", value]}
    )
    _assert_only_error(written, "questions.1.id", detail)
    _assert_only_error(excluded, "exclude_ids.1", detail)


@pytest.mark.parametrize("by", BAD_PEOPLE)
def test_a_bad_name_is_refused(shared_client: TestClient, by: str) -> None:
    value, detail = BAD_PEOPLE[by]
    _assert_only_error(
        _post(shared_client, "/labels", {"labels": [_label(), _label(by=value)]}),
        "labels.1.by",
        detail,
    )


@pytest.mark.parametrize("case", BAD_LABELS)
def test_a_bad_label_is_refused_and_keeps_the_good_one_out(
    shared_client: TestClient, case: str
) -> None:
    changes, field, detail = BAD_LABELS[case]
    document = _post(shared_client, "/labels", {"labels": [_label(), _label(**changes)]})
    _assert_only_error(document, field, detail)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "by"),
        ({"by": ""}, "by"),
        ({"by": " "}, "by"),
        ({"by": "x" * 257}, "by"),
        ({"by": "anna", "collection": "A"}, "collection"),
    ],
)
def test_a_bad_undo_is_refused(
    shared_client: TestClient, parameters: dict[str, str], field: str
) -> None:
    response = shared_client.delete("/labels/1", params=parameters)
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "id_", ["0", "-1", "x", "1.5", "9" * 30, "9" * 5000, "9223372036854775808"]
)
def test_a_bad_number_of_a_label_is_refused(shared_client: TestClient, id_: str) -> None:
    response = shared_client.delete(f"/labels/{id_}", params={"by": "anna"})
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert [error["field"] for error in response.json()["errors"]] == ["id"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in ("is_duplicate", "contradicted", "history")
            for value in ("", "yes", "1", "True")
        ],
        ("by", "\n"),
        ("cursor", "YQ"),  # of another list
        ("cursor", "OTIyMzM3MjAzNjg1NDc3NTgwOA"),  # 2**63
    ],
)
def test_a_bad_filter_of_labels_is_refused(
    shared_client: TestClient, name: str, value: str
) -> None:
    response = shared_client.get("/labels", params={name: value})
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert [error["field"] for error in response.json()["errors"]] == [name]


def test_labels_of_unknown_ids_are_404_and_name_them(shared_client: TestClient) -> None:
    body = {"labels": [_label(), {"ids": ["x", "y"], "is_duplicate": True, "by": "anna"}]}
    document = _refused(shared_client, "/labels", json.dumps(body).encode(), 404)
    assert document["detail"] == "collection 'default' holds no questions with ids 'x', 'y'"


@pytest.mark.parametrize("top_k", BAD_TOP_K)
def test_a_bad_top_k_is_refused(shared_client: TestClient, top_k: str) -> None:
    value, detail = BAD_TOP_K[top_k]
    _assert_only_error(
        _post(shared_client, "/duplicates", {"questions": [MARKER], "top_k": value}),
        "top_k",
        detail,
    )


@pytest.mark.parametrize("case", TOO_MANY)
def test_too_many_is_refused_with_the_count_and_the_limit(
    shared_client: TestClient, case: str
) -> None:
    path, body, error = TOO_MANY[case]
    _assert_only_error(_post(shared_client, path, body), *error)


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_body_is_refused_by_field(shared_client: TestClient, case: str) -> None:
    path, body, error = MALFORMED[case]
    _assert_only_error(_post(shared_client, path, body), *error)


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_not_json_in_utf8_is_400(shared_client: TestClient, case: str) -> None:
    assert _refused(shared_client, "/duplicates", NOT_JSON[case], 400) == {
        "type": "about:blank",
        "title": "Invalid JSON",
        "status": 400,
        "detail": "the body is not JSON in UTF-8",
    }


def test_no_body_is_refused(shared_client: TestClient) -> None:
    _assert_only_error(_refused(shared_client, "/duplicates", b"", 422), "body", "is missing")


def test_everything_past_a_limit_is_named_at_once(shared_client: TestClient) -> None:
    body = {"questions": [MARKER, MARKER + "x" * 10_000], "top_k": 101}
    errors = _post(shared_client, "/duplicates", body)["errors"]
    assert [error["field"] for error in errors] == ["top_k", "questions.1"]


def test_every_list_that_is_too_long_is_named_at_once(shared_client: TestClient) -> None:
    body = {"questions": [MARKER] * 101, "exclude_ids": [str(n) for n in range(1001)]}
    errors = _post(shared_client, "/duplicates", body)["errors"]
    assert [error["field"] for error in errors] == ["questions", "exclude_ids"]


WIDE = {
    "numbers for texts": ("/duplicates", b'{"questions": [' + b"1," * 2_000_000 + b"1]}"),
    "empty questions": ("/questions", b'{"questions": [' + b"{}," * 200_000 + b"{}]}"),
    "empty labels": ("/labels", b'{"labels": [' + b"{}," * 200_000 + b"{}]}"),
    "empty pairs": ("/pair-score", b'{"pairs": [' + b"{}," * 200_000 + b"{}]}"),
    "ids to exclude": (
        "/duplicates",
        b'{"questions": ["a"], "exclude_ids": [' + b"1," * 2_000_000 + b"1]}",
    ),
    "a heap of lists": (
        "/duplicates",
        b'{"questions": ["a"], "b": [' + b"[]," * 1_300_000 + b"1]}",
    ),
    "a heap of objects": ("/pair-score", b'{"pairs": {"a": [' + b"{}," * 1_300_000 + b"1]}}"),
    "a thousand empty labels": ("/labels", b'{"labels": [' + b"{}," * 999 + b"{}]}"),
    "a pair of many": (
        "/labels",
        b'{"labels": [{"is_duplicate": true, "by": "a", "ids": [' + b"1," * 2_000_000 + b"1]}]}",
    ),
    "unknown fields": (
        "/duplicates",
        b"{" + b"".join(b'"%d": 1,' % n for n in range(300_000)) + b'"questions": ["a"]}',
    ),
    "unknown fields inside": (
        "/labels",
        b'{"labels": ['
        + b",".join([b"{" + b"".join(b'"%d": 1,' % n for n in range(90)) + b'"by": 1}'] * 900)
        + b"]}",
    ),
    "many unknown fields inside": (
        "/questions",
        b'{"questions": [{'
        + b"".join(b'"%d": 1,' % n for n in range(300_000))
        + b'"id": "a", "text": "b"}]}',
    ),
}


@pytest.mark.parametrize("case", WIDE)
def test_a_body_of_countless_mistakes_makes_few_errors(
    shared_client: TestClient, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = WIDE[case]
    assert len(body) <= 4 * 2**20 + 2**10
    made: list[int] = []
    told = fields.sentence

    def tell(error: Mapping[str, Any]) -> str:
        made.append(1)
        return told(error)

    monkeypatch.setattr(main, "sentence", tell)
    tracemalloc.start()
    try:
        document = _refused(shared_client, path, body, 422)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1 <= len(document["errors"]) <= 100
    assert len(made) <= 1100  # a hundred, and those of the last few items beside them
    assert peak_bytes < 64 * 2**20


def test_braces_in_texts_are_no_heap(shared_client: TestClient) -> None:
    body = {"questions": ['{["' * 3_000, "\\" * 9_999 + "{"] * 3}
    assert shared_client.post("/duplicates", json=body).status_code == 200


def test_of_many_bad_items_the_first_hundred_are_named(shared_client: TestClient) -> None:
    document = _post(shared_client, "/questions", {"questions": [_question("a", 7)] * 1000})
    assert [error["field"] for error in document["errors"]] == [
        f"questions.{n}.text" for n in range(100)
    ]
    assert {error["detail"] for error in document["errors"]} == {"must be a text"}


UNREADABLE = {
    "as curl -d sends it": (
        {"Content-Type": "application/x-www-form-urlencoded"},
        b'{"questions": ["xyzzy"]}',
        415,
        "the body must be JSON: send `Content-Type: application/json`",
    ),
    "of no type": (
        {},
        b'{"questions": ["xyzzy"]}',
        415,
        "the body must be JSON: send `Content-Type: application/json`",
    ),
    "compressed": (
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        gzip.compress(b'{"questions": ["xyzzy"]}'),
        415,
        "the body must not be compressed (`Content-Encoding`)",
    ),
    "UTF-16": (
        {"Content-Type": "application/json"},
        '{"questions": ["xyzzy"]}'.encode("utf-16"),
        400,
        "the body is not JSON in UTF-8",
    ),
    "UTF-16 without a mark": (
        {"Content-Type": "application/json"},
        '{"questions": ["xyzzy"]}'.encode("utf-16-le"),
        400,
        "the body is not JSON in UTF-8",
    ),
    "UTF-32": (
        {"Content-Type": "application/json"},
        '{"questions": ["xyzzy"]}'.encode("utf-32"),
        400,
        "the body is not JSON in UTF-8",
    ),
}


@pytest.mark.parametrize("path", ["/duplicates", "/admin/retrain", "/admin/releases/live"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_a_body_that_is_no_plain_json_says_what_to_send(
    shared_client: TestClient, path: str, case: str
) -> None:
    headers, body, status, detail = UNREADABLE[case]
    method = "PUT" if path.endswith("live") else "POST"
    response = shared_client.request(method, path, content=body, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert response.json()["detail"] == detail


def test_a_byte_order_mark_of_utf8_is_no_fault(shared_client: TestClient) -> None:
    body = b"\xef\xbb\xbf" + b'{"questions": ["Fine?"]}'
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert shared_client.post("/duplicates", content=body, headers=headers).status_code == 200


def test_ids_that_stand_twice_in_one_request_are_named(shared_client: TestClient) -> None:
    body = {"questions": [_question(id_, MARKER) for id_ in ("a", "b", "a", "c", "b", "a")]}
    errors = _post(shared_client, "/questions", body)["errors"]
    fields = [f"questions.{n}.id" for n in (0, 1, 2, 4, 5)]
    assert errors == [
        {"field": field, "detail": "stands more than once in this request"} for field in fields
    ]


@pytest.mark.parametrize("path", ["/duplicates", "/questions"])
def test_an_unknown_collection_is_404(shared_client: TestClient, path: str) -> None:
    questions = [MARKER] if path == "/duplicates" else [_question("a", MARKER)]
    body = json.dumps({"questions": questions, "collection": "nowhere"}).encode()
    document = _refused(shared_client, path, body, 404)
    assert (document["title"], "errors" in document) == ("Collection not found", False)


def test_one_bad_question_keeps_the_good_ones_out(shared_client: TestClient) -> None:
    _post(
        shared_client,
        "/questions",
        {"questions": [_question("good"), _question("bad", ""), _question("fine")]},
    )
    assert shared_client.get("/questions/good").status_code == 404


def test_the_limits_themselves_are_allowed(client: TestClient) -> None:
    text = "🦊" * 10_000
    write(client, **{"i" * 256: text})
    excluded = [str(number) for number in range(1000)]
    answer = ask(client, *[text] * 100, top_k=100, exclude_ids=excluded)
    assert [r["candidates"][0]["id"] for r in answer["results"]] == 100 * ["i" * 256]
    many = {str(number): "Same?" for number in range(1000)}
    assert write(client, **many)["added"] == 1000
    pairs = {"pairs": 100 * [_pair("Same?", "same?")]}
    assert client.post("/pair-score", json=pairs).json()["scores"][99]["similarity"] == 1.0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_10_megabytes_is_413(shared_client: TestClient, chunked: bool) -> None:
    before = revision(shared_client)
    body = b'{"questions": [{"id": "a", "text": "' + MARKER.encode() + b"x" * 10_000_000 + b'"}]}'
    pieces = (body[start : start + 2**16] for start in range(0, len(body), 2**16))
    headers = {"Content-Type": "application/json"}
    response = shared_client.post(
        "/questions", content=pieces if chunked else body, headers=headers
    )
    assert ("content-length" in response.request.headers) is not chunked
    assert (response.status_code, response.headers["content-type"]) == (413, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Body too large",
        "status": 413,
        "detail": "the body may have at most 4,194,304 bytes (SAMEASK_MAX_BODY_BYTES)",
    }
    assert revision(shared_client) == before


def test_no_more_of_an_endless_body_is_read_than_the_limit(shared_client: TestClient) -> None:
    read, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 2**16
        return {"type": "http.request", "body": b" " * 2**16, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/questions",
        "headers": [],
        "query_string": b"",
    }
    assert shared_client.portal is not None
    shared_client.portal.call(app_of(shared_client), scope, receive, send)
    assert sent[0]["status"] == 413
    assert read == 4 * 2**20 + 2**16


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413)])
def test_a_body_may_have_as_many_bytes_as_the_limit(
    settings: Settings, extra: int, status: int
) -> None:
    body = b'{"questions": ["Fine?"]}'.ljust(1024 + extra)
    with TestClient(create_app(settings.model_copy(update={"max_body_bytes": 1024}))) as client:
        wait_until_ready(client)
        for content in (body, iter([body[:1000], body[1000:]])):
            response = client.post(
                "/duplicates", content=content, headers={"Content-Type": "application/json"}
            )
            assert response.status_code == status


@pytest.mark.parametrize("path", ["/questions", "/collections", "/labels"])
@pytest.mark.parametrize(
    ("limit", "detail"),
    [
        ("0", "must be at least 1"),
        ("-1", "must be at least 1"),
        ("1001", "is 1,001; at most 1,000 (SAMEASK_MAX_PAGE)"),
        ("9" * 30, "at most 1,000 (SAMEASK_MAX_PAGE)"),
        ("9" * 5000, "must be a whole number"),
        ("many", "must be a whole number"),
        ("", "must be a whole number"),
        ("1.5", "must be a whole number"),
    ],
)
def test_a_bad_page_limit_is_refused(
    shared_client: TestClient, path: str, limit: str, detail: str
) -> None:
    response = shared_client.get(path, params={"limit": limit})
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    _assert_only_error(response.json(), "limit", detail)


@pytest.mark.parametrize("path", ["%20", "%00", "%0A", "%7F", "x" * 257])
def test_a_bad_id_in_the_path_is_refused(shared_client: TestClient, path: str) -> None:
    for method in ("GET", "DELETE"):
        response = shared_client.request(method, f"/questions/{path}")
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
        assert [error["field"] for error in response.json()["errors"]] == ["id"]


@pytest.mark.parametrize("path", ["/nowhere", "/nowhere/", "/docs/assets/nowhere.js"])
def test_an_unknown_path_is_a_problem_document(shared_client: TestClient, path: str) -> None:
    response = shared_client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
    }


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_a_wrong_method_is_a_problem_document_that_lists_every_right_one(
    shared_client: TestClient, method: str, path: str
) -> None:
    response = shared_client.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)
    assert response.headers["Allow"] == METHODS[path]
    assert (response.json()["title"], response.json()["status"]) == ("Method Not Allowed", 405)


def test_a_wrong_method_on_a_file_of_the_docs_lists_the_right_ones(
    shared_client: TestClient,
) -> None:
    response = shared_client.post("/docs/assets/swagger-ui.css")
    assert (response.status_code, response.headers["content-type"]) == (405, PROBLEM)
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}
