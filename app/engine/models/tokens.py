"""Texts and pairs as a model's inputs: tokenised once (tokenizer.py), padded batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]  # start and end in code points


@dataclass(frozen=True)
class Tokens:
    """One tokenised text or pair: its model inputs without padding, how many, and whether it was cut.

    `text` is the text that the model reads; of a pair, both texts. `unknown` is the number of tokens for characters
    that it can't read.
    """

    text: str
    features: Mapping[str, NDArray[np.int64]]  # name -> (count,); empty for models that pad nothing
    count: int
    truncated: bool
    unknown: int = 0


@dataclass(frozen=True)
class TextTokens:
    """How a tokenizer sees all of one text: the form that it is given, the tokens' ids without special ones, and the
    places of those that stand for what it can't read."""

    form: str
    ids: tuple[int, ...]
    unknown: tuple[Span, ...] = ()

    @property
    def unknown_words(self) -> list[str]:
        """The words that it can't read, in any order; letter case aside."""
        return sorted(self.form[start:end].casefold() for start, end in self.unknown)


def padded(batch: Sequence[Tokens], pad_id: int) -> dict[str, NDArray[np.int64]]:
    """Inputs of n texts as (n, longest) arrays."""
    counts = np.array([tokens.count for tokens in batch])
    is_token = np.arange(counts.max()) < counts[:, None]
    arrays = {}
    for name in batch[0].features:
        padding = pad_id if name == "input_ids" else 0
        array = np.full(is_token.shape, padding, dtype=np.int64)
        array[is_token] = np.concatenate([tokens.features[name] for tokens in batch])
        arrays[name] = array
    return arrays


def in_batches(
    run: Callable[[Sequence[Tokens]], NDArray[np.float32]],
    tokens: Sequence[Tokens],
    batch_size: int,
) -> NDArray[np.float32]:
    """The rows that `run` makes of all tokens, in their order, through batches of like length."""
    order = np.argsort([of_text.count for of_text in tokens], kind="stable")
    parts = []
    for start in range(0, len(tokens), batch_size):
        batch = [tokens[i] for i in order[start : start + batch_size]]
        parts.append(run(batch))
    return np.concatenate(parts)[np.argsort(order, kind="stable")]
