"""The service of this checkout against the record; and that a difference would be seen."""

import json

import pytest

from tests.record.check import check, compare, judged
from tests.record.masks import masked
from tests.record.project import Project


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_the_service_does_what_is_recorded() -> None:
    wrong = check(Project())
    assert not wrong, "\n".join(wrong)


def test_numbers_may_differ_by_rounding_and_nothing_else_may() -> None:
    recorded = {
        "name": "finding 01",
        "answer": {"status": 200, "body": {"similarity": 0.91234, "id": "a", "n": 1}},
    }
    now = {
        "name": "finding 01",
        "answer": {"status": 404, "body": {"similarity": 0.91239, "id": "b", "n": 1.0}},
    }
    places = [
        found.place for found in compare("exchanges.jsonl", json.dumps(recorded), json.dumps(now))
    ]
    beyond = {
        "name": "finding 01",
        "answer": {"status": 200, "body": {"similarity": 0.9126, "id": "a", "n": 1}},
    }
    scores = [
        found.place
        for found in compare("exchanges.jsonl", json.dumps(recorded), json.dumps(beyond))
    ]
    answer = "exchanges.jsonl.finding 01.answer"
    assert places == [f"{answer}.status", f"{answer}.body.id", f"{answer}.body.n"]
    assert scores == [f"{answer}.body.similarity"]


def test_decimals_in_texts_may_differ_in_their_last_digit() -> None:
    recorded = '["score 0.796 of 3", "version 0.1.0", "similarity 0.7081234567"]'
    near = '["score 0.797 of 3", "version 0.1.0", "similarity 0.7081934567"]'
    far = '["score 0.798 of 3", "version 0.1.1", "similarity 0.7083"]'
    assert list(compare("a.json", recorded, near)) == []
    assert [found.place for found in compare("a.json", recorded, far)] == [
        "a.json.0",
        "a.json.1",
        "a.json.2",
    ]


def test_a_metric_and_a_line_of_help_that_are_gone_or_new_are_named() -> None:
    metrics = list(compare("metrics.txt", "# TYPE a gauge\na{}\n", "# TYPE b gauge\na{}\n"))
    assert [(found.place, found.now) for found in metrics] == [
        ("metrics.txt.# TYPE a gauge", "nothing"),
        ("metrics.txt.# TYPE b gauge", "'there'"),
    ]
    helps = list(
        compare(
            "help.txt",
            "$ sameask --help\none\n\n$ sameask find --help\ntwo\n",
            "$ sameask --help\n1\n",
        )
    )
    places = [found.place.removeprefix("help.txt.$ sameask ") for found in helps]
    assert places == ["--help.0", "--help.1", "find --help"]


def test_what_is_agreed_is_passed_over_and_must_be_there() -> None:
    found = list(compare("openapi.json", '{"a": {"b": 1}, "c": 2}', '{"a": {"b": 2}, "c": 3}'))
    agreed = [{"place": r"openapi\.json\.a\..*", "why": "a test"}]
    assert [text.partition("\n")[0] for text in judged(found, agreed)] == ["openapi.json.c"]
    assert list(judged([], agreed)) == [
        "agreed.json names openapi\\.json\\.a\\..*, where nothing differs"
    ]


def test_what_varies_is_masked_by_name() -> None:
    value = {
        "at": "2026-01-31T09:30:00Z",
        "log": "x",
        "progress": None,
        "server-timing": "embed;dur=1.25",
    }
    assert masked(value, "0.1.0") == {
        "at": "<time>",
        "log": "<log>",
        "progress": None,
        "server-timing": "embed;dur=<milliseconds>",
    }
