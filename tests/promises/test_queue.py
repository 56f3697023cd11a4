"""When a review queue wants more near pairs, by value."""

from typing import cast

import pytest

from app.promises.pool import NearPair, Pool
from app.promises.queue import Queue


def near(number: int, probability: float) -> NearPair:
    """A pair of this probability."""
    ids, texts = (f"a{number}", f"b{number}"), (f"One {number}?", f"Two {number}?")
    return NearPair(ids, texts, 0.9, 0.0, probability, number.to_bytes(32))


@pytest.mark.parametrize(
    ("probability", "count", "is_short"),
    [(0.9, 9, True), (0.76, 9, True), (0.76, 10, False), (0.74, 500, True), (0.6, 500, True)],
)
def test_it_is_short_where_hardly_a_pair_could_support_a_promise(
    probability: float, count: int, is_short: bool
) -> None:
    """Five hundred pairs little above one half support none."""
    queue = Queue(cast(Pool, None), lambda _: False, lambda: 0.0)
    assert queue.is_short([near(number, probability) for number in range(count)]) == is_short
