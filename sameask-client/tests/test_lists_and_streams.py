"""Lists come page by page, imports go in batches, training runs are followed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

import answers
import sameask_client as s
from both_clients import URL, Call, Service
from sameask_client.following import Events
from sameask_client.training_runs import follow_training_run


def _page(*ids: str, cursor: str | None) -> httpx.Response:
    questions = [{**answers.QUESTION, "id": id_} for id_ in ids]
    return httpx.Response(
        200, json={"collection": "faq", "questions": questions, "next_cursor": cursor}
    )


def test_a_list_is_every_page_of_it(call: Call) -> None:
    service = Service(_page("a", "b", cursor="Yg=="), _page(cursor="Yw"), _page("c", cursor=None))
    questions = call(service, "list_questions", collection="faq", page_size=2)
    assert [question.id for question in questions] == ["a", "b", "c"]
    assert [dict(request.url.params) for request in service.asked] == [
        {"collection": "faq", "limit": "2"},
        {"collection": "faq", "limit": "2", "cursor": "Yg=="},
        {"collection": "faq", "limit": "2", "cursor": "Yw"},
    ]


def test_a_page_is_asked_for_when_it_is_needed() -> None:
    service = Service(_page("a", cursor="YQ"))
    with s.Client(URL, transport=httpx.MockTransport(service)) as client:
        questions = client.list_questions()
        assert service.asked == []
        assert next(questions).id == "a"
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("name", "path", "items", "document", "arguments", "query"),
    [
        ("list_collections", "/collections", "collections", answers.COLLECTION, {}, {}),
        (
            "list_training_runs",
            "/admin/training-runs",
            "training_runs",
            answers.RUN,
            {"page_size": 5},
            {"limit": "5"},
        ),
        (
            "list_labels",
            "/labels",
            "labels",
            answers.LABEL,
            {"is_duplicate": False, "by": "anna", "contradicted": True, "history": True},
            {
                "collection": "default",
                "is_duplicate": "false",
                "by": "anna",
                "contradicted": "true",
                "history": "true",
            },
        ),
    ],
)
def test_every_list_asks_for_what_is_meant(
    call: Call,
    name: str,
    path: str,
    items: str,
    document: dict[str, Any],
    arguments: dict[str, Any],
    query: dict[str, str],
) -> None:
    service = Service(httpx.Response(200, json={items: [document], "next_cursor": None}))
    (item,) = call(service, name, **arguments)
    assert getattr(item, "id", None) == document.get("id")
    assert service.asked[0].url.path == f"/sameask{path}"
    assert dict(service.asked[0].url.params) == query


def _written(**counts: int) -> httpx.Response:
    return httpx.Response(200, json={"collection": "faq", "revision": 9, **counts})


def _sent(service: Service, items: str) -> list[list[Any]]:
    return [json.loads(request.content)[items] for request in service.asked]


def test_an_import_goes_in_batches_of_so_many_items(call: Call) -> None:
    service = Service(
        _written(added=2, updated=0, unchanged=0), _written(added=0, updated=1, unchanged=0)
    )
    rows = [("a", "One?"), ("b", "Two?"), ("c", "Three?")]
    counts = call(service, "import_questions", iter(rows), collection="faq", max_items=2)
    assert counts == s.ImportedQuestions(added=2, updated=1, unchanged=0)
    assert _sent(service, "questions") == [
        [{"id": "a", "text": "One?"}, {"id": "b", "text": "Two?"}],
        [{"id": "c", "text": "Three?"}],
    ]
    assert json.loads(service.asked[0].content)["collection"] == "faq"


@pytest.mark.parametrize("max_bytes", [200, 333, 1000])
def test_no_batch_has_more_bytes_than_it_may(call: Call, max_bytes: int) -> None:
    rows = [(f"{i}", "ü" * (i % 40 + 1)) for i in range(100)]
    service = Service(*[_written(added=1, updated=0, unchanged=0) for _ in rows])
    call(service, "import_questions", rows, max_bytes=max_bytes)
    sizes = [len(request.content) for request in service.asked]
    assert max(sizes) <= max_bytes
    assert len(sizes) < 100
    assert [item["id"] for batch in _sent(service, "questions") for item in batch] == [
        id_ for id_, _ in rows
    ]


def test_an_item_larger_than_a_batch_goes_alone(call: Call) -> None:
    service = Service(*[_written(added=1, updated=0, unchanged=0) for _ in range(3)])
    rows = [("a", "One?"), ("b", "T" * 500), ("c", "Three?")]
    call(service, "import_questions", rows, max_bytes=200)
    assert [[item["id"] for item in batch] for batch in _sent(service, "questions")] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_of_an_id_that_comes_twice_the_later_is_sent_later(call: Call) -> None:
    service = Service(
        _written(added=2, updated=0, unchanged=0), _written(added=0, updated=1, unchanged=0)
    )
    call(service, "import_questions", [("a", "One?"), ("b", "Two?"), ("a", "Uno?")])
    assert [[item["text"] for item in batch] for batch in _sent(service, "questions")] == [
        ["One?", "Two?"],
        ["Uno?"],
    ]


def test_an_import_of_nothing_asks_nobody(call: Call) -> None:
    assert call(Service(), "import_questions", []) == s.ImportedQuestions()


def test_labels_are_imported_too(call: Call) -> None:
    service = Service(_written(added=1, replaced=1, unchanged=0))
    labels = [
        s.NewLabel(ids=("a", "b"), is_duplicate=True, by="anna"),
        s.NewLabel(ids=("a", "c"), is_duplicate=True, by="anna"),
    ]
    counts = call(service, "import_labels", labels, collection="faq")
    assert counts == s.ImportedLabels(added=1, replaced=1)
    assert _sent(service, "labels") == [
        [{"is_duplicate": True, "by": "anna", "ids": ["a", id_]} for id_ in "bc"]
    ]


def test_what_a_person_says_later_of_a_pair_is_sent_later(call: Call) -> None:
    """The service refuses labels that contradict one another in one request."""
    said = [
        (("Where is it?", "Where's it?"), True, "anna"),
        (("Where\u00a0is  it", "where's IT?"), False, "ben"),
        (("Where's it", "where is it?!"), False, "anna"),
    ]
    labels = [s.NewLabel(questions=pair, is_duplicate=same, by=by) for pair, same, by in said]
    service = Service(*[_written(added=1, replaced=0, unchanged=0)] * 2)
    call(service, "import_labels", labels)
    sent = [[label["by"] for label in batch] for batch in _sent(service, "labels")]
    assert sent == [["anna", "ben"], ["anna"]]


def test_a_refused_batch_is_named(call: Call) -> None:
    refusal = httpx.Response(422, json={"title": "Invalid request", "detail": "no"})
    service = Service(_written(added=2, updated=0, unchanged=0), refusal)
    rows = [("a", "One?"), ("b", "Two?"), ("c", "")]
    with pytest.raises(s.InvalidRequest) as refused:
        call(service, "import_questions", rows, max_items=2)
    assert refused.value.__notes__ == ["in the batch of items 2 to 2, counted from 0"]


def test_items_are_taken_as_they_are_sent() -> None:
    service = Service(_written(added=1, updated=0, unchanged=0))

    def rows() -> Iterator[tuple[str, str]]:
        yield "a", "One?"
        yield "b", "Two?"
        assert len(service.asked) == 1
        raise RuntimeError("the file ends here")

    with (
        s.Client(URL, transport=httpx.MockTransport(service)) as client,
        pytest.raises(RuntimeError, match="ends here"),
    ):
        client.import_questions(rows(), max_items=1)


def test_an_asynchronous_iterable_is_imported_too() -> None:
    service = Service(_written(added=1, updated=0, unchanged=0))

    async def rows() -> AsyncIterator[tuple[str, str]]:
        yield "a", "One?"

    async def import_rows() -> s.ImportedQuestions:
        async with s.AsyncClient(URL, transport=httpx.MockTransport(service)) as client:
            return await client.import_questions(rows())

    assert asyncio.run(import_rows()) == s.ImportedQuestions(added=1)


def test_a_batch_without_room_is_refused(call: Call) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        call(Service(), "import_questions", [], max_items=0)


def _events(*states: str) -> httpx.Response:
    lines = [": ping", ""]
    for state in states:
        lines += ["event: message", f"data: {json.dumps({**answers.RUN, 'state': state})}", ""]
    return httpx.Response(200, text="\n".join([*lines, ""]))


def test_a_run_is_followed_to_its_end_over_several_streams(call: Call) -> None:
    service = Service(
        _events("queued", "running"),
        httpx.ReadError("broken"),
        _events("running"),
        _events("succeeded"),
    )
    runs = call(service, "follow_training_run", 4)
    assert [run.state for run in runs] == ["queued", "running", "running", "succeeded"]
    paths = {request.url.path for request in service.asked}
    assert paths == {"/sameask/admin/training-runs/4/events"}


def test_a_stream_that_answered_is_asked_for_again_though_nothing_is_retried(call: Call) -> None:
    """A server ends each stream after an hour."""
    service = Service(_events("running"), _events("running"), _events("succeeded"))
    runs = call(service, "follow_training_run", 4, retries=s.NO_RETRIES)
    assert [run.state for run in runs] == ["running", "running", "succeeded"]


def test_a_stream_that_says_nothing_is_given_up(call: Call) -> None:
    service = Service(*[_events() for _ in range(5)])
    with pytest.raises(s.NoAnswer, match="the stream of events ended"):
        call(service, "follow_training_run", 4)
    assert len(service.asked) == 5


def test_a_stream_that_is_refused_says_why(call: Call) -> None:
    refusal = httpx.Response(404, json={"title": "Training run not found", "detail": "none"})
    with pytest.raises(s.NotFound, match="404 Training run not found: none"):
        call(Service(refusal), "follow_training_run", 4)


def test_an_event_of_several_lines_is_one_state(call: Call) -> None:
    lines = json.dumps({**answers.RUN, "state": "failed"}, indent=1).splitlines()
    text = "".join(f"data:{line}\n" for line in lines) + "\n"
    (run,) = call(Service(httpx.Response(200, text=text)), "follow_training_run", 4)
    assert run.is_over


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_may_be_cut_anywhere(size: int, end: str) -> None:
    document = json.dumps({**answers.RUN, "log": "one\u2028two\x85three"}, ensure_ascii=False)
    text = f": ping{end}{end}data: {document}{end}{end}" * 2
    events = Events(follow_training_run(4))
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    runs = [run for part in parts for run in events.states(part)]
    assert [run.log for run in runs] == ["one\u2028two\x85three"] * 2


def test_a_stream_of_something_else_is_told_apart(call: Call) -> None:
    with pytest.raises(s.NotSameask):
        call(Service(httpx.Response(200, text="data: hello\n\n")), "follow_training_run", 4)
