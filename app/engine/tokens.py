"""Texts and pairs as a model's inputs: tokenised once, padded batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

# What a tokenizer's core calls the inputs of a model.
INPUTS = {"input_ids": "ids", "token_type_ids": "type_ids", "attention_mask": "attention_mask"}


@dataclass(frozen=True)
class Tokens:
    """One tokenised text or pair: its model inputs without padding, how many, and whether it was cut."""

    text: str
    features: Mapping[str, NDArray[np.int64]]  # name -> (count,); empty for models that pad nothing
    count: int
    truncated: bool


class DirectTokenizer:
    """A tokenizer's core alone, without the layers that make it one of many kinds: a text takes a fifth of the time.

    Safe from many threads.
    """

    def __init__(self, core: Tokenizer, names: Sequence[str]) -> None:
        """`core` cuts, and does not pad; `names` are the model's inputs."""
        self._core = core
        self._names = names

    @classmethod
    def of(cls, tokenizer: Any, max_tokens: int | None) -> "DirectTokenizer | None":
        """That of a transformers tokenizer, if it has one; what lies beyond `max_tokens` is cut."""
        names = getattr(tokenizer, "model_input_names", ())
        if not getattr(tokenizer, "is_fast", False) or not INPUTS.keys() >= set(names):
            return None
        core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        core.no_padding()
        if max_tokens is None:
            core.no_truncation()
        else:
            core.enable_truncation(max_tokens, direction=tokenizer.truncation_side)
        return cls(core, names)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Model inputs of each text."""
        return [self._tokens(text, encoding) for text, encoding in zip(texts, self._encoded(texts), strict=True)]

    def _encoded(self, texts: Sequence[str]) -> list[Encoding]:
        """Of one text without a look at the other cores: they would take longer to wake."""
        return [self._core.encode(texts[0])] if len(texts) == 1 else self._core.encode_batch(list(texts))

    def _tokens(self, text: str, encoding: Encoding) -> Tokens:
        inputs = {name: np.array(getattr(encoding, INPUTS[name]), dtype=np.int64) for name in self._names}
        return Tokens(text, inputs, len(encoding), truncated=bool(encoding.overflowing))


def equal(one: Tokens, other: Tokens) -> bool:
    """Whether a model sees the same of both, to the order of its inputs."""
    return (one.text, one.count, one.truncated) == (other.text, other.count, other.truncated) and [
        (name, values.tolist()) for name, values in one.features.items()
    ] == [(name, values.tolist()) for name, values in other.features.items()]


def rows(batch: Mapping[str, Any]) -> list[dict[str, NDArray[np.int64]]]:
    """The inputs of each text of a padded batch of tensors, without its padding."""
    mask = batch["attention_mask"].numpy().astype(bool)
    arrays = {name: value.numpy() for name, value in batch.items() if isinstance(value, torch.Tensor)}
    named = {name: array for name, array in arrays.items() if array.shape == mask.shape}
    return [{name: array[row][mask[row]] for name, array in named.items()} for row in range(len(mask))]


def padded(batch: Sequence[Tokens], pad_id: int) -> dict[str, NDArray[np.int64]]:
    """Inputs of n texts as (n, longest) arrays."""
    longest = max(tokens.count for tokens in batch)
    padding = {"input_ids": pad_id}
    arrays = {}
    for name in batch[0].features:
        arrays[name] = np.full((len(batch), longest), padding.get(name, 0), dtype=np.int64)
        for row, tokens in zip(arrays[name], batch, strict=True):
            row[: tokens.count] = tokens.features[name]
    return arrays


def in_batches(
    run: Callable[[Sequence[Tokens]], NDArray[np.float32]], tokens: Sequence[Tokens], batch_size: int
) -> NDArray[np.float32]:
    """The rows that `run` makes of all tokens, in their order, through batches of like length."""
    order = np.argsort([t.count for t in tokens], kind="stable")
    parts = [run([tokens[i] for i in order[start : start + batch_size]]) for start in range(0, len(tokens), batch_size)]
    return np.concatenate(parts)[np.argsort(order, kind="stable")]
