"""Screens in a real browser over a tiny release: where things stand, and where the focus goes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Response, Route, expect

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.promises.corpus import questions
from tests.serving import served, wait_until
from tests.web.browser import CHROMIUM, NONE_HERE, Watched, watched

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE),
    pytest.mark.timeout(600),
]

WIDTHS = (1024, 1101, 1280, 1365, 1440)
COVERED = """() => {
  const panel = document.querySelector("#evidence").getBoundingClientRect();
  const parts = document.querySelectorAll("article.pair, article.pair *, .answers, .answers *");
  return [...parts].filter((part) => {
    const box = part.getBoundingClientRect();
    const isBeside = box.right <= panel.left || box.bottom <= panel.top || box.top >= panel.bottom;
    return box.width && !isBeside;
  }).map((part) => part.outerHTML.slice(0, 80));
}"""
LABELLED = "() => htmx.trigger(document.body, 'labelled')"


def is_evidence(answer: Response) -> bool:
    return "/page/review/evidence" in answer.url


@pytest.fixture(scope="module")
def address(page_settings: Settings, wide_release: Release) -> Iterator[str]:
    """A service with questions near each other, and a second release."""
    shutil.copytree(wide_release.path, page_settings.data_dir / "releases" / "wide")
    with served(create_app(page_settings)) as url:
        stored = [{"id": id_, "text": text} for id_, text in questions(100).items()]
        httpx.post(f"{url}/questions", json={"questions": stored}).raise_for_status()
        wait_until(lambda: near_pairs(url)["to_read"] == 0 and near_pairs(url)["known"] > 100)
        yield url


def near_pairs(url: str) -> dict[str, int]:
    """How many are known, and how many questions' pairs have yet to be looked for."""
    answer = httpx.get(f"{url}/collections/default/evidence")
    return dict(answer.json()["near_pairs"]) if answer.is_success else {"to_read": 1, "known": 0}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_of_the_pair_lies_under_the_evidence(
    browser: Browser, address: str, width: int
) -> None:
    with watched(browser, address, width) as seen:
        seen.open("/page/review")
        expect(seen.page.locator("#note")).to_be_visible()
        expect(seen.page.get_by_label("Precision that duplicate is to have")).to_be_visible()
        assert seen.page.evaluate(COVERED) == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        seen.assert_clean()


def test_the_pair_whose_label_is_undone_comes_back(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    pair = page.locator("article.pair .text")
    first = pair.all_inner_texts()
    page.keyboard.press("d")
    expect(page.locator("#progress")).to_contain_text("1 labelled")
    assert pair.all_inner_texts() != first
    waiting = page.locator("#waiting").inner_text()
    page.keyboard.press("u")
    expect(page.locator("#progress")).to_contain_text("0 labelled")
    assert pair.all_inner_texts() == first
    assert page.locator("#waiting").inner_text() == waiting
    expect(page.locator("#just-said tr")).to_have_count(0)
    with page.expect_response(lambda answer: "/page/review/next" in answer.url) as answered:
        page.get_by_role("button", name="Promise it").click()
    assert answered.value.status == 200
    expect(page.locator("article.pair .asked-why")).to_be_visible()
    assert pair.all_inner_texts() == first
    assert httpx.get(f"{seen.address}/labels").json()["labels"] == []


def test_a_held_key_acts_once(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.method))
    for number, key in enumerate(("s", "Space"), 1):
        pair = page.locator("article.pair").text_content() or ""
        page.keyboard.down(key)
        expect(page.locator("article.pair")).not_to_have_text(pair)
        page.keyboard.down(key)  # as the system repeats it
        page.keyboard.up(key)
        expect(page.locator("#progress")).to_contain_text("1 labelled")
        assert posts.count("POST") == number
    for left in ("1 labelled in this sitting: 1 same, 0 not; 0 skipped", "0 labelled"):
        page.keyboard.press("u")
        expect(page.locator("#progress")).to_contain_text(left)


def test_of_an_answer_that_is_lost_nobody_says_that_nothing_was_saved(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/compare?a=q0&b=q1")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/page/compare/label", lose)
    page.get_by_role("button", name="Not the same").click()
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The server does not answer")
    assert "saved" not in problem.inner_text()
    expect(problem).to_contain_text("Whether this was saved is not known: look before")
    seen.faults.clear()  # htmx tells of the lost answer itself
    (label,) = httpx.get(f"{seen.address}/labels").json()["labels"]
    httpx.delete(f"{seen.address}/labels/{label['id']}", params={"by": label["by"]})


def test_evidence_that_comes_meanwhile_takes_no_promise_away(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    expect(page.locator("#support")).to_contain_text("No precision of its own")
    page.get_by_label("Precision that duplicate is to have").select_option("0.98")
    with page.expect_response(is_evidence):
        page.evaluate(LABELLED)
    expect(page.locator("#target")).to_have_value("0.98")

    def late(route: Route) -> None:
        answer = route.fetch()
        page.evaluate(LABELLED)
        page.wait_for_timeout(600)  # evidence asked for now comes after the answer, or waits for it
        route.fulfill(response=answer)

    page.route("**/page/review/promise", late)
    with page.expect_response(lambda answer: "/page/review/next" in answer.url):
        page.get_by_role("button", name="Promise it").click()
    with page.expect_response(is_evidence):
        page.evaluate(LABELLED)
    expect(page.locator("#evidence [role=status]")).to_contain_text("precision 0.98")
    expect(page.locator("#target")).to_have_value("0.98")
    httpx.put(f"{seen.address}/collections/default", json={"target_precision": None})


def test_after_a_promise_the_pair_has_the_focus(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    page.get_by_label("Precision that duplicate is to have").select_option("0.99")
    page.get_by_role("button", name="Promise it").click()
    expect(page.locator("#evidence [role=status]")).to_contain_text("precision 0.99")
    expect(page.locator("article.pair")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#progress")).to_contain_text("1 skipped")
    httpx.put(f"{seen.address}/collections/default", json={"target_precision": None})


def test_an_import_renews_the_list_and_every_count(seen: Watched, tmp_path: Path) -> None:
    page = seen.page
    httpx.put(f"{seen.address}/collections/imported").raise_for_status()
    file = tmp_path / "tickets.csv"
    file.write_text("id,text\n1,May I cancel?\n2,How do I print?\n", "utf-8")
    seen.open("/page/questions?collection=imported")
    expect(page.locator("#stored-facts")).to_contain_text("0 questions")
    page.get_by_label("File to import").set_input_files(file)
    page.get_by_role("button", name="Send and check").click()
    page.get_by_role("button", name="Import 2 lines").click()
    rows = page.locator("tr[data-item]")
    expect(rows).to_have_count(2)
    expect_counts(seen, 2)
    page.get_by_role("button", name="Delete 1").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(rows).to_have_count(1)
    expect_counts(seen, 1)
    page.get_by_label("Question, as it was posted").fill("May I change it?")
    page.get_by_label("Id", exact=True).fill("3")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(rows).to_have_count(2)
    expect_counts(seen, 2)


def expect_counts(seen: Watched, count: int) -> None:
    """Every count of the stored questions that the screen shows."""
    page = seen.page
    noun = "question" if count == 1 else "questions"
    expect(page.locator("#stored-facts")).to_contain_text(f"{count} {noun}")
    expect(page.locator("#export-all")).to_have_text(f"Export {count}")
    expect(page.locator("#stored-questions")).to_have_text(str(count))
    expect(page.locator("#collection option:checked")).to_have_text(f"imported ({count})")


def test_an_empty_id_is_told_once_and_at_its_field(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    page.locator("#question").fill("How do I pay by card?")
    page.get_by_text("Add it to the stored questions").click()
    page.get_by_label("Id", exact=True).fill("")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.locator("#asked-id + .field-error")).to_contain_text("id must")


def test_a_release_that_is_opened_beside_comes_into_view(seen: Watched) -> None:
    page = seen.page
    page.set_viewport_size({"width": 1440, "height": 400})
    seen.open("/page/releases")
    expect(page.get_by_role("button", name="Roll back…")).to_be_disabled()
    page.get_by_role("button", name="Open wide beside the live one").click()
    expect(page.locator("#swap")).to_be_focused()
    expect(page.locator("#swap h2")).to_be_in_viewport()
    expect(page.locator("#all-releases")).to_contain_text("open beside")
    page.locator("#swap").get_by_role("button", name="Close").click()
    expect(page.locator("#swap")).to_contain_text("No other release is open")


def test_an_old_problem_goes_at_the_next_action(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/releases")
    page.get_by_role("button", name="Retrain…").click()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("no labels to learn from")
    page.get_by_role("button", name="Make wide live…").click()
    expect(page.locator("#confirm-h")).to_have_text("Make wide live?")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_breaks_the_policy_is_a_fault(seen: Watched) -> None:
    seen.open("/")
    seen.page.evaluate("document.body.setAttribute('style', 'color: red')")
    expect(seen.page.locator("#question")).to_be_focused()
    assert any(fault.startswith("the policy forbids style-src") for fault in seen.faults)
    assert any("Content Security Policy" in fault for fault in seen.faults)
    seen.faults.clear()
