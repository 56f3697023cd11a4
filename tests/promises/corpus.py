"""Made questions that the tiny model puts at all distances, and a person who labels them."""

from typing import Any, cast

import numpy as np
from starlette.testclient import TestClient

from app.promises.promises import Promises
from tests.serving import app_of, detector_of, wait_until, write

WORDS = (
    "can i cancel my order today where is the parcel how do we pay for it when will you send a bill"
)


def questions(count: int = 100, seed: int = 0) -> dict[str, str]:
    """Texts by id; every fourth is followed by three that differ from it in one word."""
    lots = np.random.default_rng(seed)
    words = WORDS.split()
    texts: list[str] = []
    while len(texts) < count:
        first = lots.choice(words, 6).tolist()
        texts.append(" ".join(first))
        for _ in range(3):
            other = list(first)
            other[int(lots.integers(6))] = str(lots.choice(words))
            texts.append(" ".join(other))
    distinct = list(dict.fromkeys(texts))[:count]
    return {f"q{number}": f"{text}?" for number, text in enumerate(distinct)}


def promises_of(client: TestClient) -> Promises:
    """The promises of the running app behind a client."""
    return cast(Promises, app_of(client).state.promises)


def queue(client: TestClient, by: str = "anna", limit: int = 5, name: str = "default") -> Any:
    """The answer of the review queue."""
    address = f"/collections/{name}/review-queue"
    answer = client.get(address, params={"by": by, "limit": limit})
    assert answer.status_code == 200, answer.text
    return answer.json()


def evidence(client: TestClient, name: str = "default") -> dict[str, Any]:
    """The answer of the evidence."""
    answer = client.get(f"/collections/{name}/evidence")
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


def thresholds(client: TestClient, name: str = "default") -> dict[str, Any]:
    """Where verdicts begin in a collection."""
    return cast(dict[str, Any], client.get(f"/collections/{name}").json()["thresholds"])


def label(client: TestClient, *pairs: dict[str, Any], by: str = "anna", **said: bool) -> None:
    """Label offered pairs by their texts: as `is_duplicate` says, or by their probability."""
    labels = []
    for pair in pairs:
        texts = [question["text"] for question in pair["questions"]]
        truth = said.get("is_duplicate", pair["probability"] >= 0.5)
        labels.append({"questions": texts, "is_duplicate": truth, "by": by})
    answer = client.post("/labels", json={"labels": labels})
    assert answer.status_code == 200, answer.text


def skip(client: TestClient, pair: dict[str, Any], by: str = "anna") -> None:
    """Say of an offered pair that nobody can tell."""
    answer = client.post(
        "/collections/default/review-queue/skip", json={"by": by, "id": pair["id"]}
    )
    assert answer.status_code == 200, answer.text


def fill(client: TestClient, count: int = 100) -> None:
    """Write questions, and return when their near pairs are known."""
    write(client, **questions(count))
    wait_until(lambda: evidence(client)["near_pairs"]["known"] > count)
    wait_until(lambda: evidence(client)["near_pairs"]["to_read"] == 0)


def label_until_kept(client: TestClient, most: int = 200) -> int:
    """Label what the queue offers until the collection's own labels support its promise; how many that took."""
    given = 0
    while given < most:
        pairs = queue(client, limit=20)["pairs"]
        assert pairs
        label(client, *pairs)
        given += len(pairs)
        wait_until(lambda at=given: counted(client) == at)  # type: ignore[misc]
        wait_until(lambda: derived_of(client) == answered(client))
        if thresholds(client)["source"] == "collection":
            return given
    raise AssertionError("no promise was supported")


def derived_of(client: TestClient) -> int:
    """Of how many answers, skips among them, the thresholds in force were derived."""
    kept = promises_of(client).kept.get(detector_of(client).store.collections.get("default").key)
    return len(kept.standing.evidence.drawn) if kept and kept.standing else 0


def answered(client: TestClient) -> int:
    """How many offered pairs have a label that counts, or were skipped."""
    labels = evidence(client)["labels"]
    return int(labels["counted"]) + int(labels["skipped"])


def counted(client: TestClient) -> int:
    """How many labels count."""
    return int(evidence(client)["labels"]["counted"])
