"""What the service refuses becomes an error of the tree, and what is not Sameask another."""

import httpx
import pytest

import sameask_client as s
from both_clients import Call, Service

PROBLEM = {
    "type": "about:blank",
    "title": "Invalid request",
    "status": 422,
    "detail": "the request breaks a rule; nothing was done",
    "errors": [
        {"field": "questions.0", "detail": "must not be blank"},
        {"field": "top_k", "detail": "must be at least 1"},
        {"field": "questions.0", "detail": "must be a text"},
    ],
}


def test_a_problem_document_says_what_is_wrong_by_field(call: Call) -> None:
    with pytest.raises(s.InvalidRequest) as refused:
        call(Service(httpx.Response(422, json=PROBLEM)), "find_duplicates", "")
    error = refused.value
    assert (error.status, error.title, error.detail) == (422, "Invalid request", PROBLEM["detail"])
    assert error.errors == {
        "questions.0": "must not be blank; must be a text",
        "top_k": "must be at least 1",
    }
    assert str(error).splitlines() == [
        "422 Invalid request: the request breaks a rule; nothing was done",
        "  questions.0: must not be blank; must be a text",
        "  top_k: must be at least 1",
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, s.InvalidRequest),
        (401, s.KeyRefused),
        (403, s.NotAllowed),
        (404, s.NotFound),
        (405, s.ProblemError),
        (409, s.Conflict),
        (413, s.InvalidRequest),
        (415, s.InvalidRequest),
        (421, s.NotAllowed),
        (429, s.Overloaded),
        (500, s.ServiceFailing),
        (502, s.ServiceFailing),
        (503, s.ServiceFailing),
        (507, s.ServiceFailing),
    ],
)
def test_each_status_is_an_error_of_its_kind(
    call: Call, status: int, kind: type[s.ProblemError]
) -> None:
    document = {"title": "No", "status": status, "detail": "not now"}
    with pytest.raises(s.ProblemError) as refused:
        call(Service(httpx.Response(status, json=document)), "start_training")
    assert type(refused.value) is kind
    assert str(refused.value) == f"{status} No: not now"


def test_a_proxy_s_page_is_an_error_of_its_status(call: Call) -> None:
    with pytest.raises(s.ServiceFailing, match=r"^502 Bad Gateway$"):
        call(Service(httpx.Response(502, html="<h1>Bad gateway</h1>")), "livez")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<h1>It works!</h1>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"collections": []}),
        httpx.Response(200, json={"questions": [{"id": "a"}], "next_cursor": None}),
        httpx.Response(200, json={"questions": [], "next_cursor": 5}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}),
    ],
)
def test_what_is_not_sameask_is_told_apart(call: Call, answer: httpx.Response) -> None:
    with pytest.raises(s.NotSameask):
        call(Service(answer), "list_questions")


def test_a_time_that_is_no_text_is_not_sameask_s(call: Call) -> None:
    live = {"release": "tiny", "digest": "d", "since": 7, "reason": None, "swap": None}
    with pytest.raises(s.NotSameask):
        call(Service(httpx.Response(200, json=live)), "read_live_release")


def test_no_answer_names_the_server_and_no_question(call: Call) -> None:
    service = Service(httpx.ReadTimeout("too late"))
    with pytest.raises(
        s.NoAnswer, match=r"^no answer from http://faq\.example: too late$"
    ) as failed:
        call(service, "read_question", "secret")
    assert isinstance(failed.value.__cause__, httpx.ReadTimeout)
    assert len(service.asked) == 1


def test_every_error_is_one_of_the_tree() -> None:
    assert issubclass(s.NoAnswer, s.SameaskError)
    assert issubclass(s.NotSameask, s.SameaskError)
    assert issubclass(s.ProblemError, s.SameaskError)
