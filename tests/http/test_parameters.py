"""A query parameter that no route knows is refused, and nothing is done."""

import pytest
from starlette.testclient import TestClient

from tests.serving import PROBLEM, revision, write

UNKNOWN = [
    ("GET", "/questions", "colection=faq", "colection"),
    ("GET", "/questions/a", "Collection=default", "Collection"),
    ("DELETE", "/questions/a", "colection=faq", "colection"),
    ("DELETE", "/labels/1", "by=anna&colection=faq", "colection"),
    ("POST", "/questions", "collection=default", "collection"),
    ("PUT", "/collections/faq", "x", "x"),
    ("GET", "/livez", "verbose=1", "verbose"),
    ("POST", "/admin/retrain", "collection=default", "collection"),
]


@pytest.mark.parametrize(("method", "path", "query", "name"), UNKNOWN)
def test_an_unknown_parameter_is_refused_by_name(
    client: TestClient, method: str, path: str, query: str, name: str
) -> None:
    write(client, a="One?")
    before = revision(client)
    body = {"questions": [{"id": "b", "text": "Two?"}]} if method == "POST" else None
    response = client.request(method, f"{path}?{query}", json=body)
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["errors"] == [
        {"field": name, "detail": "is no parameter of this request"}
    ]
    assert revision(client) == before
    assert [c["name"] for c in client.get("/collections").json()["collections"]] == ["default"]


def test_a_parameter_that_stands_twice_is_refused(client: TestClient) -> None:
    client.put("/collections/faq")
    response = client.get("/questions?collection=faq&collection=default")
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"field": "collection", "detail": "stands more than once in this request"}
    ]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/assets/swagger-ui.css"])
def test_pages_and_files_mind_no_parameter(client: TestClient, path: str) -> None:
    assert client.get(f"{path}?v=2").status_code == 200


def test_known_parameters_do_as_before(client: TestClient) -> None:
    write(client, a="One?")
    page = client.get("/questions?collection=default&limit=1&cursor=").json()
    assert page["errors"][0]["field"] == "cursor"
    assert client.get("/questions?collection=default&limit=1").json()["questions"][0]["id"] == "a"


def test_every_documented_route_looks_at_its_parameters(client: TestClient) -> None:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            concrete = path.replace("{", "").replace("}", "")
            response = client.request(method, f"{concrete}?unknown=1")
            assert response.status_code == 422, (method, path)
            assert response.json()["errors"][0]["field"] == "unknown", (method, path)
