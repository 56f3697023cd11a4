"""What browsers are told: by each answer, and by the documentation, which is a page."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready

FORUM = "https://forum.example.com"
ASKS_FIRST = {
    "Origin": FORUM,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.fixture(scope="module")
def open_to_forum(shared_settings: Settings) -> Iterator[TestClient]:
    """A service that the pages of two other servers may ask."""
    changes = {
        "cors_origins": f"{FORUM}, https://other.example.com",
        "allowed_hosts": "testserver,forum.example.com",
        "data_dir": shared_settings.data_dir.with_name("open-to-forum"),
    }
    with TestClient(create_app(shared_settings.model_copy(update=changes))) as client:
        wait_until_ready(client)
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/questions"),
        ("GET", "/nowhere"),
        ("POST", "/duplicates"),
        ("GET", "/livez"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
    ],
)
def test_no_answer_is_taken_for_another_type_kept_or_framed(
    shared_client: TestClient, method: str, path: str
) -> None:
    headers = shared_client.request(method, path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["referrer-policy"] == "same-origin"


def test_the_documentation_runs_its_own_script_and_no_other(shared_client: TestClient) -> None:
    page = shared_client.get("/docs")
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert len(scripts) == 1
    digest = b64encode(sha256(scripts[0].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "default-src 'none';" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert '"validatorUrl": null' in page.text


def test_files_of_the_documentation_may_be_kept(shared_client: TestClient) -> None:
    headers = shared_client.get("/docs/assets/swagger-ui.css").headers
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_of_others_get_nothing_unless_a_setting_names_them(
    shared_client: TestClient, open_to_forum: TestClient
) -> None:
    closed = shared_client.options("/duplicates", headers=ASKS_FIRST)
    assert "access-control-allow-origin" not in closed.headers
    asked_first = open_to_forum.options("/duplicates", headers=ASKS_FIRST)
    assert asked_first.status_code == 200
    assert asked_first.headers["access-control-allow-origin"] == FORUM
    assert "POST" in asked_first.headers["access-control-allow-methods"]
    answer = open_to_forum.post(
        "/duplicates", json={"questions": ["Fine?"]}, headers={"Origin": FORUM}
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == FORUM
    assert "access-control-allow-credentials" not in answer.headers
    stranger = {**ASKS_FIRST, "Origin": "https://evil.example.com"}
    refused = open_to_forum.options("/duplicates", headers=stranger)
    assert "access-control-allow-origin" not in refused.headers


def test_a_refusal_can_be_read_by_a_page_that_may_ask(open_to_forum: TestClient) -> None:
    refused = open_to_forum.post("/duplicates", json={}, headers={"Origin": FORUM})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (422, FORUM)
