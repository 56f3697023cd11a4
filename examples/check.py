"""Asks a running server that holds examples/questions.csv every row of examples/expected.csv.

A smoke test of the demo, not a measure of quality: some rows were chosen so that the base model finds them.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import httpx

BATCH = 50  # questions in one request
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
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with httpx.Client(base_url=url, timeout=60) as client:
        answers = [client.post("/duplicates", json={"questions": batch}) for batch in batches]
    return [
        finding for answer in answers for finding in answer.raise_for_status().json()["results"]
    ]


def main() -> int:
    """Ask, compare, report; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the server")
    with (Path(__file__).parent / "expected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        answered = list(
            zip(rows, ask(parser.parse_args().url, [row["text"] for row in rows]), strict=True)
        )
    except httpx.HTTPError as error:
        sys.exit(f"the server did not answer: {error}")
    missed = False
    for kind, bar in BARS.items():
        of_kind = [
            (row, finding, passes(kind, finding, row["id"]))
            for row, finding in answered
            if row["kind"] == kind
        ]
        right = sum(passed for _, _, passed in of_kind)
        missed |= not of_kind or right < bar * len(of_kind)
        print(f"{kind}: {right} of {len(of_kind)} as expected, at least {bar:.0%} wanted")
        for row, finding, _ in (entry for entry in of_kind if not entry[2]):
            best = next(
                (f"{c['id']} at {c['similarity']:.3f}" for c in finding["candidates"]),
                "no candidate",
            )
            print(
                f"  missed: {row['text']} [{row['id'] or 'nothing'}]: {finding['verdict']}, {best}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
