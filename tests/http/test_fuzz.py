"""A share of the fuzzing that `make fuzz` does at length, and what it has found so far."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.http.links import LINKS
from app.main import create_app
from app.settings import Settings
from tests.broken_releases import fuzz_folders
from tests.conftest import wait_until_ready
from tests.fuzz import RAW_BODY_BYTES, Counted, Report, fuzz_document, fuzz_settings
from tests.hostile import KINDS, fuzz_hostile
from tests.raw_http import RawRequest, check_answer, fuzz_raw, fuzz_socket, routes_of, send
from tests.serving import app_of, served

SEED = 0
JSON = (b"content-type", b"application/json")

FOUND = {
    "a length in superscript": RawRequest(
        "POST", b"/duplicates", headers=(JSON, (b"content-length", b"\xb2"))
    ),
    "a length of many digits": RawRequest(
        "POST", b"/duplicates", headers=(JSON, (b"content-length", b"9" * 5_000))
    ),
    "a length with zeros first": RawRequest(
        "GET", b"/livez", headers=((b"content-length", b"0" * 5_000),)
    ),
    "a range that ends early": RawRequest(
        "GET", b"/docs/assets/swagger-ui.css", headers=((b"range", b"bytes=5-1"),)
    ),
    "a range past the end": RawRequest(
        "GET", b"/docs/assets/swagger-ui.css", headers=((b"range", b"bytes=9999999-"),)
    ),
    "a wrong method for a file": RawRequest("PUT", b"/docs/assets/swagger-ui.css"),
    "JSON that is too deep": RawRequest(
        "POST", b"/questions", headers=(JSON,), chunks=(b"[" * 90_000,)
    ),
    "JSON that is not UTF-8": RawRequest(
        "POST", b"/questions", headers=(JSON,), chunks=(b'{"\xff": 1}',)
    ),
    "a thousand mistakes": RawRequest(
        "POST",
        b"/duplicates",
        headers=(JSON,),
        chunks=(b'{"questions": [1' + b",1" * 1_000 + b"]}",),
    ),
    "a long name of a field": RawRequest(
        "POST", b"/duplicates", headers=(JSON,), chunks=(b'{"' + b"x" * 100_000 + b'": 1}',)
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Settings:
    """Settings with small limits."""
    return fuzz_settings(tmp_path_factory.mktemp("fuzz") / "data", tiny_release.path)


@pytest.fixture(scope="module")
def small_client(small: Settings) -> Iterator[TestClient]:
    """A running service with small limits."""
    with TestClient(
        create_app(small.model_copy(update={"max_body_bytes": RAW_BODY_BYTES}))
    ) as client:
        wait_until_ready(client)
        yield client


@pytest.mark.timeout(600)
def test_requests_made_from_the_document_are_answered_as_it_says(
    tmp_path: Path, tiny_release: Release
) -> None:
    report = Report()
    fuzz_document(
        fuzz_settings(tmp_path / "data", tiny_release.path),
        report,
        requests=200,
        seed=SEED,
        examples=20,
    )
    assert report.failures == {}
    assert report.requests >= 200
    assert {method for method, _, status in report.sent if status < 300} == {
        "GET",
        "POST",
        "PUT",
        "DELETE",
    }
    assert (
        sum(times for link, times in report.links.items() if " -> [200]" in link) > 0
    )  # which ones is chance


@pytest.mark.timeout(600)
def test_raw_requests_are_answered_well(small_client: TestClient) -> None:
    report = Report()
    fuzz_raw(small_client, Counted(app_of(small_client), report), examples=300, seed=SEED)
    assert report.requests >= 300


@pytest.mark.timeout(600)
def test_raw_requests_on_a_socket_are_answered_well(small: Settings) -> None:
    app = create_app(
        small.model_copy(update={"data_dir": small.data_dir / "socket", "max_body_bytes": 2**22})
    )
    routes = routes_of(app.openapi())
    with served(app) as url:
        fuzz_socket(url, routes, examples=100, seed=SEED)


@pytest.mark.timeout(600)
def test_requests_that_cost_are_answered_and_take_little_memory(
    tmp_path: Path, tiny_release: Release
) -> None:
    costs = fuzz_hostile(tmp_path, tiny_release, count=75, seed=SEED)
    assert costs.failures == {}
    assert sum(costs.sent.values()) == 75
    assert len(costs.sent) == len(KINDS)


def test_broken_releases_are_refused_or_work(
    small_client: TestClient, small: Settings, tiny_release: Release
) -> None:
    folder = small.data_dir / "releases"
    outcomes = fuzz_folders(small_client, folder, tiny_release.path, count=100, seed=SEED)
    assert outcomes["refused"] > 30
    assert outcomes["works"] > 5


@pytest.mark.parametrize("case", FOUND)
def test_what_the_fuzzer_found_stays_mended(small_client: TestClient, case: str) -> None:
    check_answer(FOUND[case], send(small_client, app_of(small_client), FOUND[case]))


@pytest.mark.parametrize("path", ["/questions", "/collections", "/labels", "/admin/training-runs"])
def test_a_page_of_no_said_length_is_never_too_long(small_client: TestClient, path: str) -> None:
    assert small_client.get(path).status_code == 200


def test_a_top_k_that_is_not_said_is_never_too_large(small: Settings) -> None:
    settings = small.model_copy(update={"data_dir": small.data_dir / "top_k", "max_top_k": 2})
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert client.post("/duplicates", json={"questions": ["Fine?"]}).status_code == 200
        assert (
            client.post("/duplicates", json={"questions": ["Fine?"], "top_k": 3}).status_code == 422
        )


def test_every_link_of_the_document_leads_somewhere() -> None:
    document = create_app(Settings()).openapi()
    operations = {
        operation["operationId"]: {
            parameter["name"] for parameter in operation.get("parameters", [])
        }
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    links = [
        (name, link)
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for name, link in response.get("links", {}).items()
    ]
    assert len(links) == sum(
        len(by_status[status]) for by_status in LINKS.values() for status in by_status
    )
    for name, link in links:
        assert link["operationId"] == name
        assert link.get("parameters", {}).keys() <= operations[name]
