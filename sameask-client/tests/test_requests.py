"""What each method sends, and what it makes of the answer, by value."""

import inspect
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import answers
import sameask_client as s
from both_clients import Call, Service

MOMENT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
NOTHING: dict[str, str] = {}

# method, arguments -> what is sent: HTTP method, path, query, body; and what comes back
SENT: list[tuple[str, dict[str, Any], tuple[str, str, dict[str, str], Any], Any]] = [
    (
        "find_duplicates",
        {"questions": "Uno?"},
        ("POST", "/duplicates", NOTHING, {"questions": ["Uno?"], "collection": "default"}),
        answers.DUPLICATES,
    ),
    (
        "find_duplicates",
        {
            "questions": ("Uno?", "Due?"),
            "collection": "faq",
            "top_k": 3,
            "verify": "always",
            "exclude_ids": {"a"},
        },
        (
            "POST",
            "/duplicates",
            NOTHING,
            {
                "questions": ["Uno?", "Due?"],
                "collection": "faq",
                "top_k": 3,
                "verify": "always",
                "exclude_ids": ["a"],
            },
        ),
        answers.DUPLICATES,
    ),
    (
        "find_duplicates",
        {"questions": "Uno?", "exclude_ids": "q17"},
        (
            "POST",
            "/duplicates",
            NOTHING,
            {"questions": ["Uno?"], "collection": "default", "exclude_ids": ["q17"]},
        ),
        answers.DUPLICATES,
    ),
    (
        "score_pairs",
        {"pairs": [("One?", "Uno?")], "collection": "faq"},
        (
            "POST",
            "/pair-score",
            NOTHING,
            {"pairs": [{"question1": "One?", "question2": "Uno?"}], "collection": "faq"},
        ),
        answers.SCORES,
    ),
    (
        "embed_texts",
        {"texts": "Uno?"},
        ("POST", "/v1/embeddings", NOTHING, {"input": ["Uno?"], "model": "sameask"}),
        answers.EMBEDDINGS,
    ),
    (
        "embed_texts",
        {"texts": ["Uno?", "Due?"], "model": "tiny"},
        ("POST", "/v1/embeddings", NOTHING, {"input": ["Uno?", "Due?"], "model": "tiny"}),
        answers.EMBEDDINGS,
    ),
    (
        "upsert_questions",
        {"questions": {"a": "One?"}.items()},
        (
            "POST",
            "/questions",
            NOTHING,
            {"collection": "default", "questions": [{"id": "a", "text": "One?"}]},
        ),
        answers.WRITTEN,
    ),
    (
        "read_question",
        {"id": "a/b ü?#"},
        ("GET", "/questions/a%2Fb%20%C3%BC%3F%23", {"collection": "default"}, None),
        answers.QUESTION,
    ),
    (
        "delete_question",
        {"id": "a", "collection": "faq"},
        ("DELETE", "/questions/a", {"collection": "faq"}, None),
        answers.DELETED,
    ),
    (
        "label_pairs",
        {
            "labels": [
                s.NewLabel(ids=("a", "b"), is_duplicate=True, by="anna"),
                s.NewLabel(questions=("One?", "Two?"), is_duplicate=False, by="anna", note="no"),
            ]
        },
        (
            "POST",
            "/labels",
            NOTHING,
            {
                "collection": "default",
                "labels": [
                    {"is_duplicate": True, "by": "anna", "ids": ["a", "b"]},
                    {
                        "is_duplicate": False,
                        "by": "anna",
                        "questions": ["One?", "Two?"],
                        "note": "no",
                    },
                ],
            },
        ),
        answers.LABELLED,
    ),
    (
        "undo_label",
        {"id": 1, "by": "bert"},
        ("DELETE", "/labels/1", {"by": "bert", "collection": "default"}, None),
        answers.LABEL,
    ),
    (
        "create_collection",
        {"name": "faq"},
        ("PUT", "/collections/faq", NOTHING, None),
        answers.COLLECTION,
    ),
    (
        "create_collection",
        {"name": "faq", "target_precision": 0.95, "review_recall": None},
        (
            "PUT",
            "/collections/faq",
            NOTHING,
            {"target_precision": 0.95, "review_recall": None},
        ),
        {**answers.COLLECTION, "target_precision": 0.95, "thresholds": answers.THRESHOLDS},
    ),
    (
        "read_collection",
        {"name": "faq"},
        ("GET", "/collections/faq", NOTHING, None),
        answers.COLLECTION,
    ),
    ("delete_collection", {"name": "faq"}, ("DELETE", "/collections/faq", NOTHING, None), None),
    ("erase_asked", {"name": "faq"}, ("DELETE", "/collections/faq/asked", NOTHING, None), None),
    (
        "read_evidence",
        {"name": "faq"},
        ("GET", "/collections/faq/evidence", NOTHING, None),
        answers.EVIDENCE,
    ),
    (
        "read_review_queue",
        {"name": "faq", "by": "anna", "limit": 3},
        ("GET", "/collections/faq/review-queue", {"by": "anna", "limit": "3"}, None),
        answers.REVIEW_QUEUE,
    ),
    (
        "skip_pair",
        {"name": "faq", "id": 17, "by": "anna"},
        ("POST", "/collections/faq/review-queue/skip", NOTHING, {"by": "anna", "id": 17}),
        answers.SKIPPED,
    ),
    (
        "start_training",
        {"collection": "faq", "recipe": "calibration"},
        (
            "POST",
            "/admin/retrain",
            NOTHING,
            {
                "collection": "faq",
                "recipe": "calibration",
                "data_set": None,
                "target_precision": "0.90",
            },
        ),
        answers.RUN,
    ),
    ("read_training_run", {"id": 4}, ("GET", "/admin/training-runs/4", NOTHING, None), answers.RUN),
    (
        "cancel_training_run",
        {"id": 4},
        ("POST", "/admin/training-runs/4/cancel", NOTHING, None),
        answers.RUN,
    ),
    (
        "resume_training_run",
        {"id": 4},
        ("POST", "/admin/training-runs/4/resume", NOTHING, None),
        answers.RUN,
    ),
    ("list_releases", {}, ("GET", "/admin/releases", NOTHING, None), answers.RELEASES),
    ("read_live_release", {}, ("GET", "/admin/releases/live", NOTHING, None), answers.LIVE),
    (
        "activate_release",
        {"name": "default-4", "force": "we know"},
        (
            "PUT",
            "/admin/releases/live",
            NOTHING,
            {"release": "default-4", "reason": "", "force": "we know"},
        ),
        answers.LIVE,
    ),
    (
        "roll_back_release",
        {"reason": "alarms"},
        ("POST", "/admin/releases/live/rollback", NOTHING, {"reason": "alarms"}),
        answers.LIVE,
    ),
    ("read_shadow", {}, ("GET", "/admin/releases/shadow", NOTHING, None), answers.SWAP),
    (
        "open_shadow",
        {"name": "default-4"},
        ("PUT", "/admin/releases/shadow", NOTHING, {"release": "default-4"}),
        answers.SWAP,
    ),
    ("cancel_shadow", {}, ("DELETE", "/admin/releases/shadow", NOTHING, None), None),
    (
        "compare_release",
        {"name": "default 4", "limit": 2},
        ("GET", "/admin/releases/default%204/diff", {"collection": "default", "limit": "2"}, None),
        answers.DIFF,
    ),
    (
        "remove_release",
        {"name": "default-4"},
        ("DELETE", "/admin/releases/default-4", NOTHING, None),
        None,
    ),
    ("livez", {}, ("GET", "/livez", NOTHING, None), {"status": "alive"}),
    ("readyz", {}, ("GET", "/readyz", NOTHING, None), answers.READY),
]


@pytest.mark.parametrize(
    ("name", "arguments", "sent", "answer"), SENT, ids=[row[0] for row in SENT]
)
def test_a_method_sends_its_request_and_reads_its_answer(
    call: Call, name: str, arguments: dict[str, Any], sent: tuple[Any, ...], answer: Any
) -> None:
    service = Service(httpx.Response(204) if answer is None else httpx.Response(200, json=answer))
    result = call(service, name, **arguments)
    (request,) = service.asked
    content = json.loads(request.content) if request.content else None
    path = request.url.raw_path.decode().partition("?")[0].removeprefix("/sameask")
    assert (request.method, path, dict(request.url.params), content) == sent
    assert request.headers.get("Content-Type") == (
        "application/json" if content is not None else None
    )
    assert result is None if answer is None else _is_like(result, answer)


def test_duplicates_come_as_values(call: Call) -> None:
    found = call(Service(httpx.Response(200, json=answers.DUPLICATES)), "find_duplicates", "Uno?")
    reason = s.Reason(code="cut", sentence="read only to token 256", spans1=((1180, 1424),))
    label = s.PairLabel(id=3, is_duplicate=True, by="anna", at=MOMENT, contradicted=False)
    candidate = s.Candidate(
        id="a",
        ids=("a", "b"),
        id_count=2,
        text="One?",
        similarity=0.9,
        probability=1.0,
        read=True,
        verdict="duplicate",
        reasons=(reason,),
        label=label,
    )
    finding = s.Finding(
        question="Uno?", verdict="duplicate", truncated=True, candidates=(candidate,)
    )
    expected = s.Duplicates(release="tiny", collection="default", revision=7, results=(finding,))
    assert found == expected
    assert isinstance(found.results[0].candidates[0].probability, float)


def test_a_service_that_is_not_ready_is_an_answer_and_is_asked_once(call: Call) -> None:
    service = Service(httpx.Response(503, json=answers.READY))
    assert call(service, "readyz").failure == "the service is starting"
    assert len(service.asked) == 1


def test_metrics_are_text(call: Call) -> None:
    assert call(Service(httpx.Response(200, text="up 1\n")), "metrics") == "up 1\n"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_question", {"id": ""}),
        ("delete_question", {"id": ".."}),
        ("delete_collection", {"name": ""}),
        ("remove_release", {"name": "shadow"}),
        ("remove_release", {"name": "live"}),
        ("upsert_questions", {"questions": [("a", "\ud800")]}),
        ("create_collection", {"name": "faq", "target_precision": float("nan")}),
    ],
)
def test_an_argument_that_would_mean_something_else_is_not_sent(
    call: Call, name: str, arguments: dict[str, Any]
) -> None:
    service = Service()
    with pytest.raises(ValueError):  # noqa: PT011, the sentences are Python's, too
        call(service, name, **arguments)
    assert service.asked == []


def test_a_label_names_its_pair_once() -> None:
    with pytest.raises(ValueError, match="either by ids or by questions"):
        s.NewLabel(is_duplicate=True, by="anna")
    with pytest.raises(ValueError, match="either by ids or by questions"):
        s.NewLabel(is_duplicate=True, by="anna", ids=("a", "b"), questions=("One?", "Two?"))


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    methods = _methods(s.Client)
    assert methods == _methods(s.AsyncClient)
    covered = {row[0] for row in SENT} | {"metrics"}
    others = {name for name in methods if name.startswith(("list_", "import_", "follow_"))}
    assert methods.keys() == covered | others


def test_help_shows_a_method_s_own_parameters_and_words() -> None:
    for client in (s.Client, s.AsyncClient):
        signature = str(inspect.signature(client("http://a").read_question))
        assert signature == "(id: str, *, collection: str = 'default')"
        assert client.read_question.__doc__ == "Read one question."


def _methods(client: type) -> dict[str, str]:
    members = inspect.getmembers(client, inspect.isfunction)
    public = [member for member in members if not member[0].startswith("_")]
    return {
        name: str(inspect.signature(m)) for name, m in public if name not in ("close", "aclose")
    }


def _is_like(result: Any, answer: Any) -> bool:
    """Whether a dataclass holds what the document says, field by field."""
    if isinstance(answer, dict) and not isinstance(result, dict):
        known = {name: value for name, value in answer.items() if name != "object"}
        return all(_is_like(getattr(result, name), value) for name, value in known.items())
    if isinstance(answer, list):
        return len(result) == len(answer) and all(map(_is_like, result, answer))
    if isinstance(result, datetime):
        return result == MOMENT
    return bool(result == answer)
