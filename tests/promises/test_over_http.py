"""A promise over HTTP: wishes, the review queue, labels, and thresholds that follow them."""

from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from tests.serving import PROBLEM, wait_until, write

RANGE = "must be above 0.5 and at most 0.999"


def questions(count: int) -> dict[str, str]:
    """Texts of which some are near each other by the tiny model."""
    return {f"q{n}": f"Can I cancel my order number {n} today?" for n in range(count)}


def queue(client: TestClient, by: str = "anna", limit: int = 5, name: str = "default") -> Any:
    """The answer of the review queue, once the near pairs are known."""
    address = f"/collections/{name}/review-queue"
    answer = client.get(address, params={"by": by, "limit": limit})
    assert answer.status_code == 200, answer.text
    return answer.json()


def evidence(client: TestClient, name: str = "default") -> dict[str, Any]:
    """The answer of the evidence."""
    answer = client.get(f"/collections/{name}/evidence")
    assert answer.status_code == 200, answer.text
    return cast(dict[str, Any], answer.json())


def label(client: TestClient, pair: dict[str, Any], is_duplicate: bool, by: str = "anna") -> Any:
    """Label an offered pair by its texts."""
    texts = [question["text"] for question in pair["questions"]]
    one = {"questions": texts, "is_duplicate": is_duplicate, "by": by}
    answer = client.post("/labels", json={"labels": [one]})
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_pairs(client: TestClient) -> None:
    """Return when the near pairs of the default collection have all been looked for."""
    wait_until(lambda: evidence(client)["near_pairs"]["to_read"] == 0)


def test_wishes_are_kept_and_taken_back(client: TestClient) -> None:
    wishes = {"target_precision": 0.95, "url_template": "https://forum.example/t/{id}"}
    made = client.put("/collections/faq", json=wishes)
    assert made.status_code == 201
    assert made.json() | wishes == made.json()
    assert made.json()["review_recall"] is None
    changed = client.put("/collections/faq", json={"review_recall": 0.9})
    assert changed.json() == client.get("/collections/faq").json()
    assert changed.json() | wishes | {"review_recall": 0.9} == changed.json()
    back = client.put("/collections/faq", json={"target_precision": None})
    assert (back.status_code, back.json()["target_precision"]) == (200, None)
    assert client.put("/collections/faq").json() == back.json()


@pytest.mark.parametrize("target", [0.5, 0.9991, 1, 0, -0.9, 95])
def test_a_target_out_of_its_range_is_refused_with_the_range(
    client: TestClient, target: float
) -> None:
    answer = client.put("/collections/faq", json={"target_precision": target})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["errors"] == [{"field": "target_precision", "detail": RANGE}]
    assert client.get("/collections/faq").status_code == 404


def test_two_moderators_get_different_pairs_and_the_same_one_its_own_again(
    client: TestClient,
) -> None:
    write(client, **questions(12))
    wait_for_pairs(client)
    annas, bens = queue(client, "anna"), queue(client, "ben")
    assert len(annas["pairs"]) == len(bens["pairs"]) == 5
    ids = {pair["id"] for pair in annas["pairs"]}
    assert ids.isdisjoint(pair["id"] for pair in bens["pairs"])
    assert ids == {pair["id"] for pair in queue(client, "anna")["pairs"]}
