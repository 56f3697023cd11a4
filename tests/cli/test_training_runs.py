"""`sameask runs`: started, listed, watched."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.cli import training_runs as run_commands
from tests.cli.commands import LABELS, Outcome, Sameask, assert_one_line, label_file
from tests.serving import served


def _shown(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def test_a_run_is_started_listed_shown_and_cancelled(sameask: Sameask, tmp_path: Path) -> None:
    assert_one_line(sameask("runs", "start"), "Nothing to learn", "POST /labels")
    assert (
        sameask("labels", "import", label_file(tmp_path / "labels.csv", cast(Any, LABELS))).code
        == 0
    )
    started = _shown(sameask("runs", "start", "--recipe", "calibration", "--json"))
    assert (started["state"], started["recipe"], started["target_precision"]) == (
        "queued",
        "calibration",
        "0.90",
    )
    assert_one_line(
        sameask("runs", "start"), "Training is running", f"training run {started['id']} "
    )
    assert json.loads(sameask("runs", "list", "--json").out) == [started]
    assert "queued" in sameask("runs", "list").out
    assert _shown(sameask("runs", "show", started["id"], "--json")) == started
    cancelled = sameask("runs", "cancel", started["id"]).out
    assert "cancelled" in cancelled
    assert "calibration" in cancelled
    assert_one_line(sameask("runs", "resume", started["id"]), "is cancelled: it can't be resumed")
    watched = sameask("runs", "watch", started["id"], "--json")
    assert (watched.code, json.loads(watched.out)["state"]) == (1, "cancelled")
    assert (
        watched.err.splitlines()[-1]
        == f"sameask: training run {started['id']} has ended: cancelled"
    )


def test_a_run_that_is_watched_says_how_far_it_is_until_it_is_over_also_past_a_restart(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = {"phase": "training", "step": 1500, "steps": 9000, "loss": 0.25, "eta_seconds": 61.4}
    run = {
        "id": 3,
        "collection": "default",
        "recipe": "both",
        "cancelling": False,
        "data_set": None,
        "target_precision": "0.90",
        "champion": "tiny",
        "created_at": "2026-01-31T09:30:00Z",
        "started_at": None,
        "ended_at": None,
        "log": "",
        "release": None,
        "error": None,
    }
    gate = {"outcome": "not enough evidence", "reasons": ["40 more labels"]}
    answers = iter(
        [
            {**run, "state": "queued", "progress": None, "gate": None},
            None,
            {**run, "state": "running", "progress": progress, "gate": None},
            {**run, "state": "running", "progress": progress, "gate": None},
            {**run, "state": "succeeded", "progress": progress, "gate": gate},
        ]
    )

    async def answer(_: Request) -> Response:
        state = next(answers)
        return JSONResponse(state) if state else JSONResponse({}, 503)

    monkeypatch.setattr(run_commands, "LOOK_SECONDS", 0.0)
    with served(Starlette(routes=[Route("/admin/training-runs/3", answer)])) as url:  # type: ignore[arg-type]
        watched = sameask("runs", "watch", 3, "--url", url)
    assert watched.code == 0
    assert watched.err.splitlines() == [
        "queued",
        "running  training 1,500/9,000, loss 0.250, 61 s left",
    ]
    assert "not enough evidence" in watched.out
    assert "40 more labels" in watched.out
