"""A result is the JSON again that it was read from."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

import answers
import sameask_client as s
from both_clients import Call, Service


@pytest.mark.parametrize(
    ("name", "arguments", "document"),
    [
        ("find_duplicates", ["Uno?"], answers.DUPLICATES),
        ("read_training_run", [1], answers.RUN),
        ("undo_label", [1], answers.LABEL),
    ],
)
def test_a_result_is_its_document_again(
    call: Call, name: str, arguments: list[Any], document: dict[str, Any]
) -> None:
    result = call(Service(httpx.Response(200, json=document)), name, *arguments)
    again = s.as_document(result)
    assert {field: again[field] for field in document} == document


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00Z"),
        (datetime(2026, 1, 31, 9, 30, 0, 120, tzinfo=UTC), "2026-01-31T09:30:00.000120Z"),
        (
            datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-31T07:30:00Z",
        ),
    ],
)
def test_moments_are_written_as_the_service_does(moment: datetime, written: str) -> None:
    assert s.as_document((moment, None)) == [written, None]
