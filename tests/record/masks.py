"""What varies from one run to the next, each kind under a name of its own."""

import re
from collections.abc import Mapping
from typing import Any

PATTERNS: Mapping[str, re.Pattern[str]] = {
    "<time>": re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"),
    "<sha256>": re.compile(r"\b[0-9a-f]{64}\b"),
    "<uuid>": re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    "<key>": re.compile(r"\bsameask_[0-9a-f]{16}_[0-9a-f]{64}\b"),
    "<key id>": re.compile(r"(?<![.\w])(?=\d*[a-f])[0-9a-f]{16}\b"),
    "<address>": re.compile(r"\b127\.0\.0\.1:\d+"),
    "<folder>": re.compile(r"(?:/[^\s:'\"`/]+)+/record-[^\s:'\"`/]+|/proc/self/cwd"),
}
FIELDS: Mapping[str, str] = {  # by name: how far a run was, and what it wrote until then
    "log": "<log>",
    "progress": "<progress>",
    "webhook-timestamp": "<time>",
    "webhook-id": "<id>",
    "server-timing": "<milliseconds>",
}
MILLISECONDS = re.compile(r"(?<=dur=)[0-9.]+")
VERSION = "<version>"


def masked(value: Any, version: str) -> Any:
    """A JSON value without what varies. `version` is that of the project, which the documents name."""
    if isinstance(value, dict):
        return {name: _masked_field(name, content, version) for name, content in value.items()}
    if isinstance(value, list):
        return [masked(item, version) for item in value]
    if isinstance(value, str):
        return masked_text(value, version)
    return value


def masked_text(text: str, version: str) -> str:
    """A text without what varies."""
    for name, pattern in PATTERNS.items():
        text = pattern.sub(name, text)
    return re.sub(rf"(?<=Sameask/){re.escape(version)}", VERSION, text)


def _masked_field(name: str, value: Any, version: str) -> Any:
    if name == "server-timing":
        return MILLISECONDS.sub(FIELDS[name], str(value))
    if name in FIELDS:
        return FIELDS[name] if value else value
    if name == "version" and value == version:
        return VERSION
    return masked(value, version)
