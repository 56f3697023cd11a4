"""Releases: figures, a training run, a diff, a swap and the way back."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.main import create_app
from app.promises.kept_collections import KeptCollections
from app.promises.report import Change
from app.releases import swap
from app.releases.releases import Listed
from app.releases.swap import Shadow
from app.settings import Settings
from app.web.figures import FIGURES, table_of
from tests.conftest import RELEASES, publish_release, wait_until_ready
from tests.serving import wait_until, write
from tests.web.browsing import HTMX, fields_of, part, post, shown, texts
from tests.web.markup import Element, parsed

QUORA = "quora/dev_report.tsv.gz"


@pytest.fixture
def client(settings: Settings, wide_release: Release) -> Iterator[TestClient]:
    """The running service, with a release that was trained; no worker takes its training runs."""
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    quiet = settings.model_copy(update={"training_worker": False})
    with TestClient(create_app(quiet), follow_redirects=False) as client:
        wait_until_ready(client)
        yield client


def listed(name: str, state: str) -> Listed:
    """A release that ships, as the list has it."""
    metrics = json.loads((RELEASES / name / "metrics.json").read_text("utf-8"))
    return Listed(name, state, None, None, None, None, 384, metrics, None, None)  # type: ignore[arg-type]


def told_by(name: str) -> tuple[float, float]:
    """The average precision on Quora's pairs, and where its interval begins, by a release's own file."""
    metrics = json.loads((RELEASES / name / "metrics.json").read_text("utf-8"))
    (of_set,) = [one for one in metrics["report"] if one["pairs_from"] == QUORA]
    low, _ = of_set["intervals"]["probability"]["average_precision"]
    return of_set["probability"]["average_precision"], low


def test_figures_stand_side_by_side_with_their_intervals() -> None:
    table = table_of([listed("minilm-questions-2", "live"), listed("minilm-questions", "ready")])
    row = next(row for row in table.rows if row.pairs_from == QUORA)
    assert row.name == "average precision"
    live, former = row.of_releases
    assert live is not None
    assert former is not None
    assert (live.value, live.low) == told_by("minilm-questions-2")
    assert (former.value, former.low) == told_by("minilm-questions")
    assert live.low < live.value < live.high
    assert live.x_low < live.x < live.x_high
    assert live.x == round(12 + 416 * live.value, 1)
    assert {one.name for one in table.rows} == set(FIGURES.values())


def measured_on(pairs: int) -> Listed:
    """The release that ships, had it been measured on so many of Quora's pairs."""
    release = listed("minilm-questions-2", "live")
    (of_set,) = [one for one in release.metrics["report"] if one["pairs_from"] == QUORA]
    return replace(release, metrics={"report": [{**of_set, "pairs": pairs}]})


def test_each_figure_says_its_pairs_where_they_differ() -> None:
    same = table_of([measured_on(4000), measured_on(4000)]).rows[0]
    assert same.pairs == 4000
    differing = table_of([measured_on(4000), measured_on(3900)]).rows[0]
    assert differing.pairs is None
    assert [one.pairs for one in differing.of_releases if one] == [4000, 3900]


def test_metrics_of_another_shape_bring_no_figures() -> None:
    for metrics in ({}, {"report": 3}, {"report": [3, {"pairs_from": "a", "probability": {}}]}):
        release = listed("minilm-questions-2", "live")
        odd = Listed(**{**vars(release), "metrics": metrics})
        assert table_of([odd]).rows == []


def test_the_page_shows_every_release(client: TestClient) -> None:
    page = shown(client, "/page/releases")
    (table,) = [one for one in page.all("table") if "was live" in one.text]
    rows = [texts(row.all("td"))[:2] for row in table.one("tbody").all("tr")]
    assert rows == [["tiny", "live"], ["wide", "ready"]]
    assert "tiny is live since" in page.one("p", class_="facts").text


def test_figures_side_by_side_are_asked_for_again_when_releases_change(client: TestClient) -> None:
    (section,) = [
        one for one in shown(client, "/page/releases").all("section") if asks_for_side(one)
    ]
    assert section["hx-trigger"] == "releases-changed from:body"
    assert post(client, "/page/releases/shadow", release="wide").headers[
        "hx-trigger-after-swap"
    ] == ("releases-changed")
    again = parsed(client.get(section["hx-get"], headers=HTMX).text).one("section")
    assert again["hx-get"] == section["hx-get"]


def asks_for_side(section: Element) -> bool:
    return section.attributes.get("hx-get") == "/page/releases/side"


def test_nothing_to_learn_is_told(client: TestClient) -> None:
    refused = post(client, "/page/releases/retrain", recipe="calibration")
    assert refused.status_code == 409
    assert "has no labels to learn from" in refused.text
    assert post(client, "/page/releases/retrain", recipe="magic").status_code == 422


def test_a_training_run_is_asked_for_watched_and_cancelled(client: TestClient) -> None:
    said = {"labels": [{"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}]}
    client.post("/labels", json=said)
    form = parsed(client.get("/page/releases/retrain", headers=HTMX).text).one("form")
    assert [one["value"] for one in form.all("option")] == [
        "calibration",
        "classifier",
        "encoder",
        "both",
    ]
    run = part(client, form["hx-post"], recipe="calibration").one("section")
    assert run.one("span", role="status").text == "queued: a worker takes it within a second"
    assert run["hx-trigger"] == "load delay:1s, again"
    again = part(client, "/page/releases/run/cancel", run="1").one("section")
    assert again.one("span", role="status").text.startswith("cancelled")
    assert "hx-trigger" not in again.attributes
    over = client.get(run["hx-get"], headers=HTMX)
    assert over.headers["hx-refresh"] == "true"


def test_a_release_is_opened_compared_made_live_and_taken_back(client: TestClient) -> None:
    write(client, a="How do I pay?", b="How can I pay?", c="Where is it?")
    opened = part(client, "/page/releases/shadow", release="wide")
    assert "measures what runs its models fastest" in opened.one("p", role="status").text
    assert "value" not in opened.one("progress", aria_label="Opening wide").attributes
    wait_until(lambda: "follows every write" in at(client, "/page/releases/shadow").text)
    (compare,) = at_swap(client).all("button", hx_indicator="#comparing")
    assert compare.text == "What would change"
    assert at_swap(client).one("div", id="comparing").has("class_", "waits")
    diff = parsed(at(client, "/page/releases/diff?release=wide").text)
    assert "The nearest pairs of 3 questions of default" in diff.one("p", class_="beside").text
    asked = parsed(at(client, "/page/releases/ask?release=wide").text).one("form")
    assert asked.one("h3").text == "Make wide live?"
    post(client, asked["hx-post"], release="wide", reason="a try")
    wait_until(lambda: live(client) == ("wide", None))
    over = at(client, "/page/releases/shadow")
    assert over.headers["hx-refresh"] == "true"
    assert "wide is live" in parsed(over.text).text
    asked = parsed(at(client, "/page/releases/ask?back=true").text).one("form")
    assert asked.one("h3").text == "Go back to tiny, which was live before?"
    assert asked.one("button", type="submit").text == "Roll back to tiny"
    post(client, asked["hx-post"], **fields_of(asked))
    wait_until(lambda: live(client) == ("tiny", None))


def test_a_release_that_is_open_beside_is_not_offered_to_be_opened(client: TestClient) -> None:
    page = shown(client, "/page/releases")
    section = page.one("section", id="all-releases")
    assert "Open wide beside the live one" in labels_of(section)
    assert "data-opened" not in page.one("section", id="swap").attributes
    opened = post(client, "/page/releases/shadow", release="wide")
    assert opened.headers["hx-trigger-after-swap"] == section["hx-trigger"].removesuffix(
        " from:body"
    )
    again = parsed(at(client, section["hx-get"]).text)
    assert "Open wide beside the live one" not in labels_of(again)
    assert texts(again.one("tbody").all("tr")[1].all("td"))[:2] == ["wide", "open beside"]
    swap = parsed(opened.text).one("section", id="swap")
    assert (swap["data-opened"], swap["tabindex"]) == ("", "-1")  # it comes into view, once
    assert "data-opened" not in at_swap(client).one("section", id="swap").attributes
    closed = post(client, "/page/releases/shadow/close")
    assert closed.headers["hx-trigger-after-swap"] == "releases-changed"
    assert "Open wide beside the live one" in labels_of(parsed(at(client, section["hx-get"]).text))


def test_a_release_that_derives_its_thresholds_can_be_closed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: KeptCollections, __: LiveRelease) -> list[Change]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(KeptCollections, "prepare", never)
    post(client, "/page/releases/shadow", release="wide")
    wait_until(lambda: "promising" in at(client, "/page/releases/shadow").text)
    assert labels_of(at_swap(client).one("section", id="swap")) == ["Close"]
    assert "No other release is open" in post(client, "/page/releases/shadow/close").text


def test_a_release_that_was_made_live_is_asked_for_again_until_it_is(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the button may come before the release has moved at all."""
    post(client, "/page/releases/shadow", release="wide")
    wait_until(lambda: "follows every write" in at(client, "/page/releases/shadow").text)
    called: list[Shadow] = []

    def go_live_later(shadow: Shadow, reason: str) -> None:
        shadow._reason = reason
        called.append(shadow)

    with monkeypatch.context() as patch:
        patch.setattr(Shadow, "go_live", go_live_later)
        patch.setattr(swap, "LOOK_SECONDS", 1000)
        answer = part(client, "/page/releases/activate", release="wide", reason="a try")
    waiting = answer.one("section", id="swap")
    assert waiting["hx-trigger"] == "load delay:1s, again"
    assert "goes live when it has caught up" in waiting.text
    assert "Make wide live" not in waiting.text
    called[0]._called.set()
    wait_until(lambda: live(client) == ("wide", None))


def test_what_can_not_be_done_is_told_as_the_problem_document_tells_it(client: TestClient) -> None:
    assert "no other release" in at(client, "/page/releases/ask?back=true").text
    assert post(client, "/page/releases/shadow/close").status_code == 404
    assert post(client, "/page/releases/remove", release="tiny").status_code == 409
    too_long = post(client, "/page/releases/roll-back", release="tiny", reason="x" * 1001)
    assert parsed(too_long.text).one("li")["data-field"] == "reason"


SILENT = (
    "With quiet nothing is called duplicate at a precision of 0.90: what is near goes to review."
)


def test_a_release_that_calls_nothing_a_duplicate_is_warned_of(
    client: TestClient, settings: Settings, tiny_model: Path
) -> None:
    quiet = settings.data_dir / "releases" / "quiet"
    publish_release(quiet, tiny_model, 32, duplicate_from=None)
    write(client, a="How do I pay?", b="How can I pay?")
    assert warnings_in(at(client, "/page/releases/ask?release=wide").text) == []
    assert warnings_in(at(client, "/page/releases/ask?release=quiet").text) == [SILENT]
    client.put("/collections/default", json={"target_precision": 0.95})
    silent = SILENT.replace("0.90", "0.95")
    assert warnings_in(at(client, "/page/releases/ask?release=quiet").text) == [silent]
    part(client, "/page/releases/shadow", release="quiet")
    wait_until(lambda: "follows every write" in at(client, "/page/releases/shadow").text)
    diff = at(client, "/page/releases/diff?release=quiet").text
    assert warnings_in(diff) == [silent]
    assert "Now duplicate begins at 0.90." in diff
    assert promise_in(client) == "precision 0.95 asked for"
    post(client, "/page/releases/activate", release="quiet", reason="a try")
    wait_until(lambda: live(client) == ("quiet", None))
    assert promise_in(client) == "precision 0.95 asked for; nothing is called duplicate"
    assert warnings_in(at(client, "/page/review/evidence").text) == [silent]


def warnings_in(html: str) -> list[str]:
    """What a part of a page warns of."""
    return texts(parsed(html).all("p", class_="warning"))


def promise_in(client: TestClient) -> str:
    """The promise beside every screen."""
    return shown(client, "/page/releases").one("a", id="promise").text


def test_there_is_a_way_back_once_another_release_was_live(client: TestClient) -> None:
    (back,) = [one for one in shown(client, "/page/releases").all("button") if is_way_back(one)]
    assert "disabled" in back.attributes
    assert "no other release was live before" in shown(client, "/page/releases").text
    post(client, "/page/releases/activate", release="wide", reason="a try")
    wait_until(lambda: live(client) == ("wide", None))
    page = shown(client, "/page/releases")
    (back,) = [one for one in page.all("button") if is_way_back(one)]
    assert "disabled" not in back.attributes
    assert "no other release was live before" not in page.text


def is_way_back(button: Element) -> bool:
    """Whether it rolls back."""
    return button.text == "Roll back…"


def test_removing_asks_first(client: TestClient) -> None:
    asked = parsed(at(client, "/page/releases/remove?release=wide").text).one("form")
    assert "can’t be undone" in asked.text
    removed = part(client, asked["hx-post"], release="wide")
    assert "Removed: wide." in removed.text
    names = [one["name"] for one in client.get("/admin/releases").json()["releases"]]
    assert names == ["tiny"]


def labels_of(section: Element) -> list[str]:
    """What its buttons are called."""
    return [one.attributes.get("aria-label", one.text) for one in section.all("button")]


def at_swap(client: TestClient) -> Element:
    """The part about the release that is open beside."""
    return parsed(at(client, "/page/releases/shadow").text)


def at(client: TestClient, path: str) -> Any:
    """A part of a page, asked for by htmx."""
    return client.get(path, headers=HTMX)


def live(client: TestClient) -> tuple[str, object]:
    """What is live, and the swap under way."""
    answer = client.get("/admin/releases/live").json()
    return answer["release"], answer["swap"]
