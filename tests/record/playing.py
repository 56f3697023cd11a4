"""The scenario played to a server: every request and its answer, as JSON values."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.record.project import Project
from tests.record.scenario import KEYS, Ask, MakeKeys, groups
from tests.record.server import PATIENCE_SECONDS, PAUSE_SECONDS, SETTINGS

HEADERS = (
    "content-type",
    "location",
    "allow",
    "retry-after",
    "www-authenticate",
    "connection",
    "server-timing",
)
LONGEST = 4_000  # characters of a body or a text that is recorded as it is
FAILED = {"state": "failed"}  # of a training run: it will have no other state
JSON_TYPES = ("application/json", "application/problem+json")

Exchange = dict[str, Any]


class Player:
    """Sends the steps, and makes the keys that some of them carry."""

    def __init__(self, project: Project, folder: Path, url: str) -> None:
        self._project = project
        self._folder = folder
        self._client = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False)
        self.keys: dict[str, str] = {}

    def play(self) -> Iterator[Exchange]:
        """Every exchange, under the name of its group and its number in it."""
        with self._client:
            for group, steps in groups().items():
                number = 0
                for step in steps:
                    if isinstance(step, MakeKeys):
                        self._make_keys()
                        continue
                    number += 1
                    yield {"name": f"{group} {number:02}", **self._exchange(step)}

    def get(self, path: str, key: str = "") -> httpx.Response:
        """The answer of a route, outside the record."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = self._client.base_url.join(path)
        return httpx.get(url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)

    def _exchange(self, ask: Ask) -> Exchange:
        return {"request": _request_record(ask), "answer": _answer_record(self._answer(ask))}

    def _answer(self, ask: Ask) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        answer = self._send(ask)
        while ask.until and not _has(answer, ask.until):
            if time.monotonic() > deadline or _has(answer, FAILED):
                raise RuntimeError(f"{ask.path} never had {ask.until}: {answer.text}")
            time.sleep(PAUSE_SECONDS)
            answer = self._send(ask)
        return answer

    def _send(self, ask: Ask) -> httpx.Response:
        headers = dict(ask.headers)
        if ask.key:
            headers["Authorization"] = f"Bearer {self.keys[ask.key]}"
        if ask.content is not None:
            headers.setdefault("Content-Type", "application/json")
            content = iter([ask.content]) if ask.chunked else ask.content
            return self._client.request(ask.method, ask.path, content=content, headers=headers)
        return self._client.request(ask.method, ask.path, json=ask.json, headers=headers)

    def _make_keys(self) -> None:
        commands = [
            ["keys", "create", "--name", name, "--scope", *scopes] for name, scopes in KEYS.items()
        ]
        made = self._project.run("sameask", commands, self._folder, SETTINGS)
        self.keys = {
            name: str(outcome["out"]).strip() for name, outcome in zip(KEYS, made, strict=True)
        }
        revoked = self.keys["revoked"].split("_")[1]
        self._project.run("sameask", [["keys", "revoke", revoked]], self._folder, SETTINGS)


def _has(answer: httpx.Response, fields: Mapping[str, Any]) -> bool:
    document = answer.json()
    return all(name in document and document[name] == value for name, value in fields.items())


def _request_record(ask: Ask) -> Exchange:
    record: Exchange = {"method": ask.method, "path": ask.path}
    if ask.content is not None:
        record["content"] = _text(ask.content.decode("latin-1"))
    elif ask.json is not None:
        record["json"] = ask.json
    if ask.headers:
        record["headers"] = dict(ask.headers)
    for name in ("key", "until"):
        if value := getattr(ask, name):
            record[name] = value
    return record


def _answer_record(answer: httpx.Response) -> Exchange:
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    record: Exchange = {"status": answer.status_code, "headers": headers}
    kind = answer.headers.get("content-type", "")
    if not answer.content:
        return record
    if kind in JSON_TYPES:
        record["body"] = answer.json()
    elif kind.startswith("text/event-stream"):
        record["body"] = [_event_line(line) for line in answer.text.splitlines()]
    elif kind.startswith("text/plain"):
        record["body"] = "<text>"
    else:
        record["body"] = _text(answer.text)
    return record


def _event_line(line: str) -> Any:
    """A line of a stream of events; the data as JSON."""
    name, colon, data = line.partition(": ")
    return {name: json.loads(data)} if colon and name == "data" else line


def _text(text: str) -> str:
    return text if len(text) <= LONGEST else f"<{len(text):,} characters>"
