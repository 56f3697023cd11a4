"""Questions: searched, added, changed, deleted, taken out, and imported."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.engine.rows import read_rows
from app.engine.store import Question
from app.web.questions import _csv_lines, _json_lines
from tests.serving import PROBLEM, wait_until, write
from tests.web.browsing import HTMX, part, post, shown, texts
from tests.web.markup import Element, parsed

BYTES = {"Content-Type": "application/octet-stream", **HTMX}


@pytest.fixture(autouse=True)
def stored(pages: TestClient) -> None:
    pages.put("/collections/faq")
    questions = {f"q-{n:02}": f"Question number {n}?" for n in range(30)}
    questions["pay"] = 'Can I pay by "card", 100%?'
    write(pages, "faq", **questions)


def ids(page: Element) -> list[str]:
    """The ids that the list shows."""
    return [row.all("td")[0].text for row in page.all("tr", data_item="")]


def test_the_list_comes_a_page_at_a_time(pages: TestClient) -> None:
    page = shown(pages, "/page/questions", collection="faq")
    assert "31 questions" in page.one("p", class_="facts").text
    first = ids(page)
    assert first[:3] == ["pay", "q-00", "q-01"]
    assert len(first) == 25
    next_address = next(link["href"] for link in page.all("a") if link.text == "Next")
    second = ids(parsed(pages.get(next_address).text))
    assert second == ["q-24", "q-25", "q-26", "q-27", "q-28", "q-29"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("number 17", ["q-17"]),
        ("Q-1 9?", ["q-19"]),
        ('"CARD"', ["pay"]),
        ("100%", ["pay"]),
        ("%", ["pay"]),
        ("_", []),
        ("nowhere", []),
    ],
)
def test_every_word_is_looked_for_in_texts_and_ids(
    pages: TestClient, words: str, expected: list[str]
) -> None:
    page = shown(pages, "/page/questions/list", collection="faq", words=words)
    assert ids(page) == expected


def test_a_question_is_added_under_a_free_id(pages: TestClient) -> None:
    answer = post(pages, "/page/questions/add", collection="faq", id="new", text="A new one?")
    assert answer.headers["hx-trigger-after-swap"] == "questions-changed"
    assert pages.get("/questions/new?collection=faq").json()["text"] == "A new one?"
    again = post(pages, "/page/questions/add", collection="faq", id="new", text="Another?")
    assert again.status_code == 422
    assert "id is stored already: change it in the list" in again.text
    assert pages.get("/questions/new?collection=faq").json()["text"] == "A new one?"
    pages.delete("/questions/new?collection=faq")


def test_all_that_is_wrong_is_told_by_field(pages: TestClient) -> None:
    answer = post(pages, "/page/questions/add", collection="faq", id="..", text=" ")
    assert texts(parsed(answer.text).all("li")) == [
        "id must not be blank, '.' or '..'",
        "text must not be blank",
    ]


def test_a_change_can_be_undone(pages: TestClient) -> None:
    changed = part(
        pages, "/page/questions/change", collection="faq", id="pay", text="Can I pay by card?"
    )
    assert pages.get("/questions/pay?collection=faq").json()["text"] == "Can I pay by card?"
    undo = changed.one("div", id="done").one("form")
    fields = {field["name"]: field["value"] for field in undo.all("input")}
    back = post(pages, undo["hx-post"], collection="faq", **fields)
    assert "Changed back" in back.text
    assert pages.get("/questions/pay?collection=faq").json()["text"] == 'Can I pay by "card", 100%?'


@pytest.mark.parametrize("action", ["edit", "delete"])
def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(
    pages: TestClient, action: str
) -> None:
    form = part_of(pages, f"/page/questions/{action}", id="pay").one("form")
    fields = {field["name"]: field["value"] for field in form.all("input")}
    post(pages, "/page/questions/change", collection="faq", id="pay", text="Can I pay by phone?")
    answer = post(pages, form["hx-post"], collection="faq", text="Can I pay cash?", **fields)
    assert answer.status_code == 422
    assert "text was changed meanwhile, and reads now: Can I pay by phone?" in answer.text
    assert pages.get("/questions/pay?collection=faq").json()["text"] == "Can I pay by phone?"


def test_a_change_whose_answer_was_lost_is_sent_again(pages: TestClient) -> None:
    form = part_of(pages, "/page/questions/edit", id="pay").one("form")
    fields = {field["name"]: field["value"] for field in form.all("input")}
    for _ in range(2):
        answer = post(pages, form["hx-post"], collection="faq", text="By phone?", **fields)
        assert answer.status_code == 200


def test_an_undo_takes_back_no_later_change_of_somebody_else(pages: TestClient) -> None:
    changed = part(pages, "/page/questions/change", collection="faq", id="pay", text="By card?")
    undo = changed.one("div", id="done").one("form")
    fields = {field["name"]: field["value"] for field in undo.all("input")}
    post(pages, "/page/questions/change", collection="faq", id="pay", text="By phone?")
    assert post(pages, undo["hx-post"], collection="faq", **fields).status_code == 422
    assert pages.get("/questions/pay?collection=faq").json()["text"] == "By phone?"


def test_deleting_asks_first(pages: TestClient) -> None:
    row = part_of(pages, "/page/questions/delete", id="pay")
    assert "It can’t be undone" in row.text
    assert pages.get("/questions/pay?collection=faq").status_code == 200
    deleted = part(pages, row.one("form")["hx-post"], collection="faq", id="pay")
    assert ids(deleted) == []
    assert counts(deleted) == ["30 questions", "Export 30", "30", "faq (30)"]
    assert pages.get("/questions/pay?collection=faq").status_code == 404


def counts(answer: Element) -> list[str]:
    """Every count of the collection's questions that an answer renews."""
    renewed = [
        answer.one("p", id="stored-facts"),
        answer.one("button", id="export-all"),
        answer.one("dd", id="stored-questions"),
        answer.one("option", id="shown-collection"),
    ]
    assert {one["hx-swap-oob"] for one in renewed} == {"true"}
    return [one.text.partition(",")[0] for one in renewed]


def test_the_list_renews_every_count(pages: TestClient) -> None:
    page = shown(pages, "/page/questions", collection="faq")
    listed = part_of(pages, "/page/questions/list")
    assert counts(listed) == ["31 questions", "Export 31", "31", "faq (31)"]
    for tag, id_ in (("p", "stored-facts"), ("button", "export-all"), ("dd", "stored-questions")):
        assert "hx-swap-oob" not in page.one(tag, id=id_).attributes
    assert page.one("option", id="shown-collection").text == "faq (31)"


def part_of(client: TestClient, path: str, **parameters: str) -> Element:
    """A part of a page in the collection faq."""
    response = client.get(path, params={"collection": "faq", **parameters}, headers=HTMX)
    assert response.status_code == 200
    return parsed(response.text)


def test_an_export_is_what_an_import_reads(pages: TestClient) -> None:
    csv = pages.get("/page/questions/export", params={"collection": "faq", "kind": "csv"})
    assert csv.headers["content-disposition"] == 'attachment; filename="faq.csv"'
    lines = csv.text.splitlines()
    assert lines[:2] == ["\ufeffid,text", 'pay,"Can I pay by ""card"", 100%?"']
    assert len(lines) == 32
    jsonl = pages.get("/page/questions/export", params={"collection": "faq", "kind": "jsonl"})
    assert jsonl.text.splitlines()[1] == '{"id": "q-00", "text": "Question number 0?"}'


def test_an_export_has_the_mark_of_its_encoding_and_is_read_as_it_was(tmp_path: Path) -> None:
    stored = [("1", "Où est la clé?"), ("2", '\ufeffWhy, "why"?\nwhy?'), ("3", "=1+1")]
    every = (Question(id_, text, 1, None, b"", b"") for id_, text in stored)
    file = tmp_path / "export"
    file.write_bytes("".join(_csv_lines(every)).encode())
    assert file.read_bytes().startswith(codecs.BOM_UTF8)
    assert [tuple(row.values) for row in read_rows(file, ("id", "text"))] == stored


def test_a_file_is_imported_in_steps(pages: TestClient) -> None:
    content = b"number,title\n1,How do I import?\n2,\n"
    named = {"X-File-Name": "my%20file.csv", "X-File-Size": str(len(content))}
    seen = pages.post(
        "/page/import/preview?collection=faq", content=content, headers={**BYTES, **named}
    )
    form = parsed(seen.text).one("form")
    assert form.one("h3").text == "my file.csv"
    assert [option["value"] for option in form.one("select", id="text-column").all("option")] == [
        "number",
        "title",
    ]
    sent = pages.put(form["data-sends"], content=content, headers={**BYTES, "X-File-Offset": "0"})
    assert sent.status_code == 204
    columns = {"text_column": "title", "id_column": "number", "prefix": "f-"}
    part(pages, form["hx-post"], **columns)
    address = form["hx-post"].removesuffix("/check")
    wait_until(lambda: "can be imported" in pages.get(address, headers=HTMX).text)
    job = parsed(pages.get(address, headers=HTMX).text)
    assert texts(job.one("tbody").all("td")) == ["3", "title must not be empty"]
    assert "1 line can be imported into faq; 1 line can’t be." in job.text
    assert "hx-trigger" not in pages.get(address, headers=HTMX).headers
    (back,) = [one for one in job.all("button") if one.text == "Other columns"]
    again = parsed(pages.get(back["hx-get"], headers=HTMX).text).one("form")
    assert "data-sends" not in again.attributes  # the file is here already
    assert [one["value"] for one in again.all("option") if "selected" in one.attributes] == [
        "title",
        "number",
    ]
    assert again.one("input", id="prefix")["value"] == "f-"
    part(pages, again["hx-post"], **columns)
    wait_until(lambda: "can be imported" in pages.get(address, headers=HTMX).text)
    (button,) = [one for one in job.all("button") if one.text == "Import 1 line"]
    part(pages, button["hx-post"])
    wait_until(lambda: "1 line is in" in pages.get(address, headers=HTMX).text)
    assert pages.get(address, headers=HTMX).headers["hx-trigger-after-swap"] == "questions-changed"
    assert pages.get("/questions/f-1?collection=faq").json()["text"] == "How do I import?"


def test_a_column_of_tickets_is_taken_for_the_ids(pages: TestClient) -> None:
    named = {"X-File-Name": "a.csv", "X-File-Size": "24"}
    content = b"Ticket;Subject\n7;Why is?\n"
    seen = pages.post("/page/import/preview", content=content, headers={**BYTES, **named})
    form = parsed(seen.text).one("form")
    assert "CSV, separated by semicolons" in form.text
    chosen = [one["value"] for one in form.all("option") if "selected" in one.attributes]
    assert chosen == ["Subject", "Ticket"]


def test_a_file_that_is_not_the_one_leaves_nothing_behind(pages: TestClient) -> None:
    content = b"text\nWhy?\n"
    named = {"X-File-Name": "a.csv", "X-File-Size": str(len(content))}
    seen = pages.post("/page/import/preview", content=content, headers={**BYTES, **named})
    form = parsed(seen.text).one("form")
    pages.put(form["data-sends"], content=content, headers={**BYTES, "X-File-Offset": "0"})
    part(pages, form["hx-post"], text_column="text")
    address = form["hx-post"].removesuffix("/check")
    wait_until(lambda: "can be imported" in pages.get(address, headers=HTMX).text)
    (forget,) = form.all("button", data_forget="")
    job = part(pages, forget["hx-post"])
    assert job.one("div", role="status").text == (
        "Nothing was imported from this file. Choose another one, or the same again."
    )
    assert job.all("button") == []


def test_what_is_no_file_of_questions_is_refused_before_it_is_sent(pages: TestClient) -> None:
    named = {"X-File-Name": "a.csv", "X-File-Size": "100000000"}
    refused = pages.post("/page/import/preview", content=b"%PDF-1.7", headers={**BYTES, **named})
    assert refused.status_code == 415
    assert "a.csv is a PDF" in refused.text


@pytest.mark.parametrize(
    ("columns", "field"),
    [({}, "text_column"), ({"text_column": "a", "id_column": "a"}, "id_column")],
)
def test_columns_have_to_be_chosen(pages: TestClient, columns: dict[str, str], field: str) -> None:
    refused = post(pages, "/page/import/1/check", **columns)
    assert refused.status_code == 422
    assert parsed(refused.text).one("li")["data-field"] == field


def test_a_prefix_is_no_longer_than_an_id(pages: TestClient) -> None:
    refused = post(pages, "/page/import/1/check", text_column="a", prefix="p" * 257)
    assert refused.status_code == 422
    assert "prefix may have at most 256 characters" in refused.text


def test_a_size_past_the_limit_is_refused_before_anything_is_written(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.imports.preview", None)
    named = {"X-File-Name": "a.parquet", "X-File-Size": "9" * 15}
    sample = b"PAR1" + bytes(100) + b"PAR1"
    refused = pages.post("/page/import/preview", content=sample, headers={**BYTES, **named})
    assert refused.status_code == 415
    assert "SAMEASK_MAX_IMPORT_BYTES" in refused.text


@pytest.mark.parametrize("path", ["999", "999/rejected", "none", "9" * 5000, "-1"])
def test_an_import_that_is_none_is_404(pages: TestClient, path: str) -> None:
    answer = pages.get(f"/page/import/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    told = pages.get(f"/page/import/{path}", headers={"Accept": "*/*"})
    assert (told.status_code, told.headers["content-type"]) == (404, PROBLEM)


def test_rejected_rows_of_a_file_that_was_not_checked_are_404(pages: TestClient) -> None:
    named = {"X-File-Name": "a.csv", "X-File-Size": "9"}
    seen = pages.post("/page/import/preview", content=b"text\nWhy?", headers={**BYTES, **named})
    check = parsed(seen.text).one("form")["hx-post"]
    assert pages.get(check.replace("/check", "/rejected")).status_code == 404


def test_a_misspelt_field_acts_on_nothing(pages: TestClient) -> None:
    write(pages, "default", pay="Can I pay?")
    listed = pages.get("/page/questions/list", params={"colection": "faq"}, headers=HTMX)
    assert (listed.status_code, "colection is no field of a page" in listed.text) == (422, True)
    deleted = post(pages, "/page/questions/delete", id="pay", colection="faq")
    assert deleted.status_code == 422
    assert pages.get("/questions/pay").status_code == 200
    pages.delete("/questions/pay")


def test_no_more_words_are_searched_for_than_a_query_can_hold(pages: TestClient) -> None:
    answer = pages.get("/page/questions/list", params={"words": "a " * 2000}, headers=HTMX)
    assert answer.status_code == 422
    assert "words may be at most 20" in answer.text


@pytest.mark.parametrize("lines_of", [_csv_lines, _json_lines])
def test_an_export_is_sent_in_small_pieces(
    lines_of: Callable[[Iterator[Question]], Iterator[str]],
) -> None:
    questions = (Question(str(n), "x" * 10_000, n, None, b"", b"") for n in range(100))
    assert max(map(len, lines_of(questions))) < 80_000


def test_an_unknown_import_is_told(pages: TestClient) -> None:
    assert pages.get("/page/import/999", headers=HTMX).status_code == 404
