"""Questions: those of a collection, to be searched, added, changed, deleted and exported."""

import csv
import json
from collections.abc import Iterator
from io import StringIO

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, StreamingResponse

from app.engine.store import Question
from app.errors import FieldError, InvalidRequest, QuestionNotFound
from app.scopes import KeyScope
from app.web.page import Page, ThePage
from app.web.threads import thread_of

ROWS = 25  # on a page
MAX_WORDS = 20  # that are searched for at once
SHOWN_CHARACTERS = 600  # of a text that somebody else wrote meanwhile
MARK = "\ufeff"  # of UTF-8: a spreadsheet takes CSV without it for cp1252
PIECE_CHARACTERS = 64 * 2**10  # of an export that are sent at a time

router = APIRouter()


@router.get("/page/questions")
async def questions_page(page: ThePage) -> HTMLResponse:
    """The screen; with the words that are searched for, and the id behind which the list begins."""
    listed = await _listed(page)
    return await page.show("questions.html", "Questions", **listed)


@router.get("/page/questions/list")
async def questions_list(page: ThePage) -> HTMLResponse:
    """The list alone."""
    return page.part("questions_listed.html", **await _listed(page))


@router.get("/page/questions/edit")
async def edit_form(page: ThePage) -> HTMLResponse:
    """A row of the list, with its text to be changed."""
    return page.part("questions_edit.html", question=await _question(page))


@router.get("/page/questions/row")
async def question_row(page: ThePage) -> HTMLResponse:
    """A row of the list."""
    question = await _question(page)
    return page.part("questions_row.html", question=question, thread=await _thread(page, question))


@router.get("/page/questions/delete")
async def delete_form(page: ThePage) -> HTMLResponse:
    """A row of the list that asks whether the question is to be deleted."""
    return page.part("questions_delete.html", question=await _question(page))


@router.post("/page/questions/add")
async def add_question(page: ThePage) -> HTMLResponse:
    """Store a question under an id that is free."""
    question_id = page.fields.new_id("id")
    text = page.fields.text("text")
    page.fields.check()
    try:
        await page.read(page.store.questions.get, page.collection, question_id)
    except QuestionNotFound:
        await page.detector.add(page.collection, [(question_id, text)])
        stored = await page.read(page.store.collections.get, page.collection)
        answer = page.part("questions_added.html", question_id=question_id, stored=stored)
        return _and_list(answer)
    raise InvalidRequest(FieldError("id", "is stored already: change it in the list"))


@router.post("/page/questions/change")
async def change_question(page: ThePage) -> HTMLResponse:
    """Give a stored question another text, in the place of the one that was seen."""
    before = await _question(page)
    text = page.fields.text("text")
    page.fields.check()
    if text != before.text:  # as it is where the answer to a change was lost
        _refuse_unseen(page, before)
    await page.detector.add(page.collection, [(before.id, text)])
    question = await page.read(page.store.questions.get, page.collection, before.id)
    if "undone" in page.fields:
        return _and_list(page.part("questions_changed_back.html", question_id=question.id))
    return page.part(
        "questions_changed.html",
        question=question,
        before=before.text,
        thread=await _thread(page, question),
    )


@router.post("/page/questions/delete")
async def delete_question(page: ThePage) -> HTMLResponse:
    """Delete a question, as it was seen."""
    question = await _question(page)
    _refuse_unseen(page, question)
    await page.detector.remove(page.collection, question.id)
    stored = await page.read(page.store.collections.get, page.collection)
    return page.part("questions_deleted.html", question_id=question.id, stored=stored)


@router.get("/page/questions/export")
async def export(page: ThePage) -> StreamingResponse:
    """Every question of the collection, as CSV or as JSON lines that an import reads."""
    await page.read(
        page.store.collections.get, page.collection
    )  # or CollectionNotFound, before anything is sent
    as_json = page.fields.given("kind") == "jsonl"
    every = page.store.questions.every(page.collection)
    lines = _json_lines(every) if as_json else _csv_lines(every)
    name = f"{page.collection}.{'jsonl' if as_json else 'csv'}"
    return StreamingResponse(
        lines,
        media_type="application/x-ndjson" if as_json else "text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _listed(page: Page) -> dict[str, object]:
    """A page of the list, and where the next one begins."""
    words = page.fields.given("words").split()
    if len(words) > MAX_WORDS:
        raise InvalidRequest(FieldError("words", f"may be at most {MAX_WORDS}"))
    after = page.fields.given("after") or None
    items = await page.read(
        page.store.questions.page, page.collection, after, ROWS + 1, words=words
    )
    stored = await page.read(page.store.collections.get, page.collection)
    shown = items[:ROWS]
    return {
        "questions": [(question, thread_of(stored, question.id)) for question in shown],
        "words": page.fields.given("words"),
        "after": after,
        "next_after": shown[-1].id if len(items) > ROWS else None,
        "stored": stored,
    }


async def _question(page: Page) -> Question:
    """The stored question that `id` names. Raises ScopeMissing where the visitor may not read it, InvalidRequest,
    QuestionNotFound."""
    page.visitor.check(KeyScope.READ)
    question_id = page.fields.stored_id("id")
    page.fields.check()
    return await page.read(page.store.questions.get, page.collection, question_id)


def _refuse_unseen(page: Page, question: Question) -> None:
    """Raise InvalidRequest where somebody changed the question since the revision `seen`, if that is given: what they
    wrote would be lost."""
    seen = page.fields.given("seen")
    if seen and seen != str(question.revision):
        text = question.text[:SHOWN_CHARACTERS]
        raise InvalidRequest(FieldError("text", f"was changed meanwhile, and reads now: {text}"))


def _and_list(answer: HTMLResponse) -> HTMLResponse:
    """An answer after which the list of the page is loaded again."""
    answer.headers["HX-Trigger-After-Swap"] = "questions-changed"
    return answer


async def _thread(page: Page, question: Question) -> str | None:
    stored = await page.read(page.store.collections.get, page.collection)
    return thread_of(stored, question.id)


def _json_lines(questions: Iterator[Question]) -> Iterator[str]:
    for question in questions:
        yield json.dumps({"id": question.id, "text": question.text}, ensure_ascii=False) + "\n"


def _csv_lines(questions: Iterator[Question]) -> Iterator[str]:
    buffer = StringIO()
    buffer.write(MARK)
    writer = csv.writer(buffer)
    writer.writerow(["id", "text"])
    for question in questions:
        writer.writerow([question.id, question.text])
        if buffer.tell() >= PIECE_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
