"""The kept folder: tiny models, two releases, and a data directory that a killed server left.

    models/first, models/second       bases: two tiny transformers, of 32 and of 48 dimensions
    releases/first                    SAMEASK_RELEASE: the first base
    elsewhere.tsv                     pairs of another domain, for the gate
    data/                             the data directory; `releases/second`, with a pair classifier, is live

Releases are written as files, as every commit reads them; all else is done by servers of this commit.
"""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.record.project import Project
from tests.record.server import PATIENCE_SECONDS, PAUSE_SECONDS, Server, serving
from tests.tiny_model import build_tiny_classifier, build_tiny_model

WEIGHTS = "model.safetensors"
TARGETS = ("0.90", "0.95", "0.98", "0.99")
CREATED = "2026-01-01T00:00:00Z"
QUESTIONS = {
    "refund-1": "How do I get a refund?",
    "refund-2": "How can I get my money back?",
    "refund-3": "How do I give a refund?",
    "password-1": "How do I reset my password?",
    "password-2": "How can I change my password?",
    "password-3": "How do I reset my pass word?",
    "invoice-1": "Where is my invoice?",
    "invoice-2": "Where do I find my invoice?",
    "hours-1": "When do you open?",
    "hours-2": "When do you close?",
    "deleted-1": "Is this question deleted?",
    "unicode-1": "Quand ouvrez-vous ? ☀️",
}
ACTIONS = ("reset", "change", "delete", "export", "share", "print")
OBJECTS = (
    "password",
    "invoice",
    "folder",
    "photo",
    "report",
    "calendar",
    "contract",
    "profile",
    "message",
    "backup",
)
PLACES = ("on my phone", "at work")


def make_kept(project: Project, folder: Path) -> None:
    """Fill an empty folder."""
    _make_models(folder)
    _make_releases(folder)
    (folder / "elsewhere.tsv").write_text(_elsewhere(), "utf-8")
    with serving(project, folder, {}) as server:
        _write_questions(server.url)
        _write_labels(server.url)
        server.stop()
    with serving(project, folder, {}) as server:
        _go_live(server.url, "second")
        _wait(server.url, _train(server.url), "state", "succeeded")
        server.stop()
    with serving(project, folder, {}) as server:
        _write_on(server.url)
        _wait_for_change(server.url, _train(server.url), "progress", None)
        _kill(server)
    _break_releases(folder)
    for name in ("log", "secret"):
        (folder / name).unlink(missing_ok=True)


def _make_models(folder: Path) -> None:
    build_tiny_model(folder / "models" / "first")
    build_tiny_model(folder / "models" / "second", dimension=48, seed=1)


def _make_releases(folder: Path) -> None:
    _write_release(folder, "first", folder / "releases" / "first", 32, with_classifier=False)
    second = folder / "data" / "releases" / "second"
    build_tiny_classifier(folder / "models" / "second", second / "classifier", seed=1)
    _write_release(folder, "second", second, 48, with_classifier=True)


def _write_release(
    folder: Path, name: str, out: Path, dimension: int, *, with_classifier: bool
) -> None:
    """The files of a release on the model of the same name; calibrations and thresholds are made up."""
    out.mkdir(parents=True, exist_ok=True)
    documents = _documents(with_classifier=with_classifier)
    for file, document in documents.items():
        (out / file).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    (out / "README.md").write_text(f"# {name}\n", "utf-8")
    files = sorted(path for path in out.rglob("*") if path.is_file())
    manifest = {
        "format": 1,
        "name": name,
        "parent": None,
        "base_model": {
            "name": f"models/{name}",
            "files": {WEIGHTS: _sha256(folder / "models" / name / WEIGHTS)},
        },
        "dimension": dimension,
        "data": {},
        "training": None,
        "seed": None,
        "created_at": CREATED,
        "versions": {},
        "files": {str(path.relative_to(out)): _sha256(path) for path in files},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def _documents(*, with_classifier: bool) -> dict[str, Any]:
    by_similarity = {"weights": [60.0], "bias": -55.5, "knots": None, "limits": None}
    by_pair = {"weights": [20.0, 1.0], "bias": -17.5, "knots": None, "limits": [None, 3.0]}
    thresholds = {
        "duplicate": {target: _threshold(float(target)) for target in TARGETS},
        "review": 0.4,
    }
    return {
        "calibration.json": {
            "similarity": by_similarity,
            "pair": by_pair if with_classifier else None,
        },
        "thresholds.json": {
            "similarity": thresholds,
            "pair": thresholds if with_classifier else None,
            "open_from": 0.85 if with_classifier else -1.0,
        },
        "metrics.json": {"made up": {"average precision": 0.75}},
    }


def _threshold(target: float) -> dict[str, Any]:
    return {
        "probability": target - 0.1,
        "precision_bound": target,
        "recall": 0.5,
        "labels": 100,
        "lacking": None,
    }


def _elsewhere() -> str:
    """Labelled pairs of another domain, as TSV."""
    rows = ["question1\tquestion2\tis_duplicate"]
    for number in range(12):
        rows.append(
            f"how tall is mountain {number} of the range\thow high is mountain {number} of the range\t1"
        )
        rows.append(
            f"how long is river {number} of the plain\twhere does river {number} of the plain end\t0"
        )
    return "\n".join(rows) + "\n"


def _write_questions(url: str) -> None:
    _call(url, "PUT", "/collections/faq")
    _call(url, "PUT", "/collections/empty")
    for start in range(0, len(QUESTIONS), 5):  # more than one revision
        part = list(QUESTIONS.items())[start : start + 5]
        _call(
            url,
            "POST",
            "/questions",
            {"questions": [{"id": name, "text": text} for name, text in part]},
        )
    _call(url, "DELETE", "/questions/deleted-1")
    faq = [
        {"id": f"{action}-{thing}", "text": f"how do i {action} my {thing} on my phone"}
        for action in ACTIONS
        for thing in OBJECTS
    ]
    _call(url, "POST", "/questions", {"collection": "faq", "questions": faq})


def _write_labels(url: str) -> None:
    """Labels of `default`: standing, contradicted, replaced, undone; of `faq`: enough to calibrate by."""
    refund = {"ids": ["refund-1", "refund-2"], "is_duplicate": True, "by": "anna"}
    opposite = {
        "ids": ["refund-1", "refund-3"],
        "is_duplicate": False,
        "by": "anna",
        "note": "buyer and seller",
    }
    password = {"ids": ["password-1", "password-2"], "is_duplicate": True, "by": "anna"}
    invoice = {"ids": ["invoice-1", "invoice-2"], "is_duplicate": False, "by": "anna"}
    hours = {"ids": ["hours-1", "hours-2"], "is_duplicate": True, "by": "ben"}
    unstored = {
        "questions": ["Is it open today?", "When do you open?"],
        "is_duplicate": True,
        "by": "ben",
    }
    _label(url, "default", [refund, opposite, password, invoice, hours, unstored])
    _label(url, "default", [{**password, "is_duplicate": False, "by": "ben"}])
    _label(url, "default", [{**invoice, "is_duplicate": True}])
    _call(url, "DELETE", "/labels/5?by=carl")
    _label(url, "faq", _faq_labels())


def _faq_labels() -> list[dict[str, Any]]:
    labels: list[dict[str, Any]] = []
    for number, (action, thing) in enumerate((a, t) for a in ACTIONS for t in OBJECTS):
        place = PLACES[number % 2]
        one = f"how do i {action} my {thing} {place}"
        same = f"how can i {action} my {thing} {place}"
        other = f"is there a fee to {action} {thing} number {number} for a friend"
        third = f"who else may see {thing} number {number} after the {action}"
        labels.append({"questions": [one, same], "is_duplicate": True, "by": "anna"})
        labels.append({"questions": [other, third], "is_duplicate": False, "by": "anna"})
    return labels


def _write_on(url: str) -> None:
    """Changes that no snapshot holds yet when the server is killed."""
    added = {"late-1": "Can I pay by cheque?", "late-2": "Can I pay by check?"}
    _call(
        url,
        "POST",
        "/questions",
        {"questions": [{"id": name, "text": text} for name, text in added.items()]},
    )
    _label(url, "default", [{"ids": ["late-1", "late-2"], "is_duplicate": True, "by": "dora"}])


def _go_live(url: str, name: str) -> None:
    _call(url, "PUT", "/admin/releases/live", {"release": name, "reason": "for the record"})
    _wait(url, "/admin/releases/live", "swap", None)


def _train(url: str) -> str:
    """Queue a run; returns its path."""
    run = _call(url, "POST", "/admin/retrain", {"collection": "faq", "recipe": "calibration"})
    return f"/admin/training-runs/{run['id']}"


def _kill(server: Server) -> None:
    """End the server and the training run that it started at once, as a power cut would."""
    children = server.children()
    server.kill()
    for child in children:
        os.kill(child, signal.SIGKILL)


def _break_releases(folder: Path) -> None:
    """Beside the good releases one that is damaged, and one that goes by another's name."""
    releases = folder / "data" / "releases"
    shutil.copytree(folder / "releases" / "first", releases / "renamed")
    shutil.copytree(folder / "releases" / "first", releases / "broken")
    (releases / "broken" / "metrics.json").write_text("{}", "utf-8")


def _label(url: str, collection: str, labels: list[dict[str, Any]]) -> None:
    _call(url, "POST", "/labels", {"collection": collection, "labels": labels})


def _call(
    url: str, method: str, path: str, json: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    answer = httpx.request(method, url + path, json=json, timeout=PATIENCE_SECONDS, trust_env=False)
    if not answer.is_success:
        raise RuntimeError(f"{method} {path}: {answer.text}")
    return dict(answer.json()) if answer.content else {}


def _wait(url: str, path: str, name: str, value: object) -> None:
    """Return when the document has this value."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (document := _call(url, "GET", path))[name] != value:
        _pause(deadline, document)


def _wait_for_change(url: str, path: str, name: str, value: object) -> None:
    """Return when the document has another value."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (document := _call(url, "GET", path))[name] == value:
        _pause(deadline, document)


def _pause(deadline: float, document: Mapping[str, Any]) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(f"waited in vain: {document}")
    time.sleep(PAUSE_SECONDS)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
