"""Health: the figures of /readyz and /metrics, for people."""

from starlette.testclient import TestClient

from tests.serving import ask, write
from tests.web.browsing import HTMX, shown, texts
from tests.web.markup import parsed


def test_the_figures_are_those_of_readyz(pages: TestClient) -> None:
    write(pages, a="How do I pay?", b="Where is it?")
    ready = pages.get("/readyz").json()
    page = shown(pages, "/page/health")
    facts = texts(page.one("dl", class_="ready").all("dd"))
    assert facts[0].startswith("ready")
    assert facts[1].startswith(ready["release"])
    assert facts[2] == f"caught up {ready['questions_indexed']} of {ready['questions']} questions"
    assert facts[3] == "whole 0 rows damaged"


def test_the_index_of_each_collection_is_shown(pages: TestClient) -> None:
    table = shown(pages, "/page/health").one("section", aria_labelledby="indexes-h")
    assert texts(table.all("th", scope="row")) == ["default"]


def test_what_is_asked_is_counted(pages: TestClient) -> None:
    before = asked(pages)
    ask(pages, "How do I pay?")
    assert asked(pages) == before + 1


def asked(client: TestClient) -> int:
    """How many requests the page has counted in the last hour."""
    figures = parsed(client.get("/page/health/figures", headers=HTMX).text)
    caption = figures.all("figcaption")[0].text
    return int(caption.partition("; ")[2].partition(" in ")[0].replace(",", ""))
