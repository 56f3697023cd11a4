"""Walks from no labels to a promised precision, over HTTP: a support desk's questions, and a person who labels them.

    python examples/promise.py [--url http://127.0.0.1:8000] [--target 0.95] [--domains saas_accounts_billing …]

All texts of some written domains become the questions of a collection. The review queue is asked for pairs, and each is
labelled as the data set has it, until the labels support the target. A server that asks for a key finds it in
SAMEASK_KEY. The shipped release has learnt from texts of these domains: your own questions will take more labels.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from training.written import Cluster, read_clusters

DOMAINS = (
    "ecommerce_orders_returns",
    "saas_accounts_billing",
    "telecom_internet_provider",
    "online_payments_wallets",
    "retail_banking_cards",
    "email_calendar_office_suite",
    "security_privacy_passwords",
    "printers_phones_hardware",
    "travel_flights_hotels",
    "events_tickets_venues",
)
BATCH = 100
AT_ONCE = 20  # pairs that are fetched, and then labelled
LOOK_SECONDS = 0.2
HEADER = "| labels | `duplicate` from | set by | precision at least | recall | labels lacking |"


@dataclass(frozen=True)
class Walk:
    """The walk: its collection, its target, and the most labels that may be given."""

    collection: str
    target: float
    most: int


def main() -> None:
    """Take each step, and print a line with its outcome."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--collection", default="support-desk")
    parser.add_argument("--target", type=float, default=0.95, help="the precision to be promised")
    parser.add_argument("--domains", nargs="*", default=DOMAINS, help="of the written questions")
    parser.add_argument("--clusters", type=int, default=1000, help="of each domain at most")
    parser.add_argument("--most", type=int, default=2500, help="labels to give at most")
    arguments = parser.parse_args()
    key = os.environ.get("SAMEASK_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    meanings = meanings_of(arguments.domains, arguments.clusters)
    walk = Walk(arguments.collection, arguments.target, arguments.most)
    with httpx.Client(base_url=arguments.url, headers=headers, timeout=120) as client:
        import_questions(client, walk, list(meanings))
        if not label_until_kept(client, walk, meanings):
            sys.exit(f"{walk.most} labels were not enough")


def meanings_of(domains: Sequence[str], most: int) -> dict[str, str]:
    """The meaning of each text: texts of one meaning are duplicates."""
    clusters = [*read_clusters("train"), *read_clusters("calibration")]
    meanings: dict[str, str] = {}
    for domain in domains:
        own = [cluster for cluster in clusters if cluster.domain == domain][:most]
        for number, cluster in enumerate(own):
            meanings |= _of_cluster(cluster, f"{domain} {number}")
    return meanings


def _of_cluster(cluster: Cluster, name: str) -> dict[str, str]:
    meanings = dict.fromkeys(cluster.same, name)
    for place, near in enumerate(cluster.near_misses):
        meanings[near.text] = f"{name} near-miss {place}"
        if near.twin:
            meanings[near.twin] = f"{name} near-miss {place}"
    return meanings


def import_questions(client: httpx.Client, walk: Walk, texts: Sequence[str]) -> None:
    """Make the collection with its target, write the questions, and wait until their near pairs are known."""
    call(client, "PUT", f"/collections/{walk.collection}", {"target_precision": walk.target})
    for start in range(0, len(texts), BATCH):
        some = enumerate(texts[start : start + BATCH], start)
        questions = [{"id": f"q{number}", "text": text} for number, text in some]
        call(client, "POST", "/questions", {"collection": walk.collection, "questions": questions})
    print(f"imported {len(texts):,} questions", flush=True)
    near = evidence(client, walk)["near_pairs"]
    while near["to_read"]:
        time.sleep(LOOK_SECONDS)
        near = evidence(client, walk)["near_pairs"]
    print(f"found {near['known']:,} near pairs", flush=True)


def label_until_kept(client: httpx.Client, walk: Walk, meanings: Mapping[str, str]) -> bool:
    """Label the pairs that the queue offers until the labels support the target; whether they do."""
    print(f"\n{HEADER}\n|---|---|---|---|---|---|")
    given = 0
    state = evidence(client, walk)
    show(given, state)
    while state["promise"]["duplicate"] is None and given < walk.most:
        address = f"/collections/{walk.collection}/review-queue?by=anna&limit={AT_ONCE}"
        pairs = call(client, "GET", address)["pairs"]
        if not pairs:
            return False
        labels = [label_of(pair, meanings) for pair in pairs]
        call(client, "POST", "/labels", {"collection": walk.collection, "labels": labels})
        given += len(labels)
        state = evidence(client, walk)
        while state["labels"]["counted"] < given:
            time.sleep(LOOK_SECONDS)
            state = evidence(client, walk)
        show(given, state)
    return state["promise"]["duplicate"] is not None


def label_of(pair: dict[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    """The label that a person gives an offered pair."""
    one, other = (question["text"] for question in pair["questions"])
    is_duplicate = meanings[one] == meanings[other]
    return {"questions": [one, other], "is_duplicate": is_duplicate, "by": "anna"}


def evidence(client: httpx.Client, walk: Walk) -> dict[str, Any]:
    """The evidence of the labels by now."""
    return call(client, "GET", f"/collections/{walk.collection}/evidence")


def show(given: int, state: dict[str, Any]) -> None:
    """One row of the table."""
    promise, thresholds = state["promise"], state["thresholds"]
    cells = [
        given,
        _number(thresholds["duplicate"]),
        thresholds["source"],
        _number(promise["precision_bound"]),
        _number(promise["recall"]),
        "?" if promise["lacking"] is None else promise["lacking"],
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def call(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One request, tried again while the service says that it is not ready. Exits with the problem's words."""
    response = client.request(method, path, json=body)
    while response.status_code == 503:
        time.sleep(LOOK_SECONDS)
        response = client.request(method, path, json=body)
    if not response.is_success:
        sys.exit(f"{method} {path}: {response.status_code} {response.text}")
    return dict(response.json())


if __name__ == "__main__":
    main()
