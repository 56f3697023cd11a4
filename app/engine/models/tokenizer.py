"""Texts or pairs in, a model's inputs out: by its tokenizer's core alone, where that makes the same of them.

A text is cut after it was tokenised, each of a pair by itself: a tokenizer that cuts a pair also makes every
combination of the pieces that it cuts off, the product of both lengths.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from app.engine.models.tokens import Span, TextTokens, Tokens
from app.engine.text_form import readable

Item = str | tuple[str, str]
Ids = NDArray[np.int64]

INPUTS = {"input_ids", "token_type_ids", "attention_mask"}  # that the core can make
LEAST_TOKENS = 6  # of the first of the texts below, by any tokenizer
FEW = 10  # texts that are not worth waking other cores for
MAX_CHARACTERS = (
    131_072  # that are tokenised at a time, which bounds memory: a token is a character or more
)
MARGIN = 128  # tokens beyond the cut that a tokenizer gets to see: how it ends may change the last word's
TRICKY_TEXTS = (
    "Has this question been asked before?",
    "How do I reset my password when I no longer have access to my old email address?",
    "",
    "  Ünïcode,\tİstanbul  und ｆｕｌｌ width?\n",
    "special [CLS] [SEP] [MASK] <s> </s> <mask> tokens",
    "日本語 и кириллица 👩‍👩‍👧 e\u0301 \u200b",
)


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
        forms = _texts(_readable(item))
        bytes_of_all = sum(len(form.encode()) for form in forms)
        if self._room is None or bytes_of_all <= self._room:  # a token is a byte or more
            return (None,) * len(forms)
        spans = [self._encoded(form)[1] for form in forms]
        kept = shares([len(of_text) for of_text in spans], self._room)
        keeps_end = self._model.tokenizer.truncation_side == "left"
        return tuple(
            _cut_off(of_text, share, keeps_end=keeps_end)
            for of_text, share in zip(spans, kept, strict=True)
        )

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
                tokens.append(Tokens(_text(item), row, count, is_cut, unknown))
        return tokens

    def _same_core(self, *, pairs: bool) -> "TokenizerCore | None":
        """The core, if it makes the same tokens as the model of texts that are hard to make the same of."""
        core = TokenizerCore.of(self._model.tokenizer, self._max_tokens, pairs=pairs)
        if core is None:
            return None
        repetitions = 1 + (self._max_tokens or 0) // LEAST_TOKENS
        long = " ".join(TRICKY_TEXTS[:1] * repetitions)
        items: list[Item] = [*TRICKY_TEXTS, long]
        if pairs:
            items = [
                (one, other) for one in [*TRICKY_TEXTS, long] for other in (TRICKY_TEXTS[0], long)
            ]
        by_core = core.tokenize(items)
        by_model = self.by_the_model(items)
        return core if all(map(equal, by_core, by_model)) else None

    def _shortened(self, item: Item) -> Item:
        """A pair without most of what will be cut: else its tokenizer makes every combination of the pieces."""
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
        whole = self._model.tokenizer(*_texts(item), truncation=False, verbose=False)
        return len(whole["input_ids"]) > count


@dataclass(frozen=True)
class Frame:
    """The special tokens that stand before, after and, in a pair, between the texts; and the type of all tokens.

    `specials` has their ids, (count,) each. `types`: of the tokens in each place, special ones and a text's by turns.
    """

    specials: Sequence[Ids]
    types: Ids

    @classmethod
    def of(cls, core: Tokenizer, *, pairs: bool) -> "Frame | None":
        """As the core puts it around a text or a pair; None if there is no such order in it."""
        probe = TRICKY_TEXTS[0]
        encoding = core.encode(probe, probe) if pairs else core.encode(probe)
        texts = encoding.sequence_ids  # of each token, and None of special ones
        bounds = [0]
        for text in range(encoding.n_sequences):
            if text not in texts:
                return None
            start = texts.index(text)
            bounds += [start, start + texts.count(text)]
        bounds.append(len(texts))
        specials = []
        types = []
        for place, (start, end) in enumerate(pairwise(bounds)):
            is_special = place % 2 == 0
            belongs_to = None if is_special else place // 2
            kinds = set(encoding.type_ids[start:end])
            if any(text != belongs_to for text in texts[start:end]) or len(kinds) > 1:
                return None
            types.append(kinds.pop() if kinds else 0)
            if is_special:
                specials.append(np.array(encoding.ids[start:end], dtype=np.int64))
        return cls(specials, np.array(types, dtype=np.int64))

    @property
    def count(self) -> int:
        """How many special tokens there are."""
        return sum(len(ids) for ids in self.specials)


@dataclass(frozen=True)
class _Text:
    """The tokens of a text, without special ones: as many of the ids as can ever be kept, and how many there are."""

    ids: Ids
    count: int
    unknown: int


class TokenizerCore:
    """The core of a tokenizer, alone, for texts or for pairs. Safe from many threads."""

    def __init__(
        self,
        core: Tokenizer,
        names: Sequence[str],
        frame: Frame,
        max_tokens: int | None,
        *,
        keeps_end: bool = False,
        unknown_id: int | None = None,
    ) -> None:
        """`core` neither cuts nor pads; `names` are the model's inputs. `keeps_end`: a text is cut at its beginning.
        `unknown_id` is that of a token for what can't be read."""
        self._core = core
        self._names = names
        self._frame = frame
        self._room = None if max_tokens is None else max(0, max_tokens - frame.count)
        self._keeps_end = keeps_end
        self._unknown_id = unknown_id

    @classmethod
    def of(cls, tokenizer: Any, max_tokens: int | None, *, pairs: bool) -> "TokenizerCore | None":
        """That of a transformers tokenizer, if it has one; what lies beyond `max_tokens` is cut."""
        names = getattr(tokenizer, "model_input_names", ())
        if not getattr(tokenizer, "is_fast", False) or not set(names) <= INPUTS:
            return None
        core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        core.no_padding()
        core.no_truncation()
        frame = Frame.of(core, pairs=pairs)
        if frame is None:
            return None
        keeps_end = tokenizer.truncation_side == "left"
        unknown_id = getattr(tokenizer, "unk_token_id", None)
        return cls(core, names, frame, max_tokens, keeps_end=keeps_end, unknown_id=unknown_id)

    def tokenize(self, items: Sequence[Item]) -> list[Tokens]:
        """Model inputs of each item."""
        texts = self._read(dict.fromkeys(text for item in items for text in _texts(item)))
        return [self._tokens(item, [texts[text] for text in _texts(item)]) for item in items]

    def _read(self, distinct: Iterable[str]) -> dict[str, _Text]:
        """The tokens of each text, some texts at a time."""
        texts: dict[str, _Text] = {}
        for block in _blocks(distinct):
            for text, encoding in zip(block, self._encoded(block), strict=True):
                ids = encoding.ids
                kept = self._cut(np.array(ids, dtype=np.int64), self._room)
                kept = kept.copy() if len(kept) < len(ids) else kept
                unknown = 0 if self._unknown_id is None else ids.count(self._unknown_id)
                texts[text] = _Text(kept, len(ids), unknown)
        return texts

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[Span]]:
        """The ids and places of all tokens of a text, without special ones."""
        encoding = self._core.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def _encoded(self, texts: Sequence[str]) -> list[Encoding]:
        """Of a few without a look at the other cores: they would take longer to wake."""
        if len(texts) > FEW:
            return self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._core.encode(text, add_special_tokens=False) for text in texts]

    def _tokens(self, item: Item, texts: Sequence[_Text]) -> Tokens:
        counts = [text.count for text in texts]
        kept = shares(counts, self._room)
        lengths = [len(self._frame.specials[0])]
        parts = [self._frame.specials[0]]
        for text, share, special in zip(texts, kept, self._frame.specials[1:], strict=True):
            parts += [self._cut(text.ids, share), special]
            lengths += [share, len(special)]
        count = sum(lengths)
        features = {}
        for name in self._names:
            if name == "input_ids":
                features[name] = np.concatenate(parts)
            elif name == "token_type_ids":
                features[name] = np.repeat(self._frame.types, lengths)
            else:  # nothing is padded here
                features[name] = np.ones(count, dtype=np.int64)
        unknown = sum(text.unknown for text in texts)
        return Tokens(_text(item), features, count, truncated=kept != counts, unknown=unknown)

    def _cut(self, ids: Ids, count: int | None) -> Ids:
        """At most `count` of the ids, where there is a limit."""
        if count is None or len(ids) <= count:
            return ids
        return ids[len(ids) - count :] if self._keeps_end else ids[:count]


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


def shares(counts: Sequence[int], room: int | None) -> list[int]:
    """How many tokens are kept of a text, or of each of two, to be `room` in all.

    Of two the longer one gives way until both are equally long, then both do; the odd token is left to the longer,
    and to the second of two equal ones. So does `longest_first` of Hugging Face's tokenizers
    (https://huggingface.co/docs/tokenizers/api/encode-inputs).
    """
    if room is None or sum(counts) <= room:
        return list(counts)
    if len(counts) == 1:
        return [room]
    first, second = counts
    half = room // 2
    shorter = min(first, second, half)
    longer = room - shorter
    return [shorter, longer] if first <= second else [longer, shorter]


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of at most MAX_CHARACTERS, or of one text."""
    block: list[str] = []
    characters = 0
    for text in texts:
        if block and characters + len(text) > MAX_CHARACTERS:
            yield block
            block = []
            characters = 0
        block.append(text)
        characters += len(text)
    if block:
        yield block


def equal(one: Tokens, other: Tokens) -> bool:
    """Whether a model sees the same of both, to the order of its inputs."""
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


def _texts(item: Item) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item


def _text(item: Item) -> str:
    return " ".join(_texts(item))
