"""NUL, which PostgreSQL can't hold, and halves of characters: refused wherever a request holds text."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.serving import app_of, write
from tests.web.browsing import HTMX, post

NUL = "a\x00b"
HALF = "a\ud800b"
NOT_LOOKED_AT = "post /v1/embeddings user"
NO_SUCH_RELEASE = {
    "get /admin/releases/{name}/diff name": 409,
    "delete /admin/releases/{name} name": 404,
}
FILLED = {"string": "a", "integer": 1, "number": 0.5, "boolean": True}

Schema = Mapping[str, Any]


class Document:
    """An OpenAPI document, as a source of requests in which one text is bad."""

    def __init__(self, document: Schema, bad: str) -> None:
        self._document = document
        self._bad = bad

    def in_parameters(self) -> Iterator[tuple[str, str, str, dict[str, str]]]:
        """For each text in a path or a query: its place, the method, the path, the query."""
        for method, path, operation in self._operations():
            parameters = operation.get("parameters", ())
            for bad in parameters:
                if not any(self._texts(bad["schema"])):
                    continue
                named = {p["name"]: "a" for p in parameters if p["in"] == "path"}
                query = {p["name"]: "a" for p in parameters if p["in"] == "query" and p["required"]}
                (named if bad["in"] == "path" else query)[bad["name"]] = self._bad
                place = f"{method} {path} {bad['name']}"
                yield place, method, path.format_map(named), query

    def in_bodies(self) -> Iterator[tuple[str, str, str, object]]:
        """For each text in a body: its place, the method, the path, the body."""
        for method, path, operation in self._operations():
            content = operation.get("requestBody", {}).get("content", {})
            for media_type in content.values():
                for place, body in self._texts(media_type["schema"]):
                    yield (
                        f"{method} {path} {place}",
                        method,
                        path.replace("{name}", "default"),
                        body,
                    )

    def _operations(self) -> Iterator[tuple[str, str, Schema]]:
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                yield method, path, operation

    def _texts(self, schema: Schema) -> Iterator[tuple[str, object]]:
        """Values of the schema, each with another text that is bad, and its place."""
        schema = self._resolved(schema)
        for one in schema.get("anyOf", ()):
            yield from self._texts(one)
        if schema.get("type") == "string":
            yield "", self._bad
        for place, item in self._texts(schema["items"]) if "items" in schema else ():
            yield place, [item] * schema.get("minItems", 1)
        fields = schema.get("properties", {})
        for name, of_field in fields.items():
            others = {other: self._filled(fields[other]) for other in schema.get("required", ())}
            for place, value in self._texts(of_field):
                yield f"{name}.{place}".rstrip("."), {**others, name: value}

    def _filled(self, schema: Schema) -> object:
        """A value of the schema."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return self._filled(schema["anyOf"][0])
        if schema["type"] == "array":
            return [self._filled(schema["items"])] * schema.get("minItems", 1)
        if schema["type"] == "object":
            fields = schema["properties"]
            return {name: self._filled(fields[name]) for name in schema["required"]}
        return FILLED[schema["type"]]

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        name = schema["$ref"].rpartition("/")[2]
        resolved: Schema = self._document["components"]["schemas"][name]
        return resolved


def cursor(name: str) -> str:
    """The cursor that would lead behind this name."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def test_nul_is_refused_in_every_text_of_the_document(client: TestClient) -> None:
    document = Document(app_of(client).openapi(), NUL)
    statuses = {}
    for place, method, path, query in document.in_parameters():
        path = path.replace("\x00", "%00")
        statuses[place] = client.request(method, path, params=query).status_code
    assert len(statuses) > 20
    for place, method, path, body in document.in_bodies():
        statuses[place] = client.request(method, path, json=body).status_code
    assert len(statuses) > 50
    others = {place: status for place, status in statuses.items() if status != 422}
    assert others == {**NO_SUCH_RELEASE, NOT_LOOKED_AT: 404}  # nor is there a model `a`


def test_half_a_character_is_refused_in_every_text_of_a_body(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    statuses = {}
    for place, method, path, body in Document(app_of(client).openapi(), HALF).in_bodies():
        content = json.dumps(body)
        statuses[place] = client.request(method, path, content=content, headers=headers).status_code
    assert len(statuses) > 25
    assert {place for place, status in statuses.items() if status != 422} == set()


@pytest.mark.parametrize("path", ["/questions", "/collections", "/labels", "/admin/training-runs"])
def test_a_cursor_behind_a_nul_is_none_that_was_given(client: TestClient, path: str) -> None:
    refused = client.get(path, params={"cursor": cursor("a\x00")})
    detail = "is not one that this service gave"
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "cursor", "detail": detail}]


@pytest.mark.parametrize("field", ["reason", "force"])
def test_why_a_release_goes_live_holds_no_nul(client: TestClient, field: str) -> None:
    body = {"release": "softer", field: NUL}
    refused = client.put("/admin/releases/live", json=body)
    assert refused.status_code == 422
    errors = [{"field": field, "detail": "must not contain a NUL character"}]
    assert refused.json()["errors"] == errors


def test_why_a_release_goes_live_may_be_blank(client: TestClient) -> None:
    live = client.get("/admin/releases/live").json()["release"]
    accepted = client.put("/admin/releases/live", json={"release": live, "reason": " \n"})
    assert accepted.status_code == 202


def test_nul_is_refused_in_every_field_of_a_page(client: TestClient) -> None:
    write(client, a="How do I pay?")
    asked = {"question": "How do I pay?", "other": "Can I pay?", "is_duplicate": "true"}
    forms = {
        "/page/releases/activate": {"release": "softer", "reason": NUL},
        "/page/releases/roll-back": {"release": "softer", "reason": NUL},
        "/page/ask/label": {**asked, "place": "c1", "other_id": "a", "without": NUL},
        "/page/questions/add": {"id": "b", "text": NUL},
    }
    answers = [post(client, path, **fields) for path, fields in forms.items()]
    answers += [
        client.get("/page/questions", params={name: NUL}, headers=HTMX)
        for name in ("words", "after", "id", "offer", "collection")
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert "must not contain a NUL character" in answer.text
    assert client.get("/labels").json()["labels"] == []
