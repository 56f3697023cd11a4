"""Encoders by turns: questions a second and the time of one, beside a rival's in the same round."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from sentence_transformers import SentenceTransformer

from benchmarks.corpus import say

ONE_AT_A_TIME = 100  # questions for the time of one

Encode = Callable[[Sequence[str]], Any]


def at_its_best(
    model: SentenceTransformer, sample: Sequence[str], batch_sizes: Sequence[int]
) -> Encode:
    """`SentenceTransformer.encode` at the batch size that is the fastest on these texts."""

    def encode(batch_size: int, asked: Sequence[str]) -> Any:
        return model.encode(
            list(asked), batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )

    encode(batch_sizes[0], sample)
    return partial(
        encode,
        min(
            batch_sizes, key=lambda size: min(seconds(partial(encode, size, sample)) for _ in "12")
        ),
    )


def by_turns(
    contenders: Mapping[str, Encode],
    rival: str,
    texts: Sequence[str],
    rounds: int,
    beside: Callable[[str], object] = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Each contender's medians over rounds, and ratios to the rival's figures of the same round.

    `beside` is called with the name of each after its turn, to measure what belongs to the same moment.
    """
    all_of: dict[str, list[float]] = {name: [] for name in contenders}
    one: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, encode in contenders.items():
            all_of[name].append(seconds(partial(encode, texts)))
            one[name].append(
                median(seconds(partial(encode, [text])) for text in texts[:ONE_AT_A_TIME])
            )
            beside(name)
        say(
            f"round {number + 1}: "
            + ", ".join(f"{n} {len(texts) / of[-1]:,.0f}/s" for n, of in all_of.items())
        )
    return {
        name: {
            "per_second": len(texts) / median(all_of[name]),
            "ratio": median(
                theirs / own for theirs, own in zip(all_of[rival], all_of[name], strict=True)
            ),
            "one_p50_ms": 1000 * median(one[name]),
            "one_ratio": median(
                theirs / own for theirs, own in zip(one[rival], one[name], strict=True)
            ),
        }
        for name in contenders
    }


def seconds(action: Callable[[], object]) -> float:
    """How long it took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
