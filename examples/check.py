"""Asks a running server that holds examples/questions.csv every row of examples/expected.csv.

It prints how each kind of row is answered, and ends with 1 where the answers are worse than a moderator needs them.
The release that ships does not reach all of it yet. A paraphrase asks the same as the question that its row names; a
near-miss hardly differs from it and asks something else; the others are asked of nothing that is stored.
"""

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

BATCH = 50  # questions in one request
VERDICTS = ("duplicate", "review", "new")


@dataclass(frozen=True)
class Bar:
    """How many rows of a kind must be answered so, or may be."""

    kind: str
    verdict: str
    least: int = 0
    most: int = 1000


BARS = (  # of fifty paraphrases, fifty near-misses, twelve others
    Bar("paraphrase", "duplicate", least=35),
    Bar("near_miss", "duplicate", most=2),
    Bar("near_miss", "new", least=25),
    Bar("elsewhere", "new", least=12),
)


@dataclass(frozen=True)
class Answer:
    """A row, and the server's answer."""

    kind: str
    text: str
    meant: str  # id of the question that a paraphrase asks, or a near-miss nearly
    verdict: str
    best: str

    @property
    def is_wrong(self) -> bool:
        """Whether a person would be misled: by another question's id, or by a near-miss that is called a duplicate."""
        if self.verdict != "duplicate":
            return self.kind == "paraphrase" and self.verdict == "new"
        return self.kind != "paraphrase" or self.best != self.meant


def ask(url: str, rows: Sequence[dict[str, str]]) -> list[Answer]:
    """One answer for each row."""
    answers = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            response = client.post(
                "/duplicates", json={"questions": [row["text"] for row in batch]}
            )
            findings = response.raise_for_status().json()["results"]
            answers += [_answer(row, finding) for row, finding in zip(batch, findings, strict=True)]
    return answers


def _answer(row: dict[str, str], finding: dict[str, Any]) -> Answer:
    best = finding["candidates"][0]["id"] if finding["candidates"] else "nothing"
    return Answer(row["kind"], row["text"], row["id"], finding["verdict"], best)


def server_address() -> str:
    """The address where `sameask serve` answers, by the settings of this environment."""
    host = os.environ.get("SAMEASK_HOST", "127.0.0.1")
    port = os.environ.get("SAMEASK_PORT", "8000")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def print_table(answers: Sequence[Answer]) -> None:
    """How many rows of each kind got each verdict, and those whose answer misleads."""
    counts = Counter((answer.kind, answer.verdict) for answer in answers)
    print(f"{'':12}" + "".join(f"{verdict:>11}" for verdict in VERDICTS))
    for kind in dict.fromkeys(answer.kind for answer in answers):
        print(f"{kind:12}" + "".join(f"{counts[kind, verdict]:>11}" for verdict in VERDICTS))
    for answer in answers:
        if answer.is_wrong:
            print(f"wrong: {answer.text} [{answer.meant}]: {answer.verdict}, {answer.best}")


def missed(answers: Sequence[Answer]) -> list[str]:
    """A line for each bar that is not reached."""
    counts = Counter(
        (answer.kind, answer.verdict)
        for answer in answers
        if answer.kind != "paraphrase" or answer.verdict != "duplicate" or not answer.is_wrong
    )
    lines = []
    for bar in BARS:
        count = counts[bar.kind, bar.verdict]
        if not bar.least <= count <= bar.most:
            wanted = f"at least {bar.least}" if count < bar.least else f"at most {bar.most}"
            lines.append(f"{bar.kind} called {bar.verdict}: {count}, {wanted} wanted")
    return lines


def main() -> int:
    """Ask, print, compare; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=server_address(), help="address of the server")
    url = parser.parse_args().url
    with (Path(__file__).parent / "expected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        answers = ask(url, rows)
    except httpx.HTTPError as error:
        sys.exit(f"no answer from {url}: {error}")
    print_table(answers)
    lines = missed(answers)
    print("\n".join(lines))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
