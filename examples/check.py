"""Asks a running server that holds examples/questions.csv every row of examples/expected.csv.

A smoke test of the demo, not a measure of quality: some rows were chosen so that the base model finds them.
"""

import argparse
import csv
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

BATCH = 50  # questions in one request
VERDICTS = ("duplicate", "review", "new")
# Share of the rows of a kind that must pass; of what is called `duplicate` one in ten may be wrong (target precision).
BARS = {"paraphrase": 0.9, "near_miss": 0.95, "elsewhere": 1.0}


def passes(kind: str, finding: dict[str, Any], meant: str) -> bool:
    """Whether the answer is what a row of this kind expects of it."""
    verdicts = {candidate["id"]: candidate["verdict"] for candidate in finding["candidates"]}
    if kind == "paraphrase":  # the meant question is the first candidate
        return next(iter(verdicts), None) == meant and verdicts[meant] in ("duplicate", "review")
    if kind == "near_miss":  # the named question is near, and asks something else
        return "duplicate" not in (finding["verdict"], verdicts.get(meant))
    return bool(finding["verdict"] == "new")


def ask(url: str, texts: list[str]) -> list[dict[str, Any]]:
    """One finding for each text."""
    findings: list[dict[str, Any]] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            answer = client.post("/duplicates", json={"questions": batch})
            findings += answer.raise_for_status().json()["results"]
    return findings


def server_address() -> str:
    """Where `sameask serve` answers with the settings of this environment."""
    host = os.environ.get("SAMEASK_HOST", "127.0.0.1")
    port = os.environ.get("SAMEASK_PORT", "8000")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def report(kind: str, bar: float, answered: list[tuple[dict[str, str], dict[str, Any]]]) -> bool:
    """Print how many rows of a kind passed, and which did not; whether these are few enough."""
    missed = []
    for row, finding in answered:
        if not passes(kind, finding, row["id"]):
            missed.append((row, finding))
    right = len(answered) - len(missed)
    print(f"{kind}: {right} of {len(answered)} as expected, at least {bar:.0%} wanted")
    verdicts = Counter(finding["verdict"] for _, finding in answered)
    print("  " + ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS))
    for row, finding in missed:
        best = "no candidate"
        if finding["candidates"]:
            candidate = finding["candidates"][0]
            best = f"{candidate['id']} at {candidate['similarity']:.3f}"
        print(f"  missed: {row['text']} [{row['id'] or 'nothing'}]: {finding['verdict']}, {best}")
    return bool(answered) and right >= bar * len(answered)


def main() -> int:
    """Ask, compare, report; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=server_address(), help="address of the server")
    url = parser.parse_args().url
    with (Path(__file__).parent / "expected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        findings = ask(url, [row["text"] for row in rows])
    except httpx.HTTPError as error:
        sys.exit(f"no answer from {url}: {error}")
    answered = list(zip(rows, findings, strict=True))
    is_missed = False
    for kind, bar in BARS.items():
        of_kind = [(row, finding) for row, finding in answered if row["kind"] == kind]
        if not report(kind, bar, of_kind):
            is_missed = True
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
