"""Asks a running server, with examples/questions.csv imported, every row of examples/expected.csv.

    python examples/check.py --url http://127.0.0.1:8000

A smoke test of the demo, not a measure of quality: some rows were chosen so that the base model finds them.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from itertools import batched
from pathlib import Path
from typing import Any

import httpx

BATCH = 50  # questions in one request
Finding = dict[str, Any]


def is_found(finding: Finding, id_: str) -> bool:
    """The meant question is the first candidate, and worth at least a review."""
    first = next(iter(finding["candidates"]), {})
    return first.get("id") == id_ and first["verdict"] in ("duplicate", "review")


def is_no_duplicate(finding: Finding, id_: str) -> bool:
    """Neither the answer nor the question that it might be mistaken for says `duplicate`."""
    named = [candidate["verdict"] for candidate in finding["candidates"] if candidate["id"] == id_]
    return "duplicate" not in (finding["verdict"], *named)


def is_new(finding: Finding, _: str) -> bool:
    """Nothing stored comes near."""
    return bool(finding["verdict"] == "new")


# kind -> the share that must pass, and what passing is
BARS: dict[str, tuple[float, Callable[[Finding, str], bool]]] = {
    "paraphrase": (0.9, is_found),
    "near_miss": (1.0, is_no_duplicate),
    "elsewhere": (1.0, is_new),
}


def ask(url: str, texts: list[str]) -> list[Finding]:
    """One finding for each text."""
    with httpx.Client(base_url=url, timeout=60) as client:
        answers = [client.post("/duplicates", json={"questions": batch}) for batch in batched(texts, BATCH)]
    return [finding for answer in answers for finding in answer.raise_for_status().json()["results"]]
