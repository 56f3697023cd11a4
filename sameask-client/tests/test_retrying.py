"""When a request is sent again, and after which wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

import answers
import sameask_client as s
from both_clients import Call, Service
from sameask_client.operation import Operation
from sameask_client.retrying import Attempts

OPERATION: Operation[None] = Operation("GET", "/livez", lambda _: None)
BUSY = httpx.Response(429, json={}, headers={"Retry-After": "0"})
ONLY_REFUSED = s.Retries(first_wait_seconds=0.0, only_refused=True)
FAILING = httpx.Response(503, json={})


@pytest.mark.parametrize("failure", [BUSY, FAILING, httpx.ConnectError("no"), httpx.ReadError("")])
def test_what_is_safe_to_repeat_is_sent_again(
    call: Call, failure: httpx.Response | Exception
) -> None:
    service = Service(failure, failure, httpx.Response(200, json=answers.DUPLICATES))
    assert call(service, "find_duplicates", "Uno?").revision == 7
    assert [request.content for request in service.asked] == 3 * [service.asked[0].content]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("start_training", {}),
        ("cancel_training_run", {"id": 1}),
        ("resume_training_run", {"id": 1}),
        ("roll_back_release", {}),
        ("skip_pair", {"name": "faq", "id": 1, "by": "anna"}),
    ],
)
@pytest.mark.parametrize("failure", [BUSY, httpx.ConnectError("no")])
def test_what_is_not_safe_to_repeat_is_sent_once(
    call: Call, name: str, arguments: dict[str, Any], failure: httpx.Response | Exception
) -> None:
    service = Service(failure)
    with pytest.raises(s.SameaskError):
        call(service, name, **arguments)
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("score_pairs", [[("One?", "Uno?")]]),
        ("upsert_questions", [[("a", "One?")]]),
        ("label_pairs", [[]]),
        ("import_questions", [[("a", "One?")]]),
        ("create_collection", ["faq"]),
        ("delete_question", ["a"]),
        ("read_shadow", []),
        ("list_labels", []),
        ("follow_training_run", [1]),
    ],
)
def test_the_last_failure_is_raised(call: Call, name: str, arguments: list[Any]) -> None:
    service = Service(*[FAILING] * 4, BUSY)
    with pytest.raises(s.Overloaded) as busy:
        call(service, name, *arguments)
    assert len(service.asked) == 5
    assert busy.value.retry_after_seconds == 0.0


@pytest.mark.parametrize("status", [400, 404, 409, 500, 502, 507])
def test_other_statuses_stand(status: int) -> None:
    assert Attempts(s.Retries(), OPERATION).wait_seconds(httpx.Response(status)) is None


@pytest.mark.parametrize("error", [httpx.ReadTimeout(""), httpx.WriteTimeout("")])
def test_a_late_answer_is_not_asked_for_again(error: httpx.RequestError) -> None:
    assert Attempts(s.Retries(), OPERATION).wait_seconds(error) is None


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectTimeout(""), httpx.WriteError(""), httpx.RemoteProtocolError("")],
)
def test_a_broken_connection_is_tried_again(error: httpx.RequestError) -> None:
    assert Attempts(s.Retries(), OPERATION).wait_seconds(error) is not None


def test_waits_double_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high / 2

    monkeypatch.setattr("random.uniform", uniform)
    retries = s.Retries(attempts=6, first_wait_seconds=1.0, longest_wait_seconds=5.0)
    attempts = Attempts(retries, OPERATION)
    waits = [attempts.wait_seconds(FAILING) for _ in range(6)]
    assert waits == [0.5, 1.0, 2.0, 2.5, 2.5, None]
    assert bounds == [(0, 1.0), (0, 2.0), (0, 4.0), (0, 5.0), (0, 5.0)]


def test_retry_after_is_the_least_wait() -> None:
    retries = s.Retries(first_wait_seconds=0.5)
    wait = Attempts(retries, OPERATION).wait_seconds(_busy("7"))
    assert wait is not None
    assert 7.0 <= wait <= 7.5


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    wait = Attempts(s.Retries(first_wait_seconds=0.0), OPERATION).wait_seconds(_busy(date))
    assert wait is not None
    assert 7.0 < wait <= 9.0


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "-3", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_none_or_past_asks_for_no_wait(value: str) -> None:
    attempts = Attempts(s.Retries(first_wait_seconds=0.0), OPERATION)
    assert attempts.wait_seconds(_busy(value)) == 0.0


def test_who_is_to_wait_longer_than_it_would_gives_up() -> None:
    assert Attempts(s.Retries(), OPERATION).wait_seconds(_busy("31")) is None


def test_no_retries_means_one_attempt() -> None:
    assert Attempts(s.NO_RETRIES, OPERATION).wait_seconds(FAILING) is None


def test_retries_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        s.Retries(attempts=0)


@pytest.mark.parametrize("name", ["start_training", "find_duplicates"])
def test_only_refused_sends_whatever_was_refused_again(call: Call, name: str) -> None:
    arguments = ["Uno?"] if name == "find_duplicates" else []
    service = Service(BUSY, BUSY, httpx.Response(409, json={}))
    with pytest.raises(s.Conflict):
        call(service, name, *arguments, retries=ONLY_REFUSED)
    assert len(service.asked) == 3


@pytest.mark.parametrize("failure", [FAILING, httpx.ConnectError("no")])
def test_only_refused_sends_nothing_else_again(
    call: Call, failure: httpx.Response | Exception
) -> None:
    service = Service(failure)
    with pytest.raises(s.SameaskError):
        call(service, "find_duplicates", "Uno?", retries=ONLY_REFUSED)
    assert len(service.asked) == 1


def _busy(retry_after: str) -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": retry_after})
