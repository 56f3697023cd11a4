"""The pages in a real browser, over the release that ships: every screen walked as people walk it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from app.data_directory import locked
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from tests.serving import served
from tests.web.browser import CHROMIUM, NONE_HERE, Scheme, Watched, watched
from training.written import read_clusters

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE),
    pytest.mark.timeout(600),
]

PATIENCE = 180_000  # milliseconds, for what embeds all questions
expect.set_options(timeout=30_000)  # on a busy machine
EXAMPLES = Path("examples/questions.csv")
ASKED = "How do I give a client outside our company access to a folder?"
SCREENS = ["/", "/?id=support-065", "/page/compare?a=support-065&b=support-066"]
SCREENS += ["/page/review", "/page/questions", "/page/releases", "/page/health"]
EACH_SCREEN = pytest.mark.parametrize("path", SCREENS)


@pytest.fixture(scope="module")
def settings_of_all(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("browser") / "data",
        release=Path("releases/minilm-questions-2"),  # the one before is there too, as in the demo
        device="cpu",
    )


@pytest.fixture(scope="module")
def address(settings_of_all: Settings) -> Iterator[str]:
    """The demo: the release that ships, the example questions, and no key."""
    with served(create_app(settings_of_all)) as url:
        lines = EXAMPLES.read_text("utf-8").splitlines()[1:]
        questions = []
        for line in lines:
            question_id, _, text = line.partition(",")
            questions.append({"id": question_id, "text": text.strip('"').replace('""', '"')})
        for start in range(0, len(questions), 500):
            body = {"questions": questions[start : start + 500]}
            httpx.post(f"{url}/questions", json=body, timeout=300).raise_for_status()
        yield url


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
@EACH_SCREEN
def test_no_screen_shuts_anybody_out(
    browser: Browser, address: str, path: str, width: int, scheme: Scheme
) -> None:
    with watched(browser, address, width, scheme) as seen:
        seen.open(path)
        assert seen.serious() == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        seen.assert_clean()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1440, "dark")])
@EACH_SCREEN
def test_no_screen_shuts_anybody_out_in_the_other_colours(
    browser: Browser, address: str, path: str, width: int, scheme: Scheme
) -> None:
    with watched(browser, address, width, scheme) as seen:
        seen.open(path)
        assert seen.serious() == []
        seen.assert_clean()


def test_candidates_appear_as_somebody_types(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    page.get_by_label("The question, as it was posted").press_sequentially(ASKED, delay=20)
    first = page.locator("article.candidate").first
    expect(first).to_contain_text("How do I share a folder with someone outside my company?")
    expect(page.locator("#answer .verdict")).to_have_text("review")
    expect(page.locator("#asked-facts")).to_have_text("62 of 10,000 characters")
    assert "client" not in page.url
    seen.picture("ask")


def test_a_label_is_given_and_undone_from_the_keyboard(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    page.get_by_label("The question, as it was posted").blur()
    page.keyboard.press("/")
    page.keyboard.type(ASKED)
    expect(page.locator("#found > input[name=question]")).to_have_value(ASKED)
    page.keyboard.press("Tab")
    page.keyboard.press("j")
    first = page.locator("article.candidate").first
    expect(first).to_have_attribute("aria-current", "true")
    page.keyboard.press("s")
    expect(first.locator(".judgement .verdict")).to_have_text("duplicate")
    expect(page.locator("#answer .verdict")).to_have_text("duplicate")
    page.keyboard.press("u")
    expect(first.locator(".judgement .verdict")).to_have_text("review")
    assert httpx.get(f"{seen.address}/labels").json()["labels"] == []
    page.keyboard.press("Escape")
    expect(page.get_by_label("The question, as it was posted")).to_be_focused()
    expect(page.locator("article.candidate")).to_have_count(0)


def test_escape_leaves_the_field_before_it_clears_it(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    field = page.get_by_label("The question, as it was posted")
    field.fill(ASKED)
    expect(page.locator("article.candidate").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(field).not_to_be_focused()
    expect(field).to_have_value(ASKED)
    page.keyboard.press("j")
    expect(page.locator("article.candidate").first).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    expect(field).to_be_focused()


def test_who_comes_back_finds_the_candidates_again(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    page.get_by_label("The question, as it was posted").fill(ASKED)
    expect(page.locator("article.candidate").first).to_be_visible()
    page.get_by_role("link", name="Questions", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Questions")
    page.go_back()
    expect(page.get_by_label("The question, as it was posted")).to_have_value(ASKED)
    expect(page.locator("article.candidate").first).to_be_visible()
    expect(page.locator("#asked-facts")).to_have_text("62 of 10,000 characters")


def test_two_questions_are_compared(seen: Watched) -> None:
    page = seen.page
    seen.open("/?id=support-065")
    page.get_by_text("Nothing near; the 10 nearest").click()
    page.locator("article.candidate").first.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name="Word by word")).to_be_visible()
    assert "a=support-065" in page.url
    page.get_by_role("button", name="Not the same").click()
    expect(page.locator("#judged .answer .verdict").first).to_have_text("different")
    seen.picture("compare")
    page.get_by_role("button", name="Undo yours").click()
    expect(page.locator("#people")).to_contain_text("Nobody has said anything")


def test_questions_that_are_typed_are_compared(seen: Watched) -> None:
    """A form that a browser sends by itself: it has to say which page it comes from."""
    page = seen.page
    seen.open("/page/compare")
    page.locator("#first").fill("How do I turn on the oven light?")
    page.locator("#second").fill("How do I turn off the oven light?")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("main")).to_contain_text("opposite: turn on → turn off")
    seen.open("/")
    page.locator("#question").fill(ASKED)
    page.locator("article.candidate").first.get_by_role("link", name="Compare").or_(
        page.locator("article.candidate").first.get_by_role("button", name="Compare")
    ).first.click()
    expect(page.get_by_role("heading", name="Word by word")).to_be_visible()


def test_a_lost_connection_shows_and_recovers(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    field = page.get_by_label("The question, as it was posted")
    field.fill(ASKED)
    expect(page.locator("article.candidate").first).to_be_visible()
    page.context.set_offline(True)
    field.fill(ASKED + " Thanks")
    expect(page.get_by_role("alert")).to_contain_text("No connection")
    expect(field).to_have_value(ASKED + " Thanks")
    page.locator("article.candidate").first.get_by_role("button", name="Same question").click()
    expect(page.locator("article.candidate").first.get_by_role("alert")).to_contain_text(
        "No connection"
    )
    expect(page.locator("article.candidate").first.locator("[aria-pressed=true]")).to_have_count(0)
    page.context.set_offline(False)
    expect(page.get_by_role("alert").filter(has_text="No connection")).to_have_count(0)
    expect(page.locator("#answer .answer")).not_to_have_class("answer stale")
    seen.faults.clear()  # the browser tells of the lost connection itself


def test_what_is_too_long_is_told_beside_its_field(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    field = page.get_by_label("The question, as it was posted")
    field.fill("too long " * 1200)
    expect(page.locator(".field-error")).to_contain_text("at most 10,000")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(ASKED)
    expect(page.locator("article.candidate").first).to_be_visible()
    expect(page.locator(".field-error")).to_have_count(0)


def test_questions_are_added_changed_and_deleted(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/questions")
    page.keyboard.press("a")
    page.keyboard.type("Is there a dark theme?")
    page.get_by_label("Id", exact=True).fill("new-1")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#done")).to_contain_text("Added: new-1")
    page.get_by_label("Search in texts and ids").fill("dark theme")
    row = page.locator("tr[data-item]").filter(has_text="new-1")
    row.get_by_role("button", name="Change new-1").click()
    page.get_by_label("Text of new-1").fill("Is there a light theme?")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#done")).to_contain_text("Changed: new-1")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#done")).to_contain_text("Changed back")
    row.get_by_role("button", name="Change new-1").click()
    page.get_by_label("Text of new-1").fill("Is there a dim theme?")
    more = {"questions": [{"id": "new-2", "text": "Is there a dark theme too?"}]}
    httpx.post(f"{seen.address}/questions", json=more).raise_for_status()
    page.evaluate("htmx.trigger(document.body, 'questions-changed')")  # an import has ended
    expect(page.get_by_label("Text of new-1")).to_have_value("Is there a dim theme?")
    page.get_by_role("button", name="Leave as it was").click()
    expect(page.locator("tr[data-item]").filter(has_text="new-2")).to_be_visible()
    httpx.delete(f"{seen.address}/questions/new-2")
    row.get_by_role("button", name="Delete new-1").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#done")).to_contain_text("Deleted: new-1")
    assert httpx.get(f"{seen.address}/questions/new-1").status_code == 404


def test_a_collection_is_chosen_by_keys_without_leaving_at_the_first(seen: Watched) -> None:
    for name in ("faq-1", "faq-2"):
        httpx.put(f"{seen.address}/collections/{name}").raise_for_status()
    page = seen.page
    seen.open("/page/questions")
    expect(page.get_by_role("button", name="Show", exact=True)).to_be_hidden()
    page.get_by_label("Collection").focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Collection")).to_have_value("faq-2")
    assert "collection=" not in page.url
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**collection=faq-2**")
    for name in ("faq-1", "faq-2"):
        httpx.delete(f"{seen.address}/collections/{name}").raise_for_status()


def test_an_import_is_looked_at_checked_and_written(seen: Watched, tmp_path: Path) -> None:
    page = seen.page
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    broken = tmp_path / "tickets.csv"
    broken.write_text("number,subject\n1,May I cancel?\n2,\n3,How do I print?\n3,Again?\n", "utf-8")
    seen.open("/page/questions")
    page.get_by_label("File to import").set_input_files(picture)
    expect(page.get_by_role("alert")).to_contain_text("picture.csv is a picture")
    page.get_by_label("File to import").set_input_files(broken)
    expect(page.get_by_label("Questions stand in")).to_have_value("subject")
    page.get_by_label("Put before every id").fill("ticket-")
    page.get_by_role("button", name="Send and check").click()
    expect(page.locator("#job")).to_contain_text("2 lines can be imported")
    expect(page.locator("#job")).to_contain_text("subject must not be empty")
    seen.picture("import")
    page.get_by_role("button", name="Not this file").click()
    expect(page.locator("#job")).to_contain_text("Nothing was imported")
    expect(page.get_by_label("File to import")).to_have_value("")
    expect(page.get_by_label("File to import")).to_be_focused()
    page.get_by_label("File to import").set_input_files(broken)
    page.get_by_label("Put before every id").fill("ticket-")
    page.keyboard.press("Enter")
    expect(page.locator("#job")).to_contain_text("2 lines can be imported")
    page.get_by_role("button", name="Other columns").click()
    expect(page.get_by_label("Put before every id")).to_have_value("ticket-")
    page.get_by_role("button", name="Check again").click()
    expect(page.locator("#job")).to_contain_text("2 lines can be imported")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save these lines as CSV").click()
    assert Path(saved.value.path()).read_text("utf-8-sig").splitlines() == [
        "line,why,id,text,row",
        "3,subject must not be empty,ticket-2,,",
        "5,number stands on line 4 already,ticket-3,Again?,",
    ]
    page.get_by_role("button", name="Import 2 lines").click()
    expect(page.locator("#job")).to_contain_text("2 lines are in: 2 added")
    assert httpx.get(f"{seen.address}/questions/ticket-1").json()["text"] == "May I cancel?"


def test_twenty_pairs_are_reviewed_from_the_keyboard(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    pair = page.locator("article.pair")
    expect(pair).to_be_visible(timeout=PATIENCE)
    progress = page.locator("#progress")
    shown: list[list[str]] = []
    for number in range(1, 21):
        before = pair.text_content()
        shown.append(sorted(pair.locator(".text").all_inner_texts()))
        page.keyboard.press("d" if number % 3 else "s")
        expect(progress).to_contain_text(f"{number} labelled")
        expect(pair).not_to_have_text(before or "")
    page.keyboard.press("u")
    expect(progress).to_contain_text("19 labelled")
    assert sorted(pair.locator(".text").all_inner_texts()) == shown[-1]
    page.keyboard.press("Space")
    expect(progress).to_contain_text("1 skipped")
    expect(page.locator("#just-said tr")).to_have_count(20)
    page.keyboard.press("u")
    expect(progress).to_contain_text("0 skipped")
    assert sorted(pair.locator(".text").all_inner_texts()) == shown[-1]
    expect(page.locator("#evidence")).to_contain_text("19 labels count", timeout=2000)
    seen.picture("review")
    with httpx.Client(base_url=seen.address) as client:
        labels = client.get("/labels").json()["labels"]
        said = [sorted(label["questions"]) for label in labels]
        assert sorted(said) == sorted(shown[:19])  # each once, and not the one that was taken back
        for label in labels:
            client.delete(f"/labels/{label['id']}", params={"by": label["by"]})


def test_a_promise_shows_wherever_it_is_told(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/review")
    bar = page.locator("article.pair .tick")
    expect(bar).to_be_visible(timeout=PATIENCE)
    before = bar.get_attribute("d") or ""
    page.get_by_label("Precision that duplicate is to have").select_option("0.99")
    page.get_by_role("button", name="Promise it").click()
    expect(page.locator("#promise")).to_contain_text("precision 0.99 asked for")
    expect(page.locator("#evidence [role=status]")).to_contain_text("precision 0.99")
    expect(bar).not_to_have_attribute("d", before)
    expect(page.locator("article.pair")).to_be_focused()
    httpx.put(f"{seen.address}/collections/default", json={"target_precision": None})


def test_the_theme_is_kept(seen: Watched) -> None:
    page = seen.page
    seen.open("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("label[for=theme-dark]").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_a_key_of_each_scope_shows_what_it_may_do(browser: Browser, settings: Settings) -> None:
    with locked(settings.data_dir, settings.store_url) as store:
        keys = {
            name: make_key(store, scopes, name)[1]
            for name, scopes in {
                "ask": [KeyScope.ASK],
                "read": [KeyScope.READ],
                "label": [KeyScope.READ, KeyScope.LABEL],
                "admin": [KeyScope.ADMIN],
            }.items()
        }
    with served(create_app(settings)) as url:
        for name, key in keys.items():
            with watched(browser, url) as seen:
                page = seen.page
                seen.open("/page/compare")
                assert seen.serious() == []
                page.locator("#key").fill("nonsense")
                page.get_by_role("button", name="Sign in").click()
                expect(page.locator(".field-error")).to_have_text("the key is unknown or revoked")
                page.locator("#key").fill(key)
                page.get_by_role("button", name="Sign in").click()
                expect(page.get_by_role("heading", level=1)).to_have_text("Compare")
                expect(page.locator(".rail-foot")).to_contain_text(f"{name}, ")
                page.locator("#first").fill("One?")
                page.locator("#second").fill("Two?")
                page.get_by_role("button", name="Compare").click()
                same = page.get_by_role("button", name="Same question")
                if name in ("label", "admin"):
                    same.click()
                    expect(same).to_have_attribute("aria-pressed", "true")
                    page.get_by_role("button", name="Undo yours").click()
                    expect(same).to_have_attribute("aria-pressed", "false")
                else:
                    expect(same).to_be_disabled()
                    expect(page.locator(".word")).to_contain_text("with the scope 'label'")
                expect(page.get_by_role("link", name="Health")).to_have_count(int(name != "ask"))
                page.get_by_role("button", name="Sign out").click()
                expect(page.get_by_role("heading", name="Sign in with a key")).to_be_visible()
                seen.faults = [fault for fault in seen.faults if "403" not in fault]
                seen.assert_clean()


def test_who_signs_in_anew_goes_on_in_the_old_tab(
    browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    with locked(settings.data_dir, settings.store_url) as store:
        _, key = make_key(store, [KeyScope.ADMIN], "anna")
    file = tmp_path / "tickets.csv"
    file.write_text("id,text\n1,May I cancel?\n", "utf-8")
    with served(create_app(settings)) as url, watched(browser, url) as seen:
        page = seen.page
        sign_in(seen, page, key)
        page.locator("#first").fill("May I pay?")
        page.locator("#second").fill("Can I pay?")
        page.get_by_role("button", name="Compare").click()
        same = page.get_by_role("button", name="Same question")
        other = page.context.new_page()
        sign_out(seen, other)
        same.click()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Sign in in another tab").click()
        sign_in(seen, opened.value, key)
        with page.expect_response(page.url):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.locator("#second").fill("Could I pay?")
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".side .text").nth(1)).to_have_text("Could I pay?")
        sign_in_anew(seen, other, key)
        same.click()
        expect(same).to_have_attribute("aria-pressed", "true")
        sign_in_anew(seen, other, key)
        page.get_by_role("button", name="Undo yours").click()
        expect(same).to_have_attribute("aria-pressed", "false")
        seen.open("/page/questions")
        page.get_by_label("File to import").set_input_files(file)
        send = page.get_by_role("button", name="Send and check")
        expect(send).to_be_visible()
        sign_in_anew(seen, other, key)
        send.click()
        expect(page.locator("#job")).to_contain_text("1 line can be imported")
        seen.assert_clean()


def sign_in(seen: Watched, page: Page, key: str) -> None:
    """Sign in, to compare."""
    page.goto(f"{seen.address}/page/compare")
    page.locator("#key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare")


def sign_in_anew(seen: Watched, page: Page, key: str) -> None:
    """End the session, and begin another one."""
    sign_out(seen, page)
    sign_in(seen, page, key)


def sign_out(seen: Watched, page: Page) -> None:
    """End the session."""
    page.goto(seen.address)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in with a key")).to_be_visible()


def test_a_piece_past_the_limit_of_a_body_is_told(
    browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    small = settings.model_copy(update={"max_body_bytes": 2**16})
    file = tmp_path / "tickets.csv"
    file.write_text("id,text\n" + "1,May I cancel?\n" * 2**14, "utf-8")
    with served(create_app(small)) as url, watched(browser, url) as seen:
        seen.open("/page/questions")
        seen.page.get_by_label("File to import").set_input_files(file)
        expect(seen.page.get_by_role("alert")).to_contain_text("SAMEASK_MAX_BODY_BYTES")
        seen.assert_clean()


@pytest.mark.slow
def test_a_release_is_opened_compared_made_live_and_taken_back(seen: Watched) -> None:
    page = seen.page
    seen.open("/page/releases")
    page.get_by_role("button", name="Open minilm-questions beside the live one").click()
    expect(page.locator("#swap")).to_contain_text("measures what runs its models fastest")
    comparing = page.locator("#comparing")
    expect(comparing).to_be_hidden()
    page.get_by_role("button", name="What would change").click(timeout=PATIENCE)
    expect(comparing).to_be_visible()
    expect(page.locator("#diff")).to_contain_text("would change", timeout=PATIENCE)
    expect(comparing).to_be_hidden()
    assert seen.serious() == []
    seen.picture("releases")
    page.locator("#swap").get_by_role("button", name="Make minilm-questions live…").click()
    page.get_by_label("Reason, for the record").fill("a try")
    asked = page.locator("#question-asked")
    asked.get_by_role("button", name="Make minilm-questions live").click()
    expect(page.locator(".facts")).to_contain_text("minilm-questions is live", timeout=PATIENCE)
    page.get_by_role("button", name="Roll back…").click()
    asked.get_by_role("button", name="Roll back to minilm-questions-2").click()
    expect(page.locator(".facts")).to_contain_text("minilm-questions-2 is live", timeout=PATIENCE)


def test_the_question_before_a_swap_comes_into_view_with_the_focus(seen: Watched) -> None:
    page = seen.page
    page.set_viewport_size({"width": 1440, "height": 400})
    seen.open("/page/releases")
    make_live = page.get_by_role("button", name="Make minilm-questions live…")
    make_live.click()
    asked = page.locator("#question-asked form")
    expect(asked).to_be_focused()
    expect(asked).to_be_in_viewport()
    asked.get_by_role("button", name="Not now").click()
    expect(make_live).to_be_focused()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_labels_become_a_release_before_somebodys_eyes(seen: Watched) -> None:
    page = seen.page
    httpx.put(f"{seen.address}/collections/trained").raise_for_status()
    labels = []
    for cluster in read_clusters("report")[:60]:
        for paraphrase in cluster.paraphrases[:2]:
            labels += [labelled(cluster.question, paraphrase, True)]
        for miss in cluster.near_misses[:2]:
            labels += [labelled(cluster.question, miss.text, False)]
    body = {"collection": "trained", "labels": labels}
    httpx.post(f"{seen.address}/labels", json=body, timeout=60).raise_for_status()
    seen.open("/page/releases?collection=trained")
    page.get_by_role("button", name="Retrain…").click()
    expect(page.get_by_label("What is trained")).to_have_value("calibration")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#run")).to_contain_text("Training run 1")
    seen.picture("training")
    expect(page.locator("#run")).to_contain_text("Gate: ", timeout=1_000_000)
    expect(page.locator("#run")).to_contain_text("was made")


def labelled(first: str, second: str, is_duplicate: bool) -> dict[str, object]:
    """A label as JSON."""
    return {"questions": [first, second], "is_duplicate": is_duplicate, "by": "anna"}
