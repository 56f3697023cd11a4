"""The frame of every page: its headers, its files, its size, and what is shown when something is wrong."""

import gzip
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.web.forms import NAMES
from app.web.static import FILES
from tests.serving import PROBLEM
from tests.web.browsing import HTMX, post, shown, texts
from tests.web.markup import parsed

MAX_PAGE_BYTES = 100_000
PAGES = ["/", "/page/compare", "/page/review", "/page/questions", "/page/releases", "/page/health"]
TEMPLATES = Path("app/web/templates")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_nothing_but_its_own_files(pages: TestClient, path: str) -> None:
    response = pages.get(path)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"
    page = parsed(response.text)
    assert [script.text for script in page.all("script")] == ["", ""]
    assert page.all("style") == []
    assert " style=" not in response.text
    assert not re.search(r"\son\w+=", response.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_all_its_files_are_small(pages: TestClient, path: str) -> None:
    response = pages.get(path)
    page = parsed(response.text)
    addresses = [script["src"] for script in page.all("script")]
    addresses += [link["href"] for link in page.all("link")]
    assert len(addresses) == 4
    size = len(response.content)
    for address in addresses:
        size += len(gzip.compress(pages.get(address).content))
    assert size < MAX_PAGE_BYTES


def test_files_are_named_by_their_content_and_kept_for_ever(pages: TestClient) -> None:
    for name, file in FILES.items():
        response = pages.get(f"/page/static/{file.name}")
        assert response.content == Path("app/web/static", name).read_bytes()
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["x-content-type-options"] == "nosniff"
    assert pages.get("/page/static/app.css").status_code == 404
    plain = pages.get(f"/page/static/{FILES['app.js'].name}", headers={"Accept-Encoding": "br"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"


def test_the_navigation_names_the_screen_that_is_shown(pages: TestClient) -> None:
    navigation = shown(pages, "/page/compare").one("nav")
    assert texts(navigation.all("a", aria_current="page")) == ["Compare"]
    assert texts(shown(pages, "/").one("nav").all("a", aria_current="page")) == ["Ask"]


def test_a_page_that_is_not_there_is_told_as_a_page(pages: TestClient) -> None:
    response = pages.get("/page/nowhere")
    assert response.status_code == 404
    assert parsed(response.text).one("span", class_="title").text == "Not Found"


def test_an_unknown_collection_is_told_in_the_words_of_the_problem_document(
    pages: TestClient,
) -> None:
    response = pages.get("/", params={"collection": "faq"})
    assert response.status_code == 404
    problem = parsed(response.text).one("div", role="alert")
    assert problem.one("span", class_="title").text == "Collection not found"
    assert (
        problem.one("span", class_="detail").text
        == "there is no collection 'faq': make it with PUT /collections/faq"
    )


def test_a_part_that_fails_comes_as_a_part(pages: TestClient) -> None:
    response = post(pages, "/page/ask", question="x" * 10_001)
    assert response.status_code == 422
    assert "<html" not in response.text
    (field,) = parsed(response.text).all("li")
    assert field["data-field"] == "question"
    assert field.text == ("question has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)")


def test_a_body_that_is_no_form_is_refused(pages: TestClient) -> None:
    response = pages.post("/page/ask", json={"question": "One?"}, headers=HTMX)
    assert response.status_code == 415
    broken = pages.post(
        "/page/ask",
        content=b"question=%ff",
        headers={**HTMX, "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert broken.status_code == 422


def test_a_body_past_the_limit_is_not_read(pages: TestClient) -> None:
    response = post(pages, "/page/ask", question="x" * (4 * 2**20 + 1))
    assert response.status_code == 413


def test_values_are_escaped(pages: TestClient) -> None:
    response = pages.get("/", params={"collection": '"><script>alert(1)</script>'})
    assert response.status_code == 422
    assert "<script>alert" not in response.text


def test_the_chosen_theme_comes_with_the_page(pages: TestClient) -> None:
    dark = parsed(pages.get("/", headers={"Cookie": "sameask_theme=dark"}).text)
    assert dark.one("html")["data-theme"] == "dark"
    assert "checked" in dark.one("input", id="theme-dark").attributes
    assert "data-theme" not in shown(pages, "/").one("html").attributes


def test_while_the_service_starts_the_page_says_so_and_loads_itself_again(
    page_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = TestClient(create_app(page_settings))
    response = client.get("/", headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    page = parsed(response.text)
    assert page.one("meta", http_equiv="refresh")["content"] == "1"
    assert "starting" in page.one("span", class_="detail").text
    assert page.all("a") == []  # nothing else is there yet
    for link in page.all("link"):
        assert client.get(link["href"]).status_code == 200
    assert client.get("/page/sign-in").status_code == 503
    assert caplog.records == []


def test_behind_a_path_prefix_every_address_has_it(page_settings: Settings) -> None:
    settings = page_settings.model_copy(
        update={"root_path": "/sameask", "data_dir": page_settings.data_dir.with_name("proxied")}
    )
    with TestClient(create_app(settings)) as client:
        for path in ("/", "/sameask", "/sameask/"):
            page = shown(client, path)
            addresses = [link["href"] for link in page.all("link")]
            addresses += [script["src"] for script in page.all("script")]
            assert all(address.startswith("/sameask/page/static/") for address in addresses)
            assert client.get(addresses[0].removeprefix("/sameask")).status_code == 200


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for template in TEMPLATES.iterdir():
        text = template.read_text("utf-8")
        assert not re.search(r"<style|\sstyle=|<script>|\son\w+=|hx-on|javascript:", text), template


def test_every_field_of_a_form_is_known() -> None:
    sent: set[str] = set()
    for template in TEMPLATES.glob("*.html"):
        html = template.read_text("utf-8")
        for tag in re.findall(r"<(?:input|textarea|select|button)\b[^>]*", html):
            sent.update(re.findall(r'\bname="([a-z_]+)"', tag))
    assert {"first", "undone", "prefix"} < sent
    assert sent <= NAMES | {"key", "theme"}  # to sign in, and what no form sends


def test_who_asks_for_no_html_is_told_of_a_problem_in_json(pages: TestClient) -> None:
    json = {"Accept": "*/*"}
    for response, status in (
        (pages.get("/page/nowhere", headers=json), 404),
        (pages.delete("/", headers=json), 405),
        (pages.get("/?collection=faq", headers=json), 404),
    ):
        assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
        assert response.json()["status"] == status
        assert ("allow" in response.headers) is (status == 405)
    refused = pages.get("/?collection=..", headers=json).json()
    assert [error["field"] for error in refused["errors"]] == ["collection"]
