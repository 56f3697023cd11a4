"""Review: pairs of the queue, labelled one after the other, with what the labels support."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.promises.corpus import fill, label_until_kept
from tests.serving import detector_of
from tests.web.browsing import HTMX, fields_of, part, post, shown, texts
from tests.web.markup import Element, parsed


@pytest.fixture(scope="module")
def client(page_settings: Settings) -> Iterator[TestClient]:
    """A service with questions that are near each other."""
    with TestClient(create_app(page_settings), follow_redirects=False) as client:
        wait_until_ready(client)
        fill(client)
        yield client


def pair_in(page: Element) -> list[str]:
    """The two texts of the pair that is shown."""
    return texts(page.one("article", class_="pair").all("p", class_="text"))


def part_of(client: TestClient, address: str) -> Element:
    """What is answered to a part of the page."""
    return parsed(client.get(address, headers=HTMX).text)


def test_a_pair_is_labelled_and_the_next_one_comes(client: TestClient) -> None:
    page = shown(client, "/page/review")
    first = pair_in(page)
    form = page.one("form", class_="answers")
    answer = part(client, form["hx-post"], is_duplicate="true", same="1", **fields_of(form))
    assert pair_in(answer) != first
    assert answer.one("div", id="progress").one("span").text == (
        "2 labelled in this sitting: 2 same, 0 not; 0 skipped"
    )
    waiting = answer.one("span", id="waiting")
    assert waiting["hx-swap-oob"] == "true"
    assert int(waiting.text.split()[0]) < int(page.one("span", id="waiting").text.split()[0])
    assert "1 label counts" in evidence(client).text
    (label,) = client.get("/labels").json()["labels"]
    assert sorted(label["questions"]) == sorted(first)
    undo = answer.one("tr", data_said="").one("button")
    undone = part(client, undo["hx-post"], same="2", **json.loads(undo["hx-vals"]))
    assert "1 same" in undone.text
    assert undone.one("div", id="pair")["hx-swap-oob"] == "true"
    assert pair_in(undone) == first
    assert undone.one("span", id="waiting").text == waiting.text
    assert client.get("/labels").json()["labels"] == []
    why = undone.one("div", class_="asked-why")  # asked for again when a promise has changed
    again = part_of(client, why["hx-get"])
    assert pair_in(again) == first
    assert again.one("div", class_="asked-why")["id"] == why["id"]
    other = client.get("/page/review/next?offer=999999", headers=HTMX)
    assert (other.status_code, other.text) == (204, "")


def test_a_pair_is_skipped_until_that_is_taken_back(client: TestClient) -> None:
    page = shown(client, "/page/review")
    skipped = pair_in(page)
    form = page.one("form", class_="answers")
    answer = part(client, "/page/review/skip", **fields_of(form))
    assert pair_in(answer) != skipped
    assert "1 skipped" in answer.one("div", id="progress").text
    row = answer.one("tr", data_said="")
    assert row.one("span", class_="verdict").text == "skipped"
    assert skips(client) == 1
    undo = row.one("button")
    undone = part(client, undo["hx-post"], skipped="1", **json.loads(undo["hx-vals"]))
    assert pair_in(undone) == skipped
    assert "0 skipped" in undone.one("div", id="progress").text
    assert skips(client) == 0
    unknown = {"offer": "999999", "first": skipped[0], "second": skipped[1]}
    for way in ("skip", "unskip"):
        assert post(client, f"/page/review/{way}", **unknown).status_code == 404


def test_a_pair_that_is_too_long_by_now_can_be_skipped(client: TestClient) -> None:
    fields = fields_of(shown(client, "/page/review").one("form", class_="answers"))
    answer = part(client, "/page/review/skip", **{**fields, "first": 100_000 * "long "})
    assert "1 skipped" in answer.one("div", id="progress").text
    part(client, "/page/review/unskip", offer=fields["offer"])


def skips(client: TestClient) -> int:
    """How many offered pairs count as skipped."""
    return int(client.get("/collections/default/evidence").json()["labels"]["skipped"])


def test_nobody_takes_back_what_another_skipped(client: TestClient) -> None:
    page = shown(client, "/page/review")
    offer = fields_of(page.one("form", class_="answers"))["offer"]
    body = {"by": "anna", "id": int(offer)}
    assert client.post("/collections/default/review-queue/skip", json=body).is_success
    undone = part(client, "/page/review/unskip", offer=offer, skipped="1")
    assert undone.all("form", class_="answers") == []
    assert "1 skipped" in undone.one("div", id="progress").text
    detector_of(client).store.offers.unskip("default", int(offer), "anna")


def test_a_word_with_a_note_keeps_the_note(client: TestClient) -> None:
    form = shown(client, "/page/review").one("form", class_="answers")
    part(client, form["hx-post"], is_duplicate="false", note="another time", **fields_of(form))
    (label,) = client.get("/labels").json()["labels"]
    assert (label["is_duplicate"], label["note"]) == (False, "another time")
    client.delete(f"/labels/{label['id']}", params={"by": label["by"]})


def test_without_a_wish_the_release_is_said_to_hold(client: TestClient) -> None:
    text = evidence(client).text
    assert "No precision of its own: the server’s 0.90 holds." in text
    assert "Now the release’s threshold holds" in text
    assert "measured on other sites’ questions" in text


def test_a_promise_is_asked_for_and_its_labels_are_told(client: TestClient) -> None:
    page = shown(client, "/page/review")
    why = page.one("div", class_="asked-why")
    answer = post(client, "/page/review/promise", target_precision="0.95")
    assert (
        answer.headers["hx-trigger-after-swap"] == "promised"
    )  # the marks of the pair's bar follow
    assert why["hx-trigger"] == "promised from:body"
    assert parsed(client.get(why["hx-get"], headers=HTMX).text).one("div", id=why["id"])
    asked = parsed(answer.text)
    assert "Labels alone can’t support 0.95 yet. " in asked.text
    near = client.get("/collections/default/evidence").json()["curve"]
    (reached,) = [point["pairs"] for point in near if point["threshold"] == 0.5]
    assert f"{reached} near pairs of default lie at 0.50 or above" in asked.text
    assert "No number of labels on them is expected to do" in asked.text
    assert "Meanwhile the release’s threshold holds" in asked.text
    assert asked.one("div", id="asked-for").text == (
        "Asked for: precision 0.95 of what is called duplicate in default."
    )
    promise = asked.one("a", id="promise")
    assert (promise.text, promise["hx-swap-oob"]) == ("precision 0.95 asked for", "true")
    assert asked.one("div", id="asked-for")["hx-swap-oob"] == "true"
    for told in (page.one("a", id="promise"), page.one("div", id="asked-for")):
        assert "hx-swap-oob" not in told.attributes
    assert client.get("/collections/default").json()["target_precision"] == 0.95
    refused = post(client, "/page/review/promise", target_precision="0.3")
    assert refused.status_code == 422
    part(client, "/page/review/promise", target_precision="")
    assert client.get("/collections/default").json()["target_precision"] is None


def test_a_promise_that_labels_support_is_told_as_kept(client: TestClient) -> None:
    client.put("/collections/default", json={"target_precision": 0.8})
    label_until_kept(client)
    page = evidence(client)
    assert "What is called duplicate has precision 0.80 or more" in page.text
    (drawing,) = page.all("svg")
    assert drawing.one("polyline", class_="c-a")["points"].count(",") >= 2
    found = client.post("/page/ask", data={"question": "can i cancel the order"}, headers=HTMX).text
    assert "duplicate at" in found


def evidence(client: TestClient) -> Element:
    """What the labels support, as the page shows it."""
    return parsed(client.get("/page/review/evidence", headers=HTMX).text)
