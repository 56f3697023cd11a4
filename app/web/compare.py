"""Compare: two questions side by side, word by word, with the judgement of the pair and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.engine.store import Label, Question
from app.engine.verdicts import Judgement
from app.errors import QuestionNotFound
from app.scopes import KeyScope
from app.web.page import Page, ThePage
from app.web.people import Said, said_of, say, take_back
from app.web.scales import marks_of
from app.web.threads import thread_of
from app.web.words import Aligned, Run, aligned, marked, turning_of

router = APIRouter()


@dataclass(frozen=True)
class Side:
    """One of the two: a text, and its question, if it is stored."""

    text: str
    id: str | None
    thread: str | None
    runs: Sequence[Run]


@dataclass(frozen=True)
class Comparison:
    """Two texts and the judgement of them."""

    sides: tuple[Side, Side]
    judgement: Judgement
    said: Said
    labels: Sequence[Label]
    pieces: Sequence[Aligned]


@router.get("/page/compare")
async def compare_page(page: ThePage) -> HTMLResponse:
    """Two stored questions, `a` and `b`, by their ids; without these the form for two texts.

    By an id a stored text is read: who may only ask compares texts alone.
    """
    if "a" not in page.fields or "b" not in page.fields:
        return await _show(page, None)
    page.visitor.check(KeyScope.READ)
    ids = page.fields.stored_id("a"), page.fields.stored_id("b")
    page.fields.check()
    first = await page.read(page.store.questions.get, page.collection, ids[0])
    second = await page.read(page.store.questions.get, page.collection, ids[1])
    return await _show(page, await _comparison(page, first, second))


@router.post("/page/compare")
async def compare_texts(page: ThePage) -> Response:
    """Two texts, or ids of stored questions; where both are ids, the page that names them in its address."""
    first = page.fields.text("first")
    second = page.fields.text("second")
    page.fields.check()
    one = await _stored(page, first)
    other = await _stored(page, second)
    if one and other:
        return RedirectResponse(page.url("/page/compare", a=one.id, b=other.id), 303)
    return await _show(page, await _comparison(page, one or first, other or second))


@router.post("/page/compare/label")
async def label_pair(page: ThePage) -> HTMLResponse:
    """Label the pair, and show the new judgement."""
    is_duplicate = page.fields.truth("is_duplicate")
    pair = page.fields.text("first"), page.fields.text("second")
    page.fields.check()
    await say(page, pair, is_duplicate)
    return await _after_label(page, pair)


@router.post("/page/compare/undo")
async def undo_pair(page: ThePage) -> HTMLResponse:
    """Undo the visitor's label on the pair."""
    label_id = page.fields.number("label")
    pair = page.fields.text("first"), page.fields.text("second")
    page.fields.check()
    await take_back(page, label_id)
    return await _after_label(page, pair)


async def _after_label(page: Page, pair: tuple[str, str]) -> HTMLResponse:
    comparison = await _comparison(page, *pair)
    return page.part("compare_judged.html", comparison=comparison, marks=await marks_of(page))


async def _show(page: Page, comparison: Comparison | None) -> HTMLResponse:
    return await page.show(
        "compare.html",
        "Compare",
        comparison=comparison,
        marks=await marks_of(page),
    )


async def _stored(page: Page, value: str) -> Question | None:
    """The stored question with this id, if there is one, and the visitor may read it."""
    if page.visitor.lacks(KeyScope.READ):
        return None
    try:
        return await page.read(page.store.questions.get, page.collection, value)
    except QuestionNotFound:
        return None


async def _comparison(page: Page, first: Question | str, second: Question | str) -> Comparison:
    """The texts and their judgement. Raises like `Detector.score`."""
    pair = _text(first), _text(second)
    scores = await page.detector.score([pair], page.collection)
    if page.visitor.lacks(KeyScope.READ):
        scores = scores.without_names()
    judgement = scores.scores[0]
    turning = turning_of(judgement.reasons)
    said = (await said_of(page, [pair])).get(pair, Said())
    collection = await page.read(page.store.collections.get, page.collection)
    sides = []
    for place, question in enumerate((first, second)):
        stored_id = question.id if isinstance(question, Question) else None
        thread = thread_of(collection, stored_id) if stored_id else None
        runs = marked(pair[place], pair[1 - place], turning[place])
        sides.append(Side(pair[place], stored_id, thread, runs))
    return Comparison(
        sides=(sides[0], sides[1]),
        judgement=judgement,
        said=said,
        labels=[*said.others, *([said.own] if said.own else [])],
        pieces=aligned(*pair, *turning),
    )


def _text(question: Question | str) -> str:
    return question if isinstance(question, str) else question.text
