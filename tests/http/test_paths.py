"""The same under another path, with a slash at the end, and without a body."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, write

OUTER = "/sameask"


@pytest.fixture(scope="module")
def behind_proxy(shared_settings: Settings) -> Iterator[TestClient]:
    """A service that a proxy makes known under a path."""
    data_dir = shared_settings.data_dir.with_name("behind-proxy")
    settings = shared_settings.model_copy(update={"root_path": OUTER, "data_dir": data_dir})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        wait_until_ready(client)
        yield client


@pytest.mark.parametrize("stripped", [True, False], ids=["stripped", "passed on"])
def test_behind_a_path_prefix_everything_is_found(behind_proxy: TestClient, stripped: bool) -> None:
    prefix = "" if stripped else OUTER
    assert behind_proxy.get(f"{prefix}/livez").json() == {"status": "alive"}
    assert f'href="{OUTER}/docs"' in behind_proxy.get(f"{prefix}/").text
    page = behind_proxy.get(f"{prefix}/docs").text
    assert f"url: '{OUTER}/openapi.json'" in page
    assert f'"{OUTER}/docs/assets/swagger-ui-bundle.js"' in page
    assert behind_proxy.get(f"{prefix}/docs/assets/swagger-ui.css").status_code == 200
    assert behind_proxy.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": OUTER}]
    refused = behind_proxy.post(f"{prefix}/livez")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [OUTER, f"{OUTER}/", "/"])
def test_the_front_door_is_found_with_and_without_a_slash(
    behind_proxy: TestClient, path: str
) -> None:
    response = behind_proxy.get(path)
    assert response.status_code == 200
    assert "<title>Ask" in response.text


@pytest.mark.parametrize("path", ["/questions", "/collections/default", "/livez", "/docs"])
def test_a_slash_at_the_end_makes_no_difference(client: TestClient, path: str) -> None:
    assert client.get(f"{path}/").content == client.get(path).content
    assert client.get(f"{path}/").status_code == 200


def test_a_slash_at_the_end_of_an_id_is_none_of_the_id(client: TestClient) -> None:
    write(client, **{"a/b": "One?"})
    assert client.get("/questions/a/b/").json()["id"] == "a/b"
    assert client.post("/duplicates/", json={"questions": ["One?"]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/questions", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/"]
)
def test_head_is_get_without_the_body(shared_client: TestClient, path: str) -> None:
    get = shared_client.get(path, follow_redirects=False)
    head = shared_client.head(path, follow_redirects=False)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type" if "content-type" in get.headers else "location"]
    if path != "/metrics":  # it counts these requests
        assert head.headers["content-length"] == get.headers["content-length"]


def test_head_of_what_is_not_there_is_404_and_of_what_is_only_posted_405(
    shared_client: TestClient,
) -> None:
    assert shared_client.head("/questions/never").status_code == 404
    refused = shared_client.head("/duplicates")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert refused.headers["content-type"] == PROBLEM
