"""Texts or pairs in, a model's inputs out: by its tokenizer's core alone, where that makes the same tokens."""

import threading
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.models.tokenizer_core import (
    TRICKY_TEXTS,
    Item,
    TokenizerCore,
    joined,
    shares,
    texts_of,
)
from app.engine.models.tokens import Span, TextTokens, Tokens
from app.engine.text_form import readable

LEAST_TOKENS = 6  # of the first tricky text, by any tokenizer
MARGIN = 128  # tokens beyond the cut that a tokenizer gets to see: how it ends may change the last word's


class ModelTokenizer:
    """Makes a sentence-transformers model's inputs of texts, or of pairs. Safe from any thread.

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
        self._unknown_id: int | None = getattr(model.tokenizer, "unk_token_id", None)
        self._room = _room(model.tokenizer, max_tokens, pairs=pairs)
        self.core = self._same_core(pairs=pairs)

    def tokenize(self, items: Sequence[Item]) -> list[Tokens]:
        """Model inputs of each item."""
        if not items:
            return []
        forms = [_readable(item) for item in items]
        return self.core.tokenize(forms) if self.core else self.by_the_model(forms)

    def see(self, text: str) -> TextTokens:
        """All tokens of a text, however long it is."""
        form = readable(text)
        ids, spans = self._encoded(form)
        unknown = [span for id_, span in zip(ids, spans, strict=True) if id_ == self._unknown_id]
        return TextTokens(form, tuple(ids), tuple(unknown))

    def unread(self, item: Item) -> tuple[Span | None, ...]:
        """Of the text, or of each of a pair, the place in its form that is cut off; None where it is read whole."""
        forms = texts_of(_readable(item))
        bytes_of_all = sum(len(form.encode()) for form in forms)
        if self._room is None or bytes_of_all <= self._room:  # a token is a byte or more
            return (None,) * len(forms)
        spans = [self._encoded(form)[1] for form in forms]
        kept = shares([len(of_text) for of_text in spans], self._room)
        keeps_end = self._model.tokenizer.truncation_side == "left"
        places = []
        for of_text, share in zip(spans, kept, strict=True):
            place = _cut_off(of_text, share, keeps_end=keeps_end)
            places.append(place)
        return tuple(places)

    def by_the_model(self, items: Sequence[Item]) -> list[Tokens]:
        """The same of texts in their form, by the model's own `preprocess`."""
        tokens = []
        with self._lock:
            shortened = [self._shortened(item) for item in items]
            rows = _rows(self._model.preprocess(shortened))
            for item, row in zip(items, rows, strict=True):
                count = len(row["input_ids"])
                is_cut = self._is_cut(item, count)
                unknown = int(np.count_nonzero(row["input_ids"] == self._unknown_id))
                tokens.append(Tokens(joined(item), row, count, is_cut, unknown))
        return tokens

    def _same_core(self, *, pairs: bool) -> "TokenizerCore | None":
        """The core, if it makes the same tokens as the model of texts that are hard to tokenise alike."""
        core = TokenizerCore.of(self._model.tokenizer, self._max_tokens, pairs=pairs)
        if core is None:
            return None
        repetitions = 1 + (self._max_tokens or 0) // LEAST_TOKENS
        long = " ".join(TRICKY_TEXTS[:1] * repetitions)
        texts = [*TRICKY_TEXTS, long]
        items: list[Item] = list(texts)
        if pairs:
            items = list(product(texts, (TRICKY_TEXTS[0], long)))
        by_core = core.tokenize(items)
        by_model = self.by_the_model(items)
        return core if all(map(equal, by_core, by_model)) else None

    def _shortened(self, item: Item) -> Item:
        """A pair without most of the part that will be cut: else its tokenizer makes every combination of the
        pieces."""
        if isinstance(item, str) or self._max_tokens is None or not self._model.tokenizer.is_fast:
            return item
        one, other = item
        spans_of_one = self._spans(one)
        spans_of_other = self._spans(other)
        limit = self._max_tokens + MARGIN
        # The longer one stays so: it is the first to give way.
        is_longer = len(spans_of_one) > len(spans_of_other)
        one = self._start(one, spans_of_one, limit + is_longer)
        return one, self._start(other, spans_of_other, limit + (not is_longer))

    def _encoded(self, text: str) -> tuple[Sequence[int], Sequence[Span]]:
        """The ids and places of all tokens of a text in its form; a slow tokenizer places each anywhere."""
        if self.core:
            return self.core.encode(text)
        with self._lock:
            encoding = self._encoding(text)
        ids = encoding["input_ids"]
        return ids, encoding.get("offset_mapping", [(0, len(text))] * len(ids))

    def _encoding(self, text: str) -> Mapping[str, Any]:
        """All tokens of a text, without special ones."""
        encoding: Mapping[str, Any] = self._model.tokenizer(
            text,
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=self._model.tokenizer.is_fast,
            verbose=False,
        )
        return encoding

    def _spans(self, text: str) -> list[Span]:
        """The first character of each token of a text, and the one after its last."""
        return list(self._encoding(text)["offset_mapping"])

    def _start(self, text: str, spans: Sequence[tuple[int, int]], limit: int) -> str:
        """The text up to so many tokens, or its end from so many, if it is cut at the beginning."""
        if len(spans) <= limit:
            return text
        if self._model.tokenizer.truncation_side == "left":
            return text[spans[-limit][0] :]
        return text[: spans[limit - 1][1]]

    def _is_cut(self, item: Item, count: int) -> bool:
        """Whether the item has more tokens than were kept: only one that fills the limit can have."""
        if self._max_tokens is None or count < self._max_tokens:
            return False
        whole = self._model.tokenizer(*texts_of(item), truncation=False, verbose=False)
        return len(whole["input_ids"]) > count


def _room(tokenizer: Any, max_tokens: int | None, *, pairs: bool) -> int | None:
    """How many tokens of a text, or of both of a pair, are read beside the special ones."""
    if max_tokens is None:
        return None
    return max(0, max_tokens - int(tokenizer.num_special_tokens_to_add(pair=pairs)))


def _cut_off(spans: Sequence[Span], kept: int, *, keeps_end: bool) -> Span | None:
    """The place of the tokens that are not kept."""
    if kept >= len(spans):
        return None
    if keeps_end:
        return 0, spans[len(spans) - kept - 1][1]
    return spans[kept][0], spans[-1][1]


def equal(one: Tokens, other: Tokens) -> bool:
    """Whether both have the same inputs of the model, in the same order."""
    if (one.text, one.count, one.truncated) != (other.text, other.count, other.truncated):
        return False
    if list(one.features) != list(other.features):
        return False
    return all(
        np.array_equal(values, other.features[name]) for name, values in one.features.items()
    )


def _rows(batch: Mapping[str, Any]) -> list[dict[str, NDArray[np.int64]]]:
    """The inputs of each text of a padded batch of tensors, without its padding."""
    mask = batch["attention_mask"].numpy().astype(bool)
    arrays = {}
    for name, value in batch.items():
        if isinstance(value, torch.Tensor) and value.shape == mask.shape:
            arrays[name] = value.numpy()
    rows = []
    for place, is_token in enumerate(mask):
        rows.append({name: array[place][is_token] for name, array in arrays.items()})
    return rows


def _readable(item: Item) -> Item:
    if isinstance(item, str):
        return readable(item)
    one, other = item
    return readable(one), readable(other)
