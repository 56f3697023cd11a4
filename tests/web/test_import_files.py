"""Files as people have them, imported from the page: every kind, and every fault, over HTTP."""

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.peoples_files import BROKEN, FILES, QUESTIONS, REFUSED
from tests.serving import wait_until
from tests.web.browsing import HTMX, part, texts
from tests.web.markup import Element, parsed
from tests.web.test_questions import BYTES


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Iterator[TestClient]:
    """One service for all files; each goes into a collection of its own."""
    folder = tmp_path_factory.mktemp("files")
    settings = Settings(data_dir=folder / "data", release=tiny_release.path, device="cpu")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        yield client


def collection(client: TestClient, name: str) -> str:
    """A new collection."""
    name = re.sub("[^a-z]+", "-", name.lower())
    client.put(f"/collections/{name}")
    return name


def looked_at(client: TestClient, into: str, content: bytes) -> tuple[int, Element]:
    """What is answered to the beginning of a file."""
    named = {"X-File-Name": "questions", "X-File-Size": str(len(content))}
    address = f"/page/import/preview?collection={into}"
    answer = client.post(address, content=content, headers={**BYTES, **named})
    return answer.status_code, parsed(answer.text)


def sent(client: TestClient, form: Element, content: bytes) -> tuple[str, Element]:
    """The address of an import whose file was sent and checked, and how it is shown."""
    assert client.put(
        form["data-sends"], content=content, headers={**BYTES, "X-File-Offset": "0"}
    ).is_success
    part(client, form["hx-post"], text_column="text", id_column="id", prefix="")
    address = form["hx-post"].removesuffix("/check")
    wait_until(lambda: "Checking" not in client.get(address, headers=HTMX).text)
    return address, parsed(client.get(address, headers=HTMX).text)


def questions(client: TestClient, name: str) -> list[tuple[str, str]]:
    page = client.get("/questions", params={"collection": name}).json()
    return [(question["id"], question["text"]) for question in page["questions"]]


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_is_imported(pages: TestClient, kind: str) -> None:
    name = collection(pages, kind)
    status, seen = looked_at(pages, name, FILES[kind])
    assert status == 200
    shown = [option["value"] for option in seen.one("select", id="text-column").all("option")]
    assert shown[:2] == ["id", "text"]
    assert texts(seen.one("tbody").all("td"))[: len(shown)][:2] == list(QUESTIONS[0])
    address, job = sent(pages, seen.one("form"), FILES[kind])
    assert "3 lines can be imported" in job.text
    part(pages, f"{address}/write")
    wait_until(lambda: "3 lines are in" in pages.get(address, headers=HTMX).text)
    assert questions(pages, name) == QUESTIONS


@pytest.mark.parametrize("fault", REFUSED)
def test_a_file_of_which_nothing_can_be_read_is_refused(pages: TestClient, fault: str) -> None:
    content, words = REFUSED[fault]
    status, seen = looked_at(pages, "default", content)
    if status == 200:  # what is wrong is seen by those who read all of it
        _, seen = sent(pages, seen.one("form"), content)
    assert words in seen.one("div", class_="problem").text
    assert status in (200, 415)


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_rows_are_named_and_can_be_saved(pages: TestClient, fault: str) -> None:
    content, problems, good = BROKEN[fault]
    name = collection(pages, fault)
    _, seen = looked_at(pages, name, content)
    address, job = sent(pages, seen.one("form"), content)
    cells = texts(job.one("tbody").all("td"))
    assert [int(line) for line in cells[::2]] == [line for line, _ in problems]
    assert all(cell.startswith(why) for cell, (_, why) in zip(cells[1::2], problems, strict=True))
    saved = pages.get(f"{address}/rejected")
    assert saved.text.startswith("\ufeffline,why,id,text,row\r\n")
    assert saved.headers["cache-control"] == "no-store"
    part(pages, f"{address}/write")
    wait_until(lambda: "1 line is in" in pages.get(address, headers=HTMX).text)
    assert [id_ for id_, _ in questions(pages, name)] == good


@pytest.mark.parametrize("wanted", ["bytes=abc", "bytes=999999-", "bytes=0-3"])
def test_a_file_of_rejected_rows_comes_whole(pages: TestClient, wanted: str) -> None:
    content = b"id,text\na,One?\nb,\n"
    _, seen = looked_at(pages, "default", content)
    address, _ = sent(pages, seen.one("form"), content)
    saved = pages.get(f"{address}/rejected", headers={"Range": wanted})
    assert (saved.status_code, saved.text.splitlines()[1:]) == (
        200,
        ["3,text must not be empty,b,,"],
    )


def test_after_a_column_that_is_not_there_others_are_chosen(pages: TestClient) -> None:
    content = b"id,subject\na,One?\n"
    _, seen = looked_at(pages, "default", content)
    address, job = sent(pages, seen.one("form"), content)
    assert "Import failed" in job.text
    assert texts(job.all("button")) == ["Other columns", "Not this file"]
    (again, forget) = job.all("button")
    form = parsed(pages.get(again["hx-get"], headers=HTMX).text).one("form")
    part(pages, form["hx-post"], text_column="subject", id_column="id")
    wait_until(lambda: "1 line can be imported" in pages.get(address, headers=HTMX).text)
    part(pages, form["hx-post"], text_column="text", id_column="id")
    wait_until(lambda: "Import failed" in pages.get(address, headers=HTMX).text)
    assert part(pages, forget["hx-post"]).one("div", role="status").text == (
        "Nothing was imported from this file. Choose another one, or the same again."
    )


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("id,text\na,café?\nb,caf".encode() + b"\xe9?\n", ["b", r"caf\udce9?"]),
        (b'{"id": "a", "text": "\\ud800 hi?"}\n', ["a", r"\ud800 hi?"]),
        ("id,café,t".encode() + b"\xe9xt\na,b?,c?\n", ["a", "b?"]),
    ],
    ids=["byte", "surrogate", "header"],
)
def test_what_is_no_unicode_is_shown_with_escapes(
    pages: TestClient, content: bytes, shown: list[str]
) -> None:
    status, page = looked_at(pages, "default", content)
    assert status == 200
    assert texts(page.one("tbody").all("tr")[-1].all("td")) == shown
