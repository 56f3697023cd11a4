"""The record and what a commit does in, the differences that nobody meant out."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.record.comparison import Difference, differences
from tests.record.observation import observe
from tests.record.project import Project

RECORDED = Path(__file__).parent / "recorded"
AGREED = RECORDED / "agreed.json"


def check(project: Project) -> list[str]:
    """One text for each difference that is not agreed, and each agreed one that is not there."""
    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        now = observe(project, RECORDED / "kept.tar.xz", Path(folder))
    recorded = {name: (RECORDED / name).read_text("utf-8") for name in now}
    found = [difference for name in now for difference in compare(name, recorded[name], now[name])]
    return list(judged(found, json.loads(AGREED.read_text("utf-8"))))


def compare(name: str, recorded: str, now: str) -> Iterator[Difference]:
    """The differences of one file of the record."""
    yield from differences(name, _parsed(name, recorded), _parsed(name, now))


def judged(found: list[Difference], agreed: list[dict[str, str]]) -> Iterator[str]:
    """Differences whose place no agreed pattern matches whole, and agreed patterns that match none."""
    patterns = [re.compile(entry["place"]) for entry in agreed]
    for difference in found:
        if not any(pattern.fullmatch(difference.place) for pattern in patterns):
            yield str(difference)
    for pattern in patterns:
        if not any(pattern.fullmatch(difference.place) for difference in found):
            yield f"agreed.json names {pattern.pattern}, where nothing differs"


def _parsed(name: str, text: str) -> Any:
    """A file's content with names for its parts, so that one part more moves no other."""
    if name.endswith(".json"):
        return json.loads(text)
    if name.endswith(".jsonl"):
        values = [json.loads(line) for line in text.splitlines()]
        return {value.get("name", str(number)): value for number, value in enumerate(values, 1)}
    if name == "metrics.txt":
        return dict.fromkeys(text.splitlines(), "there")
    return _commands(text)


def _commands(text: str) -> dict[str, list[str]]:
    """What commands printed, by command, in lines."""
    shown: dict[str, list[str]] = {}
    for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE):
        command, _, printed = part.partition("\n")
        if command:
            shown[command] = printed.splitlines()
    return shown
