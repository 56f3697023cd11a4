"""Where the service is, which key is sent, and how long the client waits; and results that come from other versions."""

import ast
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import httpx
import pytest

import answers
import sameask_client as s
from both_clients import Service
from sameask_client.parsing import read

SOURCES = Path(s.__file__).parent


def _asked(url: str = "http://faq.example", key: str | None = None) -> httpx.Request:
    service = Service(httpx.Response(200, json={"status": "alive"}))
    with s.Client(url, key=key, transport=httpx.MockTransport(service)) as client:
        client.livez()
    return service.asked[0]


def test_the_key_comes_from_the_argument_or_else_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SAMEASK_KEY", raising=False)
    assert "Authorization" not in _asked().headers
    monkeypatch.setenv("SAMEASK_KEY", "of-the-environment\n")
    assert _asked().headers["Authorization"] == "Bearer of-the-environment"
    assert _asked(key="given").headers["Authorization"] == "Bearer given"
    assert "Authorization" not in _asked(key="").headers


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\nb"])
@pytest.mark.parametrize("client", [s.Client, s.AsyncClient])
def test_what_is_no_key_is_refused_and_not_repeated(
    client: type[s.Client] | type[s.AsyncClient], key: str
) -> None:
    with pytest.raises(ValueError, match="the key must be") as refused:
        client("http://faq.example", key=key)
    assert key not in str(refused.value)


@pytest.mark.parametrize("url", ["faq.example", "ftp://faq.example", "http://", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        s.Client(url)


@pytest.mark.parametrize("url", ["http://faq.example/sameask", "http://faq.example/sameask/"])
def test_a_service_may_lie_under_a_path(url: str) -> None:
    assert _asked(url).url == "http://faq.example/sameask/livez"


def test_every_request_has_a_timeout_from_when_it_has_a_connection() -> None:
    timeouts = dict.fromkeys(("connect", "read", "write"), 60.0)
    assert _asked().extensions["timeout"] == {**timeouts, "pool": None}
    for seconds in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="positive"):
            s.Client(timeout_seconds=seconds)


def test_a_stream_waits_longer_than_the_service_is_ever_silent() -> None:
    event = httpx.Response(200, text="data: {}\n\n")
    service = Service(event)
    transport = httpx.MockTransport(service)
    with (
        s.Client(timeout_seconds=2, transport=transport) as client,
        pytest.raises(s.NotSameask),
    ):
        list(client.follow_training_run(1))
    assert service.asked[0].extensions["timeout"] == {
        "connect": 2,
        "read": 45.0,
        "write": 2,
        "pool": None,
    }


def test_fields_of_a_newer_service_are_passed_over() -> None:
    newer = {**answers.WRITTEN, "quarantined": 3}
    assert read(s.Written, newer) == read(s.Written, answers.WRITTEN)


def test_words_of_a_newer_service_come_as_they_are() -> None:
    score = read(s.Score, {**answers.SCORES["scores"][0], "verdict": "later"})
    assert str(score.verdict) == "later"


def test_fields_that_an_older_service_lacks_have_their_default() -> None:
    score = {"similarity": 0.5, "probability": 0.1, "verdict": "review"}
    expected = s.Score(similarity=0.5, probability=0.1, verdict="review", reasons=(), label=None)
    assert read(s.Score, score) == expected


@pytest.mark.parametrize(
    "document",
    [
        {"collection": "faq"},
        {**answers.WRITTEN, "added": "1"},
        {**answers.WRITTEN, "added": True},
        {**answers.WRITTEN, "added": None},
        None,
    ],
)
def test_a_document_of_another_kind_is_not_sameask(document: object) -> None:
    with pytest.raises(s.NotSameask):
        read(s.Written, document)


def test_results_are_frozen_and_have_slots() -> None:
    written = read(s.Written, answers.WRITTEN)
    with pytest.raises(FrozenInstanceError):
        written.added = 5  # type: ignore[misc]
    assert not hasattr(written, "__dict__")


def test_the_client_needs_httpx_alone() -> None:
    known = {*sys.stdlib_module_names, "httpx", "sameask_client"}
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {module.partition(".")[0] for module in modules} <= known, path.name
