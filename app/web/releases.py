"""Releases: the one that answers, the effect of others, training a new one, swapping and rolling back."""

from contextlib import suppress
from typing import cast

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.errors import FieldError, InvalidRequest, NoShadow, NothingBefore
from app.releases.releases import Listed, ShadowProgress
from app.training_runs.queue import RecipeName, TrainingRun
from app.web.figures import table_of
from app.web.page import Page, ThePage

RUNS = 5  # the latest, on the page
RECIPES: dict[str, str] = {
    "calibration": "calibration alone: probabilities and thresholds, in about a minute",
    "classifier": "the pair classifier",
    "encoder": "the bi-encoder",
    "both": "bi-encoder and pair classifier",
}
EXAMPLES = 10
MAX_REASON = 1000

router = APIRouter()


@router.get("/page/releases")
async def releases_page(page: ThePage) -> HTMLResponse:
    """The screen."""
    releases = await page.releases.all()
    return await page.show(
        "releases.html",
        "Releases",
        releases=releases,
        live_release=await page.releases.live(),
        shadow=await _shadow(page),
        figures=table_of(_compared(releases)),
        runs=await page.training_runs.page(None, RUNS),
        before=await _before(page),
    )


@router.get("/page/releases/all")
async def list_releases(page: ThePage) -> HTMLResponse:
    """The list, where the actions on a release have changed."""
    return page.part("releases_all.html", releases=await page.releases.all())


@router.get("/page/releases/side")
async def compare_releases(page: ThePage) -> HTMLResponse:
    """The figures side by side, where another release was opened or went live."""
    figures = table_of(_compared(await page.releases.all()))
    return page.part("releases_side.html", figures=figures)


@router.get("/page/releases/retrain")
async def retrain_form(page: ThePage) -> HTMLResponse:
    """The form that asks what is to be trained."""
    return page.part("releases_retrain.html", recipes=RECIPES, data_sets=_data_sets(page))


@router.post("/page/releases/retrain")
async def start_training(page: ThePage) -> HTMLResponse:
    """Queue a training run."""
    recipe = page.fields.given("recipe")
    if recipe not in RECIPES:
        raise InvalidRequest(FieldError("recipe", f"must be one of {', '.join(RECIPES)}"))
    run = await page.training_runs.start(
        page.collection,
        cast(RecipeName, recipe),
        page.fields.given("data_set") or None,
        page.settings.target_precision,
    )
    return _run(page, run)


@router.get("/page/releases/run")
async def show_run(page: ThePage) -> HTMLResponse:
    """The progress of a training run. When it is over, the page is loaded again, with the new release."""
    run = await _this_run(page)
    return _and_reload(_run(page, run), run.is_over)


@router.post("/page/releases/run/cancel")
async def cancel_run(page: ThePage) -> HTMLResponse:
    """Stop a training run."""
    run = await _this_run(page)
    return _run(page, await page.training_runs.cancel(run.id))


@router.post("/page/releases/run/resume")
async def resume_run(page: ThePage) -> HTMLResponse:
    """Queue a training run again that has failed or was interrupted."""
    run = await _this_run(page)
    return _run(page, await page.training_runs.resume(run.id))


@router.get("/page/releases/shadow")
async def show_shadow(page: ThePage) -> HTMLResponse:
    """The release on its way; when it is live the page is loaded again, and its list where it failed."""
    answer = await _on_its_way(page)
    shadow = await _shadow(page)
    if shadow and shadow.phase == "failed":
        return _and_list(answer)
    return _and_reload(answer, shadow is None)


@router.post("/page/releases/shadow")
async def open_shadow(page: ThePage) -> HTMLResponse:
    """Open a release beside the live one."""
    await page.releases.open_shadow(_name(page))
    return _and_list(await _on_its_way(page, is_asked=True))


@router.post("/page/releases/shadow/close")
async def close_shadow(page: ThePage) -> HTMLResponse:
    """End the release on its way."""
    await page.releases.cancel_shadow()
    return _and_list(await _on_its_way(page))


@router.get("/page/releases/diff")
async def show_diff(page: ThePage) -> HTMLResponse:
    """The verdicts that would change in this collection."""
    name = _name(page)
    live, diff, change = await page.releases.diff(name, page.collection)
    return page.part(
        "releases_diff.html",
        live_name=live,
        name=name,
        diff=diff,
        change=change,
        silent_at=await page.releases.silent_at(name, page.collection),
        verdicts=("duplicate", "review", "different"),
        examples=diff.changed[:EXAMPLES],
    )


@router.get("/page/releases/ask")
async def ask_before(page: ThePage) -> HTMLResponse:
    """Is this release to be live? Asked before it is made so; `back` where it is the one before."""
    back = "back" in page.fields
    name = await page.releases.before() if back else _name(page)
    silent_at = await page.releases.silent_at(name, page.collection)
    return page.part("releases_ask.html", name=name, back=back, silent_at=silent_at)


@router.post("/page/releases/activate")
async def activate_release(page: ThePage) -> HTMLResponse:
    """Make a release live."""
    reason = _words(page, "reason")
    force = _words(page, "force")
    await page.releases.activate(_name(page), force or reason, force=bool(force))
    return _and_list(await _on_its_way(page, is_asked=True))


@router.post("/page/releases/roll-back")
async def roll_back_release(page: ThePage) -> HTMLResponse:
    """Make the release live that the question named: the one that was live before."""
    await page.releases.activate(_name(page), _words(page, "reason") or "rolled back")
    return _and_list(await _on_its_way(page, is_asked=True))


@router.get("/page/releases/remove")
async def remove_form(page: ThePage) -> HTMLResponse:
    """Is this release to be removed?"""
    return page.part("releases_remove.html", name=_name(page))


@router.post("/page/releases/remove")
async def remove_release(page: ThePage) -> HTMLResponse:
    """Remove a release that was trained here."""
    name = _name(page)
    await page.releases.remove(name)
    return _and_list(page.part("releases_removed.html", name=name))


async def _before(page: Page) -> str | None:
    """The release that can be rolled back to."""
    with suppress(NothingBefore):
        return await page.releases.before()
    return None


async def _on_its_way(page: Page, *, is_asked: bool = False) -> HTMLResponse:
    """The release on its way. `is_asked`: somebody has just asked for it, and shall see it."""
    return page.part(
        "releases_shadow.html",
        shadow=await _shadow(page),
        live_release=await page.releases.live(),
        is_asked=is_asked,
    )


async def _shadow(page: Page) -> ShadowProgress | None:
    with suppress(NoShadow):
        return await page.releases.shadow()
    return None


def _and_reload(answer: HTMLResponse, is_over: bool) -> HTMLResponse:
    if is_over:
        answer.headers["HX-Refresh"] = "true"
    return answer


def _and_list(answer: HTMLResponse) -> HTMLResponse:
    """The answer, which has the list of releases asked for again."""
    answer.headers["HX-Trigger-After-Swap"] = "releases-changed"
    return answer


async def _this_run(page: Page) -> TrainingRun:
    number = page.fields.number("run")
    page.fields.check()
    return await page.training_runs.get(number)


def _run(page: Page, run: TrainingRun) -> HTMLResponse:
    return page.part("releases_run.html", run=run)


def _name(page: Page) -> str:
    name = page.fields.stored_id("release")
    page.fields.check()
    return name


def _words(page: Page, field: str) -> str:
    words = page.fields.given(field).strip()
    if len(words) > MAX_REASON:
        raise InvalidRequest(FieldError(field, f"may have at most {MAX_REASON:,} characters"))
    return words


def _compared(releases: list[Listed]) -> list[Listed]:
    """Those whose figures stand side by side: live, shadow, and the one that was live before."""
    live = [one for one in releases if one.state == "live"]
    shadow = [one for one in releases if one.state == "shadow"]
    former = [one for one in releases if one.last_live_at and one.state == "ready"]
    former.sort(key=lambda one: str(one.last_live_at), reverse=True)
    return [*live, *shadow, *former[:1]]


def _data_sets(page: Page) -> list[str]:
    """The data sets that training may use beside labels."""
    folder = page.settings.data_sets
    if not folder or not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if one.is_dir())
