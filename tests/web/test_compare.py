"""Compare: two questions by their ids or as texts, word by word."""

import pytest
from starlette.testclient import TestClient

from tests.serving import write
from tests.web.browsing import fields_of, part, post, shown, texts
from tests.web.markup import parsed

TO_HARBOR = "How do I move from Dropbox to Harbor?"
TO_DROPBOX = "How do I move from Harbor to Dropbox?"


@pytest.fixture(scope="module", autouse=True)
def stored(pages: TestClient) -> None:
    write(pages, a=TO_HARBOR, b=TO_DROPBOX)


def test_without_ids_it_asks_for_two_texts(pages: TestClient) -> None:
    page = shown(pages, "/page/compare")
    assert [field["name"] for field in page.all("textarea")] == ["first", "second"]
    assert page.all("div", id="judged") == []


def test_two_stored_questions_are_compared_by_their_ids(pages: TestClient) -> None:
    page = shown(pages, "/page/compare", a="a", b="b")
    scored = pages.post(
        "/pair-score", json={"pairs": [{"question1": TO_HARBOR, "question2": TO_DROPBOX}]}
    ).json()["scores"][0]
    judged = page.one("div", id="judged")
    assert judged.one("div", class_="answer")["data-verdict"] == scored["verdict"]
    assert f"{scored['similarity']:.3f}" in texts(judged.one("dl").all("dd"))
    pieces = [texts(item.all("span")) for item in judged.one("ol", class_="aligned").all("li")]
    assert ["How do I move from", "How do I move from"] in pieces


def test_a_text_never_comes_into_an_address(pages: TestClient) -> None:
    response = pages.post("/page/compare", data={"first": TO_HARBOR, "second": "Another one?"})
    assert response.status_code == 200
    assert "location" not in response.headers
    page = parsed(response.text)
    assert texts(page.all("textarea")) == [TO_HARBOR, "Another one?"]
    links = [link["href"] for link in page.all("a")]
    assert not any("Dropbox" in link for link in links)


def test_texts_that_are_ids_lead_to_the_page_with_a_link(pages: TestClient) -> None:
    response = pages.post("/page/compare", data={"first": "a", "second": "b"})
    assert (response.status_code, response.headers["location"]) == (303, "/page/compare?a=a&b=b")


def test_a_deleted_side_is_told(pages: TestClient) -> None:
    response = pages.get("/page/compare", params={"a": "a", "b": "gone"})
    assert response.status_code == 404


def test_a_label_holds_at_once_and_can_be_undone(pages: TestClient) -> None:
    form = shown(pages, "/page/compare", a="a", b="b").one("form", class_="say")
    labelled = part(pages, form["hx-post"], is_duplicate="false", **fields_of(form))
    assert labelled.one("div", class_="answer")["data-verdict"] == "different"
    assert texts(labelled.one("section", id="people").all("th", scope="row")) == ["you"]
    undo = labelled.one("button", data_key="u")
    (label,) = pages.get("/labels").json()["labels"]
    undone = part(pages, undo["hx-post"], label=str(label["id"]), **fields_of(form))
    assert "Nobody has said anything" in undone.one("section", id="people").text


def test_undoing_what_was_undone_changes_nothing(pages: TestClient) -> None:
    response = post(pages, "/page/compare/undo", label="999", first=TO_HARBOR, second=TO_DROPBOX)
    assert response.status_code == 404
