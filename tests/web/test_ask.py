"""Ask: what was found, why, and what people say of it."""

import pytest
from starlette.testclient import TestClient

from tests.serving import ask, write
from tests.web.browsing import fields_of, part, post, shown, texts
from tests.web.markup import Element

PROTECT = "How do I protect a shared link?"
LOCK = "How do I lock a shared link?"


@pytest.fixture(scope="module", autouse=True)
def stored(pages: TestClient) -> None:
    write(pages, a=PROTECT, b="Where are my invoices?", c=LOCK)


def candidates(answer: Element) -> dict[str, Element]:
    """By id, the candidates in the order in which they are shown."""
    return {
        candidate.all("span", class_="id")[0].text: candidate
        for candidate in answer.all("article", class_="candidate")
    }


def test_what_is_typed_is_answered_as_json_answers_it(pages: TestClient) -> None:
    question = "How do I protect a public link?"
    answer = part(pages, "/page/ask", question=question)
    (expected,) = ask(pages, question, top_k=10)["results"]
    assert answer.one("div", class_="answer")["data-verdict"] == expected["verdict"]
    found = candidates(answer)
    assert sorted(found) == sorted(one["id"] for one in expected["candidates"])
    for one in expected["candidates"]:
        candidate = found[one["id"]]
        assert candidate.all("span", class_="verdict")[0].text == one["verdict"]
        number = candidate.one("span", class_="number").text
        assert number == f"probability {one['probability']:.2f}"
        assert candidate.one("p", class_="text").text == one["text"]


def test_as_many_candidates_are_counted_as_the_list_shows(pages: TestClient) -> None:
    question = "How do I guard a link?"
    opinions = {PROTECT: True, LOCK: False, "Where are my invoices?": False}
    said = [
        {"questions": [question, text], "is_duplicate": is_duplicate, "by": "anna"}
        for text, is_duplicate in opinions.items()
    ]
    labels = pages.post("/labels", json={"labels": said}).json()["labels"]
    answer = part(pages, "/page/ask", question=question)
    fold = answer.one("details", class_="fold")
    assert (len(answer.all("article")), len(fold.all("article"))) == (3, 2)
    assert answer.one("h2").text == "1 candidate"
    assert fold.one("summary").text.startswith("2 more, called different")
    for label in labels:
        pages.delete(f"/labels/{label['id']}", params={"by": "anna"})


def test_words_that_differ_are_marked(pages: TestClient) -> None:
    answer = part(pages, "/page/ask", question="How do I protect a public link?")
    candidate = candidates(answer)["a"]
    assert texts(candidate.one("p", class_="text").all("mark", class_="other")) == ["shared"]


def test_a_blank_field_is_no_error(pages: TestClient) -> None:
    answer = part(pages, "/page/ask", question="  ")
    assert answer.all("article") == []
    assert len(answer.all("dt")) == 3


def test_a_stored_question_is_asked_by_its_id_and_is_no_candidate_of_itself(
    pages: TestClient,
) -> None:
    page = shown(pages, "/", id="c")
    assert page.one("textarea").text == LOCK
    assert sorted(candidates(page)) == ["a", "b"]


def test_an_unknown_id_is_told(pages: TestClient) -> None:
    response = pages.get("/", params={"id": "nobody"})
    assert response.status_code == 404
    assert "holds no question with id &#39;nobody&#39;" in response.text


def test_a_label_holds_at_once_and_can_be_undone(pages: TestClient) -> None:
    answer = part(pages, "/page/ask", question=LOCK.replace("lock", "unlock"))
    asked = {field["name"]: field["value"] for field in answer.all("input", data_asked="")}
    form = candidates(answer)["b"].one("form", class_="say")
    sent = {**fields_of(form), **asked}
    labelled = part(pages, form["hx-post"], is_duplicate="true", **sent)
    candidate = labelled.one("article")
    assert "#" + candidate["id"] == form["hx-target"]
    assert candidate.all("span", class_="verdict")[0].text == "duplicate"
    assert candidate.one("button", value="true")["aria-pressed"] == "true"
    assert labelled.one("div", id="answer").one("div")["data-verdict"] == "duplicate"
    (label,) = pages.get("/labels").json()["labels"]
    assert (label["questions"], label["is_duplicate"]) == (
        [sent["question"], "Where are my invoices?"],
        True,
    )
    undone = part(
        pages, candidate.one("button", data_key="u")["hx-post"], label=str(label["id"]), **sent
    )
    assert undone.one("article").one("button", value="true")["aria-pressed"] == "false"
    assert pages.get("/labels").json()["labels"] == []


def test_the_verdict_leads_to_its_candidate_however_a_label_ranks_it(pages: TestClient) -> None:
    answer = part(pages, "/page/ask", question=LOCK.replace("lock", "unlock"))
    asked = {field["name"]: field["value"] for field in answer.all("input", data_asked="")}
    shown_before = candidates(answer)
    form = next(iter(shown_before.values())).one("form", class_="say")
    labelled = part(pages, form["hx-post"], is_duplicate="false", **fields_of(form), **asked)
    link = labelled.one("div", id="answer").one("a")
    assert link["href"] == "#" + shown_before[link.text]["id"]
    for label in pages.get("/labels").json()["labels"]:
        pages.delete(f"/labels/{label['id']}", params={"by": label["by"]})


def test_a_label_that_says_nothing_is_refused_and_nothing_is_saved(pages: TestClient) -> None:
    response = post(
        pages,
        "/page/ask/label",
        question=LOCK,
        other="One?",
        other_id="a",
        is_duplicate="yes",
    )
    assert response.status_code == 422
    assert pages.get("/labels").json()["labels"] == []


def test_an_empty_collection_has_no_candidates(pages: TestClient) -> None:
    pages.put("/collections/empty")
    answer = part(pages, "/page/ask", question="One?", collection="empty")
    assert answer.all("div", class_="answer") == []
    told = answer.one("p", class_="note")
    assert told.text == "No questions are stored yet: import a file."
    assert told.one("a")["href"] == "/page/questions?collection=empty#import"


def test_what_is_nowhere_near_is_folded_under_one_line(pages: TestClient) -> None:
    question = "Which colour has the sky?"
    texts_of = [PROTECT, LOCK, "Where are my invoices?"]
    said = [
        {"questions": [question, text], "is_duplicate": False, "by": "anna"} for text in texts_of
    ]
    labels = pages.post("/labels", json={"labels": said}).json()["labels"]
    answer = part(pages, "/page/ask", question=question)
    fold = answer.one("details", class_="fold")
    assert "open" not in fold.attributes
    assert fold.one("summary").text.startswith("Nothing near; the 3 nearest (")
    assert answer.one("h2").text == "No candidate"
    for label in labels:
        pages.delete(f"/labels/{label['id']}", params={"by": "anna"})


def test_the_next_free_number_is_proposed_as_id(pages: TestClient) -> None:
    pages.put("/collections/numbered")
    write(pages, "numbered", **{"1": "How do I pay?", "3": "Where is it?"})
    answer = part(pages, "/page/ask", question="May I pay?", collection="numbered")
    assert answer.one("input", id="asked-id")["value"] == "4"


def test_a_candidate_leads_to_its_thread_by_the_template_of_the_collection(
    pages: TestClient,
) -> None:
    template = "https://forum.example/t/{id}"
    pages.put("/collections/forum", json={"url_template": template})
    write(pages, "forum", **{"a/1 b": "How do I pay?"})
    answer = part(pages, "/page/ask", question="How can I pay?", collection="forum")
    link = answer.one("article").one("a", class_="id")
    assert (link.text, link["href"]) == ("a/1 b", "https://forum.example/t/a%2F1%20b")
    assert link["rel"] == "noreferrer"
    assert answer.one("input", id="asked-id")["value"] == ""  # ids are the forum's to give


def test_one_text_under_several_ids_is_one_candidate(pages: TestClient) -> None:
    pages.put("/collections/copies")
    write(pages, "copies", a="How do I pay?", b="How do I pay?", c="How do I  pay?")
    answer = part(pages, "/page/ask", question="How can I pay?", collection="copies")
    folds = texts(answer.all("summary"))
    assert any(fold.startswith("The same words under ") for fold in folds)


def test_the_promise_is_that_of_the_collection_before_its_labels_support_it(
    pages: TestClient,
) -> None:
    pages.put("/collections/wished", json={"target_precision": 0.95})
    write(pages, "wished", a="How do I reset my password?")
    answer = part(pages, "/page/ask", question="How can I reset my password?", collection="wished")
    told = answer.one("div", class_="answer")
    assert told["data-verdict"] == "duplicate"
    assert "precision 0.95 or more; measured on other sites’ questions" in told.text
