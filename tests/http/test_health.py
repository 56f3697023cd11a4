"""What orchestrators, dashboards and people who look around get: liveness, readiness, metrics, documentation."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PATIENCE_SECONDS, PROBLEM, Model, ask, watched_model, write

MARKER = "xyzzy"


def _sample(client: TestClient, name: str, **labels: str) -> float:
    """The value of one sample in /metrics."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, labels):
                return sample.value
    raise AssertionError(f"no {name}{labels}")


@contextmanager
def _catching_up(settings: Settings) -> Iterator[tuple[TestClient, Model]]:
    """A service that has one question stored, but no snapshot, and is held while it embeds it."""
    with TestClient(create_app(settings)) as client:
        write(client, a=f"{MARKER}?")
    shutil.rmtree(settings.data_dir / "snapshots", ignore_errors=True)
    with watched_model() as model:
        model.hold(MARKER)
        with TestClient(create_app(settings)) as client:
            try:
                assert model.reached.wait(PATIENCE_SECONDS)
                yield client, model
            finally:
                model.release()


def _references(value: object) -> Iterator[str]:
    """Every $ref inside a document."""
    match value:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for inner in value.values():
                yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)


def _request_examples(schema: dict[str, Any]) -> dict[str, list[object]]:
    """`POST /path` -> examples, for each operation with a JSON body."""
    found: dict[str, list[object]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                media = operation["requestBody"]["content"]["application/json"]
                reference = next(_references(media["schema"]))  # alone, or beside null
                body = schema["components"]["schemas"][reference.rpartition("/")[2]]
                examples = [example["value"] for example in media.get("examples", {}).values()]
                found[f"{method.upper()} {path}"] = examples + body.get("examples", [])
    return found


class Links(HTMLParser):
    """What a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what `href` and `src` name."""
        self.found += [
            value or "" for name, value in attrs if name in ("href", "src") and tag != "a"
        ]


def test_livez_says_alive(client: TestClient) -> None:
    response = client.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_readyz_tells_how_far_the_indexes_are(client: TestClient) -> None:
    client.put("/collections/other")
    write(client, a="One?", b="Two?")
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "failure": None,
        "refused": None,
        "release": "tiny",
        "languages": ["en"],
        "collections": 2,
        "collections_ready": 2,
        "questions": 2,
        "questions_indexed": 2,
        "recall": 1.0,
    }


@pytest.mark.data_directory
def test_readyz_is_503_while_an_index_catches_up(settings: Settings) -> None:
    with _catching_up(settings) as (client, model):
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {
            "ready": False,
            "failure": None,
            "refused": None,
            "release": "tiny",
            "languages": ["en"],
            "collections": 1,
            "collections_ready": 0,
            "questions": 1,
            "questions_indexed": 0,
            "recall": 1.0,
        }
        model.release()
        wait_until_ready(client)
        assert client.get("/readyz").json()["questions_indexed"] == 1
        assert [c["id"] for c in ask(client, "Something else?")["results"][0]["candidates"]] == [
            "a"
        ]


@pytest.mark.data_directory
def test_while_an_index_catches_up_the_rest_answers(settings: Settings) -> None:
    with _catching_up(settings) as (client, _):
        refused = client.post("/duplicates", json={"questions": ["Something else?", f"{MARKER}?"]})
        assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM)
        assert (refused.json()["title"], refused.headers["Retry-After"]) == ("Not ready", "1")
        assert client.get("/livez").status_code == 200
        assert client.get("/questions/a").json()["text"] == f"{MARKER}?"
        assert (
            ask(client, f"{MARKER}?")["results"][0]["candidates"][0]["id"] == "a"
        )  # word for word: asks no index
        assert (_sample(client, "sameask_ready"), _sample(client, "sameask_questions_indexed")) == (
            0,
            0,
        )
        assert _sample(client, "sameask_model_busy_seconds") > 0


def test_readyz_is_503_while_the_model_fails_and_recovers_by_itself(client: TestClient) -> None:
    write(client, a="One?")
    with watched_model() as model:
        model.failing = True
        failed = client.post("/duplicates", json={"questions": ["Something else?"]})
        assert (failed.status_code, failed.json()["title"]) == (503, "Model failing")
        response = client.get("/readyz")
        assert (response.status_code, response.json()["ready"]) == (503, False)
        assert response.json()["failure"] == "the model fails: RuntimeError"
        assert (client.get("/livez").status_code, _sample(client, "sameask_ready")) == (200, 0)
        model.failing = False
        wait_until_ready(client)
        assert client.get("/readyz").json()["failure"] is None
        assert ask(client, "Something else?")["results"][0]["candidates"][0]["id"] == "a"


def test_metrics_count_requests_by_route_and_status(client: TestClient) -> None:
    write(client, a="One?")
    for path in ("/questions/a", "/questions/b/c", "/questions/%3Fd", "/questions/a"):
        client.get(path)
    client.get(f"/{MARKER}")
    name, route = "sameask_request_seconds_count", "/questions/{id:path}"
    assert _sample(client, name, method="POST", route="/questions", status="200") == 1
    assert _sample(client, name, method="GET", route=route, status="200") == 2
    assert _sample(client, name, method="GET", route=route, status="404") == 2
    assert _sample(client, name, method="GET", route="unmatched", status="404") == 1


def test_metrics_say_what_is_stored_and_indexed(client: TestClient) -> None:
    write(client, a="One?", b="Two?")
    client.delete("/questions/a")
    names = (
        "ready",
        "questions",
        "questions_indexed",
        "questions_quarantined",
        "texts_waiting",
        "model_busy_seconds",
        "pairs_waiting",
        "pair_classifier_busy_seconds",
    )
    assert [_sample(client, f"sameask_{name}") for name in names] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_metrics_count_what_was_asked_before(client: TestClient) -> None:
    write(client, a="One?", b="Two?")
    first = ask(client, "Another?", "A third?")
    assert (
        ask(client, "a THIRD?", "another?", "A fourth?")["results"][1]["candidates"]
        == (first["results"][0]["candidates"])
    )
    names = ("embeddings_cached", "embedding_cache_hits_total", "embedding_cache_misses_total")
    assert [_sample(client, f"sameask_{name}") for name in names] == [3, 2, 3]


def test_metrics_count_tokens_that_can_not_be_read(client: TestClient) -> None:
    names = ("asked_tokens_total", "asked_tokens_unknown_total")
    ask(client, "abc?")
    assert [_sample(client, f"sameask_{name}") for name in names] == [6, 0]
    ask(client, "☠ or ☣?", "abc?")
    assert [_sample(client, f"sameask_{name}") for name in names] == [6 + 7 + 6, 2]


def test_metrics_hold_route_templates_and_nothing_that_clients_wrote(client: TestClient) -> None:
    client.put(f"/collections/{MARKER}")
    write(client, MARKER, **{f"{MARKER}/1": f"What is {MARKER}?"})
    ask(client, f"Who is {MARKER}?", f"what is {MARKER}?", collection=MARKER, exclude_ids=[MARKER])
    client.post("/pair-score", json={"pairs": [{"question1": MARKER, "question2": "Other?"}]})
    for method in ("GET", "DELETE", "PATCH"):
        for path in (
            f"/questions/{MARKER}",
            f"/collections/{MARKER}",
            f"/{MARKER}",
            f"/docs/assets/{MARKER}",
        ):
            client.request(method, path, params={"collection": MARKER})
    exposition = client.get("/metrics")
    families = text_string_to_metric_families(exposition.text)
    routes = {
        s.labels["route"] for family in families for s in family.samples if "route" in s.labels
    }
    assert exposition.headers["content-type"].startswith("text/plain; version=")
    assert MARKER not in exposition.text.replace(f'collection="{MARKER}"', "")  # administrators'
    assert {
        "/duplicates",
        "/pair-score",
        "/questions",
        "/questions/{id:path}",
        "/collections/{name}",
    } <= routes
    paths = client.get("/openapi.json").json()["paths"]
    assert {route.replace(":path", "") for route in routes} - set(paths) <= {
        "unmatched",
        "/docs/assets",
    }


def test_the_front_door_is_a_page_that_leads_to_the_documentation(client: TestClient) -> None:
    page = client.get("/").text
    assert "<title>Ask" in page
    assert 'href="/docs"' in page


def test_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    links = Links()
    links.feed(page.text)
    assert page.headers["content-type"].startswith("text/html")
    assert {Path(link).suffix for link in links.found} == {".js", ".css", ".png"}
    assert {str(Path(link).parent) for link in links.found} == {"/docs/assets"}
    assert re.findall(r"https?:|[\"'(]//", page.text) == []
    assert re.findall(r"url: '([^']*)'", page.text) == ["/openapi.json"]


def test_every_asset_of_the_documentation_is_served(client: TestClient) -> None:
    links = Links()
    links.feed(client.get("/docs").text)
    types = {".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
    for link in links.found:
        response = client.get(link)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(types[Path(link).suffix])
        assert len(response.content) == int(response.headers["content-length"]) > 0


def test_the_stylesheet_loads_nothing_from_elsewhere(client: TestClient) -> None:
    stylesheet = client.get("/docs/assets/swagger-ui.css").text
    assert ".swagger-ui" in stylesheet
    assert re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//", stylesheet) == []


def test_every_example_in_the_documentation_works(client: TestClient) -> None:
    examples = _request_examples(client.get("/openapi.json").json())
    assert {"POST /duplicates", "POST /pair-score", "POST /questions", "POST /labels"} <= set(
        examples
    )
    for operation, bodies in examples.items():
        method, path = operation.split()
        assert bodies, f"{operation} has no example"
        for body in bodies:
            response = client.request(method, path.replace("{name}", "default"), json=body)
            is_of_others = path.startswith("/admin/releases") or path.endswith("/skip")
            lacks = is_of_others and response.status_code in (404, 409)  # one release, no offer
            assert response.is_success or lacks, (operation, response.text)


def test_the_openapi_document_is_valid(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "Sameask")
    schemathesis.openapi.from_dict(document).validate()


def test_every_reference_in_the_openapi_document_leads_somewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    targets = set(_references(document))
    assert "#/components/schemas/Problem" in targets
    for target in targets:
        place = document
        for key in target.removeprefix("#/").split("/"):
            place = place[key]
        assert place


def test_every_route_with_input_documents_its_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in ("/duplicates", "/pair-score", "/questions", "/labels"):
        responses = document["paths"][path]["post"]["responses"]
        for status in ("400", "413", "422", "429", "503"):
            assert responses[status]["content"] == problem
