"""`sameask collections`, by value."""

import json
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from tests.cli.commands import Sameask
from tests.serving import served


def listed(sameask: Sameask, *options: object) -> dict[str, Any]:
    shown = sameask("collections", "list", "--json", *options)
    return {collection["name"]: collection for collection in json.loads(shown.out)}


def test_a_collection_is_made_changed_and_deleted(sameask: Sameask, url: str) -> None:
    there = ("--url", url)
    made = sameask("collections", "create", "faq", "--target-precision", "0.95", *there)
    assert (made.code, made.out) == (
        0,
        "collection faq: 0 questions, `duplicate` from 0.900 on, by the release's labels\n",
    )
    template = "https://forum.example/t/{id}"
    sameask(
        "collections", "set", "faq", "--review-recall", "0.9", "--url-template", template, *there
    )
    faq = listed(sameask, *there)["faq"]
    assert (faq["target_precision"], faq["review_recall"], faq["url_template"]) == (
        0.95,
        0.9,
        template,
    )
    sameask("collections", "set", "faq", "--target-precision", "none", *there)
    assert listed(sameask, *there)["faq"]["target_precision"] is None
    assert "faq" in sameask("collections", "list", *there).out
    deleted = sameask("collections", "delete", "faq", "--yes", *there)
    assert (deleted.code, deleted.out) == (0, "collection faq is deleted\n")
    assert list(listed(sameask, *there)) == ["default"]


def test_more_collections_than_a_page_holds_are_listed(
    sameask: Sameask, settings: Settings
) -> None:
    limits = {"max_page": 2, "data_dir": settings.data_dir.with_name("served")}
    with served(create_app(settings.model_copy(update=limits))) as url:
        for name in "abc":
            sameask("collections", "create", name, "--url", url)
        assert list(listed(sameask, "--url", url)) == ["a", "b", "c", "default"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "nowhere", "--target-precision", "0.9"), "there is no collection 'nowhere'"),
        (("create", "faq", "--target-precision", "high"), "--target-precision must be a number"),
        (("create", "faq", "--target-precision", "2"), "target_precision: must be above 0.5"),
        (("delete", "default", "--yes"), "always exists and can't be deleted"),
        (("delete", "nowhere", "--yes"), "there is no collection 'nowhere'"),
    ],
)
def test_what_can_not_be_done_is_said(
    sameask: Sameask, url: str, arguments: tuple[str, ...], words: str
) -> None:
    refused = sameask("collections", *arguments, "--url", url)
    assert (refused.code, refused.out) == (1, "")
    assert words in refused.err
    assert "Traceback" not in refused.err


def test_a_change_that_changes_nothing_is_a_wrong_call(sameask: Sameask) -> None:
    refused = sameask("collections", "set", "default")
    assert (refused.code, refused.out) == (2, "")
    assert "--target-precision, --review-recall or --url-template" in refused.err


def test_deleting_asks_first(sameask: Sameask, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sameask("collections", "create", "faq", "--url", url)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    kept = sameask("collections", "delete", "faq", "--url", url)
    assert kept.code == 1
    assert "faq" in listed(sameask, "--url", url)


def test_an_import_makes_its_collection_where_it_is_told_to(
    sameask: Sameask, url: str, tmp_path: Any
) -> None:
    file = tmp_path / "q.csv"
    file.write_text("id,text\n1,One?\n")
    there = ("--collection", "new", "--url", url)
    refused = sameask("import", file, *there)
    assert "there is no collection 'new'" in refused.err
    assert sameask("import", file, "--create", *there).out == "1 added, 0 updated, 0 unchanged\n"
    assert sameask("import", file, "--create", *there).out == "0 added, 0 updated, 1 unchanged\n"
    refused = sameask("import", file, "--create", "-c", "No-Name", "--url", url)
    assert "name: must be 1 to 64 of `a` to `z`" in refused.err
