"""Recent vectors by value: what counts as the same text, what is kept, and what makes room."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.engine.models.embedding_cache import RecentVectors
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens


def tokens(*ids: int, text: str = "?", types: int = 0) -> Tokens:
    features = {"input_ids": np.array(ids), "token_type_ids": np.full(len(ids), types)}
    return Tokens(text, features, len(ids), truncated=False)


def vector(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(4, value, dtype=np.float32)


def held(recent: RecentVectors, *asked: Tokens) -> list[float | None]:
    return [None if found is None else float(found[0]) for found in recent.get(asked)]


def test_what_was_kept_is_given_again_to_the_bit() -> None:
    recent = RecentVectors(10)
    kept = np.array([0.1, -0.0, np.float32(1) / 3, 1e-40], dtype=np.float32)
    recent.keep([tokens(1, 2)], [kept])
    (found,) = recent.get([tokens(1, 2)])
    assert found is not None
    assert (found.tobytes(), found.dtype) == (kept.tobytes(), kept.dtype)
    assert (recent.hits, recent.misses, len(recent)) == (1, 0, 1)


@pytest.mark.parametrize(
    "other",
    [
        tokens(1),
        tokens(1, 2, 0),
        tokens(2, 1),
        tokens(1, 2, types=1),
        tokens(1, 2 + 2**32),
        tokens(),
    ],
    ids=["shorter", "longer", "turned round", "other types", "high bits", "no inputs"],
)
def test_what_the_model_can_tell_apart_is_another_text(other: Tokens) -> None:
    recent = RecentVectors(10)
    recent.keep([tokens(1, 2)], [vector(1)])
    assert held(recent, other, tokens(1, 2)) == [None, 1]


def test_what_the_model_can_not_tell_apart_is_the_same_text(tiny_encoder: Encoder) -> None:
    one, other, third = tiny_encoder.tokenize(["How old?", "  how OLD ?", "How old!"])
    recent = RecentVectors(10)
    recent.keep([one], [vector(1)])
    assert held(recent, other, third) == [1, None]


def test_a_model_without_inputs_knows_texts_by_their_letters() -> None:
    recent = RecentVectors(10)
    lower, upper = (Tokens(text, {}, 1, truncated=False) for text in ("how old?", "How old?"))
    recent.keep([lower], [vector(1)])
    assert held(recent, lower, upper) == [1, None]


def test_what_was_not_used_for_longest_makes_room() -> None:
    recent = RecentVectors(3)
    recent.keep([tokens(1), tokens(2), tokens(3)], [vector(1), vector(2), vector(3)])
    assert held(recent, tokens(1)) == [1]
    recent.keep([tokens(4)], [vector(4)])
    assert (held(recent, *map(tokens, (1, 2, 3, 4))), len(recent)) == ([1, None, 3, 4], 3)


def test_none_are_kept_where_none_may_be() -> None:
    recent = RecentVectors(0)
    recent.keep([tokens(1)], [vector(1)])
    assert (held(recent, tokens(1)), len(recent), recent.hits, recent.misses) == ([None], 0, 0, 0)


def test_what_is_kept_is_no_part_of_a_batch_and_can_not_be_changed() -> None:
    recent = RecentVectors(10)
    batch = np.ones((100, 4), dtype=np.float32)
    recent.keep([tokens(1)], [batch[0]])
    batch[:] = 7
    (found,) = recent.get([tokens(1)])
    assert found is not None
    assert (found.base, found.tolist()) == (None, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 2


def test_many_threads_find_their_own_vectors_within_the_bound() -> None:
    recent = RecentVectors(50)
    start = threading.Barrier(8)

    def use(offset: int) -> int:
        start.wait()
        found = 0
        for number in range(2000):
            value = (number * 7 + offset) % 120
            (kept,) = recent.get([tokens(value)])
            assert kept is None or kept.tolist() == [value] * 4
            found += kept is not None
            recent.keep([tokens(value)], [vector(value)])
            assert len(recent) <= 50
        return found

    with ThreadPoolExecutor(8) as pool:
        found = sum(pool.map(use, range(8)))
    assert (recent.hits, recent.hits + recent.misses, len(recent)) == (found, 8 * 2000, 50)
