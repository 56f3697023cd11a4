"""Ask: has this been asked before? Candidates as somebody types, each with its reason, to be labelled at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.engine.findings import Candidate, Finding
from app.engine.store import Collection, Question
from app.leaving import while_connected
from app.scopes import KeyScope
from app.web.page import Page, ThePage
from app.web.people import Said, said_of, say, take_back
from app.web.scales import marks_of
from app.web.threads import thread_of
from app.web.words import Run, marked, turning_of

TOP_K = 10
EXAMPLES = 3
TRIED_IDS = 100

router = APIRouter()


@dataclass(frozen=True)
class Shown:
    """A candidate as the page shows it; `thread` is where it was asked."""

    candidate: Candidate
    runs: Sequence[Run]
    said: Said
    thread: str | None

    @property
    def place(self) -> str:
        """The id of its element: the same wherever it is ranked after a label, so that links to it lead there."""
        return f"c-{sha256(self.candidate.id.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Answer:
    """A finding as the page shows it; `without` is the id of the stored question that is asked, if one is.

    `stored` is how many questions the collection holds; `free_id` is proposed, should this one be added.
    """

    finding: Finding
    shown: Sequence[Shown]
    without: str
    milliseconds: float
    stored: int
    free_id: str

    @property
    def best(self) -> Shown | None:
        """The candidate whose verdict is the question's."""
        return self.shown[0] if self.shown else None

    @property
    def open(self) -> Sequence[Shown]:
        """Those that are offered; all of them, where each is called different."""
        return [one for one in self.shown if one.candidate.verdict != "different"]

    @property
    def folded(self) -> Sequence[Shown]:
        """Those called different."""
        return [one for one in self.shown if one.candidate.verdict == "different"]


@router.get("/")
async def ask_page(page: ThePage) -> HTMLResponse:
    """The screen; with the stored question `id` asked already, if one is named."""
    asked = ""
    answer = None
    if "id" in page.fields:
        page.visitor.check(KeyScope.READ)
        question_id = page.fields.stored_id("id")
        page.fields.check()
        stored = await page.read(page.store.questions.get, page.collection, question_id)
        asked = stored.text
        answer = await _answer(page, asked, stored.id)
    return await page.show(
        "ask.html",
        "Ask",
        asked=asked,
        answer=answer,
        examples=[] if answer else await _examples(page),
        marks=await marks_of(page),
    )


@router.post("/page/ask")
async def ask(page: ThePage) -> HTMLResponse:
    """The answer to the text that was typed so far."""
    if page.fields.is_blank("question"):
        return page.part("ask_nothing.html", examples=await _examples(page))
    question = page.fields.text("question")
    page.fields.check()
    answer = await while_connected(
        page.request, _answer(page, question)
    )  # or the person who types on left
    return page.part("ask_answer.html", answer=answer, marks=await marks_of(page))


@router.post("/page/ask/label")
async def label_candidate(page: ThePage) -> HTMLResponse:
    """Label the asked question and one of its candidates, and show the new answer."""
    is_duplicate = page.fields.truth("is_duplicate")
    pair = page.fields.text("question"), page.fields.text("other")
    page.fields.check()
    await say(page, pair, is_duplicate)
    return await _after_label(page)


@router.post("/page/ask/undo")
async def undo_candidate(page: ThePage) -> HTMLResponse:
    """Undo the visitor's label on the question and one of its candidates."""
    label_id = page.fields.number("label")
    page.fields.check()
    await take_back(page, label_id)
    return await _after_label(page)


async def _after_label(page: Page) -> HTMLResponse:
    """The candidate that was labelled, in its place, and the answer as it is now."""
    question = page.fields.text("question")
    other_id = page.fields.stored_id("other_id")
    page.fields.check()
    answer = await _answer(page, question, page.fields.given("without"))
    same = [one for one in answer.shown if one.candidate.id == other_id]
    return page.part(
        "ask_labelled.html",
        answer=answer,
        shown=same[0] if same else None,
        marks=await marks_of(page),
    )


async def _answer(page: Page, question: str, without: str = "") -> Answer:
    """Ask the detector. Raises like `Detector.find`."""
    started = perf_counter()
    top_k = min(TOP_K, page.settings.max_top_k)
    excluded = [without] if without else []
    findings = await page.detector.find([question], page.collection, top_k, excluded)
    if page.visitor.lacks(KeyScope.READ):
        findings = findings.without_names()
    milliseconds = (perf_counter() - started) * 1000
    finding = findings.results[0]
    labelled = [(question, one.text) for one in finding.candidates if one.label]
    said = await said_of(page, labelled)
    stored = await page.read(page.store.collections.get, page.collection)
    shown: list[Shown] = []
    for candidate in finding.candidates:
        runs = marked(candidate.text, question, turning_of(candidate.reasons)[1])
        of_pair = said.get((question, candidate.text), Said())
        thread = thread_of(stored, candidate.id)
        shown.append(Shown(candidate, runs, of_pair, thread))
    free_id = await _free_id(page, stored)
    return Answer(finding, shown, without, milliseconds, stored.questions, free_id)


async def _free_id(page: Page, stored: Collection) -> str:
    """The next free number, for visitors who may write; empty where many numbers in a row are taken.

    Where ids lead to threads of a site, they are the site's to give.
    """
    if page.visitor.lacks(KeyScope.WRITE) or stored.url_template:
        return ""
    numbers = [str(stored.questions + step) for step in range(1, TRIED_IDS + 1)]
    taken = await page.read(page.store.questions.revisions, stored.key, numbers)
    return next((number for number in numbers if number not in taken), "")


async def _examples(page: Page) -> list[Question]:
    """Some stored questions, for visitors who have none at hand."""
    if page.visitor.lacks(KeyScope.READ):
        return []
    return await page.read(page.store.questions.page, page.collection, None, EXAMPLES)
