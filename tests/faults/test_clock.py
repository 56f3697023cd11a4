"""A clock that jumps back changes nothing: order comes from revisions, waiting from the monotonic clock."""

import time

import pytest
from starlette.testclient import TestClient


def test_revisions_ascend_and_answers_stay_when_the_clock_jumps_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    revisions, answers = [], []
    for day, now in enumerate((1_800_000_000, 1_000_000_000, 0)):
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        written = client.post(
            "/questions", json={"questions": [{"id": f"day {day}", "text": f"asked on day {day}"}]}
        )
        revisions.append(written.json()["revision"])
        found = client.post(
            "/duplicates", json={"questions": ["Asked on day 0?"], "top_k": 1}
        ).json()["results"][0]
        answers.append([candidate["id"] for candidate in found["candidates"]])
    assert revisions == [1, 2, 3]
    assert answers == [["day 0"]] * 3
