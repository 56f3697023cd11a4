"""Both clients against the real service: every documented operation is asked for, and every answer is understood."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice

import pytest
from fastapi import FastAPI

import sameask_client as s
from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.client.speaking import Asked, Speak, speaking, speaking_async
from tests.promises.corpus import questions
from tests.serving import served, wait_until

# Each documented operation, and the method of both clients that asks for it.
METHODS = {
    "find_duplicates": "find_duplicates",
    "score_pairs": "score_pairs",
    "embed_texts": "embed_texts",
    "upsert_questions": "upsert_questions",
    "list_questions": "list_questions",
    "read_question": "read_question",
    "delete_question": "delete_question",
    "label_pairs": "label_pairs",
    "list_labels": "list_labels",
    "undo_label": "undo_label",
    "create_collection": "create_collection",
    "read_collection": "read_collection",
    "delete_collection": "delete_collection",
    "list_collections": "list_collections",
    "erase_asked": "erase_asked",
    "read_evidence": "read_evidence",
    "read_review_queue": "read_review_queue",
    "skip_pair": "skip_pair",
    "start_training": "start_training",
    "list_training_runs": "list_training_runs",
    "read_training_run": "read_training_run",
    "follow_training_run": "follow_training_run",
    "cancel_training_run": "cancel_training_run",
    "resume_training_run": "resume_training_run",
    "list_releases": "list_releases",
    "read_shadow": "read_shadow",
    "open_shadow": "open_shadow",
    "cancel_shadow": "cancel_shadow",
    "read_live_release": "read_live_release",
    "activate_release": "activate_release",
    "roll_back_release": "roll_back_release",
    "compare_release": "compare_release",
    "remove_release": "remove_release",
    "livez": "livez",
    "readyz": "readyz",
    "metrics": "metrics",
}
Speaking = Callable[[str, Asked], AbstractContextManager[Speak]]


@pytest.fixture
def app(settings: Settings, wide_release: Release) -> FastAPI:
    """A service with a release that was trained, and no worker: a training run stays queued."""
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    return create_app(settings.model_copy(update={"training_worker": False}))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """Where it answers."""
    with served(app) as url:
        yield url


@pytest.mark.parametrize("way", [speaking, speaking_async])
def test_every_documented_operation_is_asked_for(way: Speaking, app: FastAPI, url: str) -> None:
    asked: Asked = []
    with way(url, asked) as speak:
        _walk_health(speak)
        _walk_questions(speak)
        _walk_labels(speak)
        _walk_promises(speak)
        _walk_training_runs(speak)
        _walk_releases(speak)
        _walk_deletion(speak)
    assert {_operation(app, *request) for request in asked} == _operations(app)


def test_every_documented_operation_has_a_method(app: FastAPI) -> None:
    assert _operations(app) == METHODS.keys()
    for method in METHODS.values():
        assert callable(getattr(s.Client, method))
        assert callable(getattr(s.AsyncClient, method))


def _walk_health(speak: Speak) -> None:
    assert speak("livez") == s.Alive(status="alive")
    ready = speak("readyz")
    assert (ready.ready, ready.failure, ready.release, ready.collections) == (True, None, "tiny", 1)
    assert "sameask_request_seconds" in speak("metrics")


def _walk_questions(speak: Speak) -> None:
    rows = [(id_, f"Where is number {id_}?") for id_ in ("a/b", "ü ?#", "c")]
    written = speak("upsert_questions", rows)
    assert (written.collection, written.revision, written.added) == ("default", 3, 3)
    assert (written.updated, written.unchanged, written.truncated) == (0, 0, 0)
    assert 0 < written.unknown_tokens + 12 <= written.tokens
    made = speak("create_collection", "faq", url_template="https://faq.example/{id}")
    assert (made.name, made.questions, made.url_template) == (
        "faq",
        0,
        "https://faq.example/{id}",
    )
    texts = dict(islice(questions(40).items(), 12)).items()
    imported = speak("import_questions", texts, collection="faq", max_items=5)
    assert (imported.added, imported.updated, imported.unchanged) == (12, 0, 0)
    assert imported.tokens > imported.unknown_tokens >= 0
    again = speak("import_questions", iter(texts), collection="faq", max_bytes=800)
    assert (again.added, again.updated, again.unchanged) == (0, 0, 12)
    listed = speak("list_questions", collection="faq", page_size=5)
    assert {question.id: question.text for question in listed} == dict(texts)
    assert speak("read_question", "a/b").text == "Where is number a/b?"
    assert speak("delete_question", "ü ?#").revision == 4
    assert [collection.name for collection in speak("list_collections")] == ["default", "faq"]
    with pytest.raises(s.NotFound, match="404 Question not found"):
        speak("read_question", "ü ?#")
    with pytest.raises(s.InvalidRequest) as refused:
        speak("upsert_questions", [("a", "One?"), ("b", " ")])
    assert refused.value.errors.keys() == {"questions.1.text"}


def _walk_labels(speak: Speak) -> None:
    found = speak("find_duplicates", "Where is number c?", top_k=1, exclude_ids=["a/b"])
    (finding,) = found.results
    assert (found.release, finding.question) == ("tiny", "Where is number c?")
    (candidate,) = finding.candidates
    assert (candidate.id, candidate.label, candidate.reasons[0].code) == ("c", None, "same_words")
    pair = ("Where is number c?", "Who is number one?")
    said = [
        s.NewLabel(questions=pair, is_duplicate=True, by="anna"),
        s.NewLabel(ids=("a/b", "c"), is_duplicate=False, by="bert", note="not the same"),
    ]
    labelled = speak("label_pairs", said)
    assert (labelled.added, [label.contradicted for label in labelled.labels]) == (2, [False] * 2)
    assert speak("import_labels", said, max_items=1) == s.ImportedLabels(unchanged=2)
    (score,) = speak("score_pairs", [pair]).scores
    assert (score.verdict, score.label.by, score.label.is_duplicate) == ("duplicate", "anna", True)
    embedded = speak("embed_texts", pair)
    one, other = [vector.embedding for vector in embedded.data]
    near = sum(a * b for a, b in zip(one, other, strict=True))
    assert (embedded.model, near) == ("tiny", pytest.approx(score.similarity, abs=1e-6))
    labels = speak("list_labels", page_size=1)
    assert [(label.by, label.note) for label in labels] == [
        ("anna", None),
        ("bert", "not the same"),
    ]
    undone = speak("undo_label", labels[0].id, by="carla")
    assert (undone.ended.by, undone.ended.replaced_by) == ("carla", None)
    assert [label.by for label in speak("list_labels", is_duplicate=False)] == ["bert"]
    assert len(speak("list_labels", history=True)) == 2


def _walk_promises(speak: Speak) -> None:
    wished = speak("create_collection", "faq", target_precision=0.8)
    assert (wished.target_precision, wished.thresholds.source) == (0.8, "release")
    assert speak("read_collection", "faq") == wished
    wait_until(lambda: speak("read_evidence", "faq").near_pairs.to_read == 0)
    queue = speak("read_review_queue", "faq", by="anna", limit=2)
    first, second = queue.pairs
    assert [len(pair.questions) for pair in queue.pairs] == [2, 2]
    assert speak("skip_pair", "faq", first.id, by="anna") == s.Skipped(
        collection="faq", id=first.id
    )
    texts = tuple(question.text for question in second.questions)
    speak(
        "label_pairs",
        [s.NewLabel(questions=texts, is_duplicate=True, by="anna")],
        collection="faq",
    )
    wait_until(lambda: speak("read_evidence", "faq").labels.by != ())  # a label counts in a second
    evidence = speak("read_evidence", "faq")
    assert (evidence.target_precision, evidence.labels.skipped) == (0.8, 1)
    assert [labeller.by for labeller in evidence.labels.by] == ["anna"]
    assert [promise.target_precision for promise in evidence.promises] == [0.9, 0.95, 0.98, 0.99]
    assert speak("create_collection", "faq", target_precision=None).target_precision is None
    assert speak("erase_asked", "faq") is None


def _walk_training_runs(speak: Speak) -> None:
    run = speak("start_training", recipe="calibration")
    assert (run.state, run.recipe, run.champion, run.is_over) == (
        "queued",
        "calibration",
        "tiny",
        False,
    )
    with pytest.raises(s.Conflict, match="409 Training is running"):
        speak("start_training", recipe="calibration")
    assert speak("read_training_run", run.id) == run
    assert speak("list_training_runs") == [run]
    assert speak("cancel_training_run", run.id).state == "cancelled"
    assert [state.state for state in speak("follow_training_run", run.id)] == ["cancelled"]
    with pytest.raises(s.Conflict, match="409 Wrong state of the training run"):
        speak("resume_training_run", run.id)


def _walk_releases(speak: Speak) -> None:
    tiny, wide = speak("list_releases").releases
    assert (tiny.state, wide.state, wide.dimension) == ("live", "ready", 48)
    assert speak("open_shadow", "wide").goes_live is False
    wait_until(lambda: speak("read_shadow").phase == "ready")
    diff = speak("compare_release", "wide", collection="faq", limit=1)
    assert (diff.live, diff.shadow, diff.questions) == ("tiny", "wide", 12)
    assert len(diff.examples) == min(diff.changed, 1)
    assert speak("cancel_shadow") is None
    with pytest.raises(s.NotFound, match="404 No shadow"):
        speak("read_shadow")
    assert speak("activate_release", "wide", reason="wider").release in ("tiny", "wide")
    wait_until(lambda: speak("read_live_release").swap is None)
    live = speak("read_live_release")
    assert (live.release, live.reason) == ("wide", "wider")
    speak("roll_back_release", reason="narrower")
    wait_until(lambda: speak("read_live_release").swap is None)
    assert speak("read_live_release").release == "tiny"
    with pytest.raises(s.Conflict, match="409 Release is protected"):
        speak("remove_release", "wide")


def _walk_deletion(speak: Speak) -> None:
    assert speak("delete_collection", "faq") is None
    with pytest.raises(s.NotFound, match="404 Collection not found"):
        speak("find_duplicates", "One?", collection="faq")


def _operations(app: FastAPI) -> set[str]:
    return {name for _, _, name in _documented(app)}


def _operation(app: FastAPI, method: str, path: str) -> str | None:
    """The documented operation that a request is for: that with the fewest parameters in its path."""
    fitting = [
        (template.count("{"), name)
        for documented, template, name in _documented(app)
        if documented == method and re.fullmatch(_pattern(template), path)
    ]
    return next((name for _, name in islice(sorted(fitting), 1)), None)


def _pattern(template: str) -> str:
    """A regular expression for a path: an id of a question may hold slashes."""
    return re.sub(r"\\{\w+\\}", ".+" if "questions" in template else "[^/]+", re.escape(template))


def _documented(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    for template, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), template, operation["operationId"]
