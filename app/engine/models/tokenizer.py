"""Texts or pairs in, a model's inputs out: by its tokenizer's core alone, where that makes the same of them."""

import threading
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from app.engine.models.tokens import Tokens

Item = str | tuple[str, str]

# What a tokenizer's core calls the inputs of a model.
INPUTS = {"input_ids": "ids", "token_type_ids": "type_ids", "attention_mask": "attention_mask"}
LEAST_TOKENS = 6  # of the first of the texts below, by any tokenizer
FEW = 5  # items that are not worth waking other cores for
TRICKY_TEXTS = (
    "Has this question been asked before?",
    "How do I reset my password when I no longer have access to my old email address?",
    "",
    "  Ünïcode,\tİstanbul  und ｆｕｌｌ width?\n",
    "special [CLS] [SEP] [MASK] <s> </s> <mask> tokens",
    "日本語 и кириллица 👩‍👩‍👧 e\u0301 \u200b",
)


class ModelTokenizer:
    """What a sentence-transformers model makes of texts, or of pairs. Safe from any thread.

    The model's `preprocess` goes through layers that make its tokenizer one of many kinds. The core by itself takes a
    fifth of the time; it is used if it makes the same tokens of items that leave little room for another way of
    cutting, stripping, folding or special tokens.
    """

    def __init__(self, model: Any, max_tokens: int | None, *, pairs: bool = False) -> None:
        """`model` has `preprocess` and `tokenizer`; what lies beyond `max_tokens` is cut, of a pair the longer text
        first."""
        self._model = model
        self._max_tokens = max_tokens
        self._lock = threading.Lock()  # a tokenizer keeps how to cut and pad in itself
        self.core = self._without_detours(pairs=pairs)

    def tokenize(self, items: Sequence[Item]) -> list[Tokens]:
        """Model inputs of each item."""
        if not items:
            return []
        return self.core.tokenize(items) if self.core else self.by_the_model(items)

    def by_the_model(self, items: Sequence[Item]) -> list[Tokens]:
        """The same by the model's own `preprocess`."""
        with self._lock:
            return [
                Tokens(
                    _text(item),
                    row,
                    count := len(row["input_ids"]),
                    truncated=self._is_cut(item, count),
                )
                for item, row in zip(items, _rows(self._model.preprocess(list(items))), strict=True)
            ]

    def _without_detours(self, *, pairs: bool) -> "TokenizerCore | None":
        core = TokenizerCore.of(self._model.tokenizer, self._max_tokens)
        if core is None:
            return None
        long = " ".join(TRICKY_TEXTS[:1] * (1 + (self._max_tokens or 0) // LEAST_TOKENS))
        texts = [*TRICKY_TEXTS, long]
        items: list[Item] = [(a, b) for a in texts for b in (texts[0], long)] if pairs else [*texts]
        same = all(map(equal, core.tokenize(items), self.by_the_model(items)))
        return core if same else None

    def _is_cut(self, item: Item, count: int) -> bool:
        """Whether the item has more tokens than were kept: only one that fills the limit can have."""
        if self._max_tokens is None or count < self._max_tokens:
            return False
        texts = (item,) if isinstance(item, str) else item
        return (
            len(self._model.tokenizer(*texts, truncation=False, verbose=False)["input_ids"]) > count
        )


class TokenizerCore:
    """The core of a tokenizer, alone. Safe from many threads."""

    def __init__(self, core: Tokenizer, names: Sequence[str]) -> None:
        """`core` cuts, and does not pad; `names` are the model's inputs."""
        self._core = core
        self._names = names

    @classmethod
    def of(cls, tokenizer: Any, max_tokens: int | None) -> "TokenizerCore | None":
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

    def tokenize(self, items: Sequence[Item]) -> list[Tokens]:
        """Model inputs of each item, as parts of one array for all."""
        encodings = self._encoded(items)
        ends = list(accumulate(map(len, encodings), initial=0))
        flat = {name: self._flat(name, encodings, ends[-1]) for name in self._names}
        return [
            Tokens(
                _text(item),
                {name: values[start:end] for name, values in flat.items()},
                end - start,
                truncated=bool(encoding.overflowing),
            )
            for item, encoding, (start, end) in zip(items, encodings, pairwise(ends), strict=True)
        ]

    def _encoded(self, items: Sequence[Item]) -> list[Encoding]:
        """Of a few without a look at the other cores: they would take longer to wake."""
        return (
            self._core.encode_batch_fast(list(items))
            if len(items) > FEW
            else list(map(self._encode, items))
        )

    def _encode(self, item: Item) -> Encoding:
        return self._core.encode(item) if isinstance(item, str) else self._core.encode(*item)

    def _flat(self, name: str, encodings: Sequence[Encoding], count: int) -> NDArray[np.int64]:
        """One input of all items, (count,)."""
        if name == "attention_mask":  # nothing is padded here
            return np.ones(count, dtype=np.int64)
        inputs = chain.from_iterable(getattr(encoding, INPUTS[name]) for encoding in encodings)
        return np.fromiter(inputs, np.int64, count)


def equal(one: Tokens, other: Tokens) -> bool:
    """Whether a model sees the same of both, to the order of its inputs."""
    return (one.text, one.count, one.truncated) == (other.text, other.count, other.truncated) and [
        (name, values.tolist()) for name, values in one.features.items()
    ] == [(name, values.tolist()) for name, values in other.features.items()]


def _rows(batch: Mapping[str, Any]) -> list[dict[str, NDArray[np.int64]]]:
    """The inputs of each text of a padded batch of tensors, without its padding."""
    mask = batch["attention_mask"].numpy().astype(bool)
    arrays = {
        name: value.numpy() for name, value in batch.items() if isinstance(value, torch.Tensor)
    }
    named = {name: array for name, array in arrays.items() if array.shape == mask.shape}
    return [
        {name: array[row][mask[row]] for name, array in named.items()} for row in range(len(mask))
    ]


def _text(item: Item) -> str:
    return item if isinstance(item, str) else " ".join(item)
