"""Walks the whole way of a label, over HTTP: questions, labels, training, gate, diff, swap, and back.

    python examples/retrain.py --pairs pairs.tsv [--url http://127.0.0.1:8000] [--recipe both] [--force REASON]

Every pair of the file is imported; nine of ten are labelled, and the tenth is asked about before, with the new
release, and after rolling back. A server that asks for a key finds it in SAMEASK_KEY. The labels stay there.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.engine.text import folded_digest
from app.errors import CommandError
from training.pairs import cleaned, read_pairs

BATCH = 100
LOOK_SECONDS = 0.2
OVER = ("succeeded", "failed", "cancelled", "interrupted")


def main() -> None:
    """Take each step, and print a line with its outcome."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=Path, required=True, help="file with question1, question2 and is_duplicate"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--collection", default="retrain-example")
    parser.add_argument("--recipe", default="both", help="calibration, classifier, encoder or both")
    parser.add_argument("--force", metavar="REASON", help="go live whatever the gate says")
    arguments = parser.parse_args()
    try:
        usable, _ = cleaned(read_pairs(arguments.pairs))
    except CommandError as error:
        parser.error(str(error))
    pairs = [
        (pair.question1, pair.question2, pair.is_duplicate)
        for pair in usable
        if folded_digest(pair.question1) != folded_digest(pair.question2)  # one text is no pair
    ]
    headers = (
        {"Authorization": f"Bearer {os.environ['SAMEASK_KEY']}"}
        if "SAMEASK_KEY" in os.environ
        else {}
    )
    with httpx.Client(base_url=arguments.url, headers=headers, timeout=120) as client:
        walk(client, arguments.collection, pairs, arguments.recipe, arguments.force)


def walk(
    client: httpx.Client,
    collection: str,
    pairs: Sequence[tuple[str, str, bool]],
    recipe: str,
    force: str | None,
) -> None:
    """All of it. Exits when a step is not what it should be."""
    labelled, asked = [p for i, p in enumerate(pairs) if i % 10], [p[:2] for p in pairs[::10]]
    call(client, "PUT", f"/collections/{collection}")
    texts = list(dict.fromkeys(text for one, other, _ in pairs for text in (one, other)))
    for start, some in batches(texts):
        questions = [{"id": f"q{start + i}", "text": text} for i, text in enumerate(some)]
        call(client, "POST", "/questions", {"collection": collection, "questions": questions})
    print(f"imported {len(texts):,} questions")
    for _, some in batches(labelled):
        labels = [
            {"questions": [a, b], "is_duplicate": same, "by": "retrain.py"} for a, b, same in some
        ]
        call(client, "POST", "/labels", {"collection": collection, "labels": labels})
    print(f"labelled {len(labelled):,} pairs; {len(asked):,} are asked about")
    before = scores(client, collection, asked)
    run = trained(client, collection, recipe)
    name = run["release"]
    call(client, "PUT", "/admin/releases/shadow", {"release": name})
    wait(
        lambda: call(client, "GET", "/admin/releases/shadow"),
        lambda shadow: shadow["phase"] == "ready",
    )
    diff = call(client, "GET", f"/admin/releases/{name}/diff?collection={collection}&limit=3")
    print(f"diff: {diff['changed']:,} of {diff['pairs']:,} verdicts would change")
    call(
        client,
        "PUT",
        "/admin/releases/live",
        {"release": name, "reason": force or "retrain.py", "force": force},
    )
    wait(lambda: call(client, "GET", "/admin/releases/live"), lambda live: live["swap"] is None)
    after = scores(client, collection, asked)
    print(f"live: {name}; {changed(before, after):,} of {len(asked):,} probabilities changed")
    call(client, "POST", "/admin/releases/live/rollback", {"reason": "retrain.py"})
    wait(lambda: call(client, "GET", "/admin/releases/live"), lambda live: live["swap"] is None)
    back = scores(client, collection, asked)
    print(
        f"rolled back to {back['release']}; {changed(before, back):,} probabilities differ from the first"
    )
    if not changed(before, after) or changed(before, back) or back["release"] != before["release"]:
        sys.exit("the answers did not change with the release and back")


def trained(client: httpx.Client, collection: str, recipe: str) -> dict[str, Any]:
    """A training run, at its end. Exits when it made no release."""
    run = call(client, "POST", "/admin/retrain", {"collection": collection, "recipe": recipe})
    run = wait(
        lambda: call(client, "GET", f"/admin/training-runs/{run['id']}"),
        lambda run: run["state"] in OVER,
    )
    if run["state"] != "succeeded":
        sys.exit(f"training run {run['id']}: {run['state']}: {run['error']}")
    print(f"training run {run['id']} made {run['release']}; gate: {run['gate']['outcome']}")
    for reason in run["gate"]["reasons"]:
        print(f"  {reason}")
    return run


def scores(
    client: httpx.Client, collection: str, pairs: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The release that answers, and the probability of each pair."""
    found: list[float] = []
    for _, some in batches(pairs):
        body = {
            "collection": collection,
            "pairs": [{"question1": a, "question2": b} for a, b in some],
        }
        answer = call(client, "POST", "/pair-score", body)
        found += [score["probability"] for score in answer["scores"]]
    return {"release": answer["release"], "probabilities": found}


def changed(before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many probabilities differ by more than rounding."""
    both = zip(before["probabilities"], after["probabilities"], strict=True)
    return sum(abs(one - other) > 1e-4 for one, other in both)


def batches(items: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """Some at a time, and the place of their first."""
    return ((start, items[start : start + BATCH]) for start in range(0, len(items), BATCH))


def wait(look: Any, until: Any) -> dict[str, Any]:
    """The answer, once it is as wanted."""
    while not until(found := look()):
        progress = found.get("swap") or found
        if progress.get("phase") == "failed":
            sys.exit(f"the release failed: {progress['failure']}")
        time.sleep(LOOK_SECONDS)
    return dict(found)


def call(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One request. Exits with the problem's words when it is refused."""
    response = client.request(method, path, json=body)
    if not response.is_success:
        sys.exit(f"{method} {path}: {response.status_code} {response.text}")
    return dict(response.json())


if __name__ == "__main__":
    main()
