"""`sameask find` and `sameask pair`: the answers of the HTTP contract, and what is printed of them."""

import json
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.cli.commands import ROWS, Sameask, assert_one_line, question_file
from tests.serving import served


def test_find_as_json_is_the_answer_of_the_http_contract(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    asked = "Can I cancel an order?"
    sameask("import", question_file(tmp_path), "--url", url)
    sameask("import", question_file(tmp_path))
    answer = httpx.post(f"{url}/duplicates", json={"questions": [asked], "top_k": 2}).json()
    remote, in_place = (
        sameask("find", asked, "--top-k", 2, "--json", "--url", url),
        sameask("find", asked, "--top-k", 2, "--json"),
    )
    assert json.loads(remote.out) == answer
    assert json.loads(in_place.out) == answer
    assert answer["results"][0]["candidates"][0]["id"] == "a"


def test_what_is_not_said_never_exceeds_the_server_s_limits(
    sameask: Sameask, tmp_path: Path, settings: Settings
) -> None:
    limits = {"max_top_k": 3, "max_page": 2, "data_dir": settings.data_dir.with_name("limited")}
    rows = [(str(number), f"Can I cancel order {number}?") for number in range(6)]
    with served(create_app(settings.model_copy(update=limits))) as url:
        for name in ("b", "c"):
            assert sameask("collections", "create", name, "--url", url).code == 0
        sameask("import", question_file(tmp_path, rows=rows), "--url", url)
        found = sameask("find", "Can I cancel an order?", "--json", "--url", url)
        listed = sameask("collections", "list", "--json", "--url", url)
        runs = sameask("runs", "list", "--url", url)
        diff = sameask("releases", "diff", "none", "--url", url)
        refused = sameask("find", "Can I cancel an order?", "--top-k", 5, "--url", url)
    assert len(json.loads(found.out)["results"][0]["candidates"]) == 3
    assert [one["name"] for one in json.loads(listed.out)] == ["b", "c", "default"]
    assert runs.code == 0, runs.err
    assert "not a shadow that has caught up" in diff.err
    assert (refused.code, "SAMEASK_MAX_TOP_K" in refused.err) == (1, True)


def test_pair_as_json_is_the_answer_of_the_http_contract(sameask: Sameask, url: str) -> None:
    pair = ("Can I cancel an order?", "Can I cancel my order?")
    body = {"pairs": [{"question1": pair[0], "question2": pair[1]}]}
    answer = httpx.post(f"{url}/pair-score", json=body).json()
    assert json.loads(sameask("pair", *pair, "--json", "--url", url).out) == answer
    assert json.loads(sameask("pair", *pair, "--json").out) == answer
    assert answer["scores"][0]["verdict"] == "duplicate"


def test_find_prints_a_table_of_candidates(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path))
    found = sameask("find", "Can I  cancel my order?")
    assert found.code == 0
    assert "verdict: duplicate" in found.out
    (line,) = [line for line in found.out.splitlines() if "Can I cancel" in line]
    assert line.strip("│ ").split() == [
        "duplicate",
        "│",
        "1.000",
        "│",
        "1.000",
        "│",
        "a",
        "│",
        *ROWS[0][1].split(),
        "│",
        *["the", "same", "words"],
    ]


@pytest.mark.parametrize(
    "text", ["Why does [/b] fail?", "What is [red]this[/red]?", "What means :smile: in a text?"]
)
def test_find_prints_a_text_as_it_stands(sameask: Sameask, tmp_path: Path, text: str) -> None:
    sameask("import", question_file(tmp_path, rows=[("[id]", text)]))
    found = sameask("find", text)
    assert text in found.out
    assert "[id]" in found.out


def test_pair_prints_a_table(sameask: Sameask) -> None:
    shown = sameask("pair", "Same?", " Same?")
    assert shown.code == 0
    assert [line.strip("│ ").split() for line in shown.out.splitlines() if "1.000" in line] == [
        ["duplicate", "│", "1.000", "│", "1.000", "│", "the", "same", "words"]
    ]


def test_a_problem_document_is_printed_in_its_words(sameask: Sameask) -> None:
    refused = sameask("find", "One?", "--top-k", 101)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines() == [
        "sameask: Invalid request: the request breaks a rule; nothing was done",
        "  top_k: is 101; at most 100 (SAMEASK_MAX_TOP_K)",
    ]


def test_an_unknown_collection_is_one_line(sameask: Sameask) -> None:
    assert_one_line(sameask("find", "One?", "-c", "nowhere"), "there is no collection 'nowhere'")
