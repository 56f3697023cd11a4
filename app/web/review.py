"""Review: the pairs whose label would help most, one key each, with what the labels support beside them."""

from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.engine.store import NewLabel
from app.engine.verdicts import Judgement
from app.errors import FieldError, InvalidRequest, NotReady
from app.promises.promises import Promises
from app.promises.report import Look
from app.scopes import KeyScope
from app.web.curves import curve_of
from app.web.page import Page, ThePage
from app.web.people import take_back
from app.web.scales import marks_of
from app.web.words import Run, marked, turning_of

TARGETS = (0.90, 0.95, 0.98, 0.99)

router = APIRouter()


@dataclass(frozen=True)
class Offered:
    """The pair that is shown, as the judge sees it now, with its words marked."""

    look: Look
    judgement: Judgement
    runs: tuple[list[Run], list[Run]]

    @property
    def texts(self) -> tuple[str, str]:
        return self.look.offered.near.texts

    @property
    def number(self) -> int:
        """Of its offer."""
        return self.look.offered.offer.id

    @property
    def ids(self) -> tuple[str | None, str]:
        return self.look.offered.near.ids


@dataclass(frozen=True)
class Tally:
    """What was said in this sitting: the page keeps it, and sends it along."""

    same: int = 0
    different: int = 0
    skipped: int = 0

    @property
    def labelled(self) -> int:
        return self.same + self.different


@router.get("/page/review")
async def review_page(page: ThePage) -> HTMLResponse:
    """The screen."""
    return await page.show("review.html", "Review", tally=Tally(), **await _next(page))


@router.get("/page/review/next")
async def next_pair(page: ThePage) -> HTMLResponse:
    """The pair to look at, where the first near pairs were still looked for; nothing where another one is shown."""
    values = await _next(page)
    offered = values["offered"]
    shown = page.fields.given("offer")
    if shown and not (isinstance(offered, Offered) and str(offered.number) == shown):
        return HTMLResponse(status_code=204)
    return page.part("review_next.html", **values)


@router.get("/page/review/evidence")
async def show_evidence(page: ThePage) -> HTMLResponse:
    """What the labels support by now."""
    report = await _promises(page).evidence(page.collection)
    return page.part("review_evidence.html", report=report, curve=curve_of(report))


@router.post("/page/review/label")
async def label_offered(page: ThePage) -> HTMLResponse:
    """Say whether the pair asks the same, and show the next one."""
    is_duplicate = page.fields.truth("is_duplicate")
    pair = page.fields.text("first"), page.fields.text("second")
    note = None if page.fields.is_blank("note") else page.fields.text("note")
    page.fields.check()
    label = NewLabel(is_duplicate, page.visitor.name, note, questions=pair)
    labelled = await page.detector.label(page.collection, [label])
    before = _tally(page)
    tally = Tally(before.same + is_duplicate, before.different + (not is_duplicate), before.skipped)
    return await _answer(
        page, tally, said=pair, is_duplicate=is_duplicate, label_id=labelled.labels[0].id
    )


@router.post("/page/review/skip")
async def skip_offered(page: ThePage) -> HTMLResponse:
    """Pass the pair over for good, unless that is taken back, and show the next one."""
    offer = page.fields.number("offer")
    page.fields.check()
    pair = page.fields.given("first"), page.fields.given("second")  # shown, however long they are
    await _promises(page).skip(page.collection, page.visitor.name, offer)
    before = _tally(page)
    tally = Tally(before.same, before.different, before.skipped + 1)
    return await _answer(page, tally, said=pair, offer=offer)


@router.post("/page/review/unskip")
async def unskip_offered(page: ThePage) -> HTMLResponse:
    """Take a skip of this sitting back, and show its pair again."""
    offer = page.fields.number("offer")
    page.fields.check()
    look = await _promises(page).unskip(page.collection, page.visitor.name, offer)
    before = _tally(page)
    is_back = look is not None  # else another's skip of it stands
    tally = Tally(before.same, before.different, max(before.skipped - is_back, 0))
    return await _shown_again(page, tally, look)


@router.post("/page/review/undo")
async def undo_offered(page: ThePage) -> HTMLResponse:
    """Take back a label of this sitting, and show its pair again."""
    label_id = page.fields.number("label")
    was_duplicate = page.fields.truth("is_duplicate")
    pair = page.fields.text("first"), page.fields.text("second")
    page.fields.check()
    await take_back(page, label_id)
    before = _tally(page)
    tally = Tally(
        max(before.same - was_duplicate, 0),
        max(before.different - (not was_duplicate), 0),
        before.skipped,
    )
    look = await _promises(page).offer_again(page.collection, page.visitor.name, pair)
    return await _shown_again(page, tally, look)


@router.post("/page/review/promise")
async def set_promise(page: ThePage) -> HTMLResponse:
    """Ask for a precision of `duplicate` in this collection; without one the release's holds."""
    wanted = page.fields.given("target_precision")
    if wanted and wanted not in [f"{target:.2f}" for target in TARGETS]:
        raise InvalidRequest(FieldError("target_precision", "must be one of those that are listed"))
    promises = _promises(page)
    await page.read(page.store.collections.get, page.collection)  # or CollectionNotFound
    wishes = {"target_precision": float(wanted) if wanted else None}
    most = page.settings.max_collections
    await page.detector.create_collection(page.collection, most, wishes)
    promises.upkeep.renew_soon(page.collection)
    report = await promises.evidence(page.collection)
    answer = page.part("review_promised.html", report=report, curve=curve_of(report))
    answer.headers["HX-Trigger-After-Swap"] = "promised"
    return answer


async def _answer(page: Page, tally: Tally, **said: object) -> HTMLResponse:
    answer = page.part("review_answered.html", tally=tally, said=said, **await _next(page))
    answer.headers["HX-Trigger-After-Swap"] = "labelled"
    return answer


async def _shown_again(page: Page, tally: Tally, look: Look | None) -> HTMLResponse:
    """The pair whose answer was taken back; where there is none, the one that is shown stays."""
    values = await _next(page)
    if look:
        values["offered"] = await _shown(page, look)
    answer = page.part("review_undone.html", tally=tally, is_back=look is not None, **values)
    answer.headers["HX-Trigger-After-Swap"] = "labelled"
    return answer


async def _next(page: Page) -> dict[str, object]:
    """The pair that is offered to the visitor now; None where there is none, or where it is not theirs to label."""
    values: dict[str, object] = {"offered": None, "waiting": 0, "is_looking": False}
    values["marks"] = await marks_of(page)
    values["is_answer"] = False
    if page.visitor.lacks(KeyScope.LABEL):
        return values
    try:
        offer = await _promises(page).offer(page.collection, page.visitor.name, 1)
    except NotReady:
        return {**values, "is_looking": True}
    values["waiting"] = offer.waiting
    values["is_looking"] = not offer.pairs and offer.to_read > 0
    if offer.pairs:
        values["offered"] = await _shown(page, offer.pairs[0])
    return values


async def _shown(page: Page, look: Look) -> Offered:
    first, second = look.offered.near.texts
    scores = await page.detector.score([(first, second)], page.collection)
    judgement = scores.scores[0]
    turning = turning_of(judgement.reasons)
    runs = marked(first, second, turning[0]), marked(second, first, turning[1])
    return Offered(look, judgement, runs)


def _tally(page: Page) -> Tally:
    """What the page says was said so far; counted for the eye alone."""
    counts = []
    for name in ("same", "different", "skipped"):
        digits = page.fields.given(name)
        is_count = digits.isascii() and digits.isdigit() and len(digits) < 9
        counts.append(int(digits) if is_count else 0)
    return Tally(*counts)


def _promises(page: Page) -> Promises:
    return cast(Promises, page.request.app.state.promises)
