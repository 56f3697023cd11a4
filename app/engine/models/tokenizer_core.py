"""The core of a tokenizer alone: texts or pairs in, a model's inputs out, in a fifth of the time.

A text is cut after it was tokenised, each of a pair by itself: a tokenizer that cuts a pair also makes every
combination of the pieces that it cuts off, the product of both lengths.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from app.engine.models.tokens import Span, Tokens

Item = str | tuple[str, str]
Ids = NDArray[np.int64]

INPUTS = {"input_ids", "token_type_ids", "attention_mask"}  # that the core can make
FEW = 10  # texts that are not worth waking other cores for
MAX_CHARACTERS = 32_768  # tokenised at a time; bounds memory: a token is a character or more
TRICKY_TEXTS = (
    "Has this question been asked before?",
    "How do I reset my password when I no longer have access to my old email address?",
    "",
    "  Ünïcode,\tİstanbul  und ｆｕｌｌ width?\n",
    "special [CLS] [SEP] [MASK] <s> </s> <mask> tokens",
    "日本語 и кириллица 👩‍👩‍👧 e\u0301 \u200b",
)


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
            belongs_to = {None if is_special else place // 2}
            kinds = set(encoding.type_ids[start:end])
            if not belongs_to.issuperset(texts[start:end]) or len(kinds) > 1:
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
        texts = [texts_of(item) for item in items]
        read = self._read(dict.fromkeys(chain(*texts)))
        tokens = []
        for item, own_texts in zip(items, texts, strict=True):
            of_texts = [read[text] for text in own_texts]
            tokens.append(self._tokens(item, of_texts))
        return tokens

    def _read(self, distinct: Iterable[str]) -> dict[str, _Text]:
        """The tokens of each text, some texts at a time."""
        texts: dict[str, _Text] = {}
        for block in _blocks(distinct):
            for text, encoding in zip(block, self._encoded(block), strict=True):
                ids = encoding.ids
                kept = self._cut(np.array(ids, dtype=np.int64), self._room)
                if len(kept) < len(ids):
                    kept = kept.copy()  # else the others stay in memory
                unknown = 0
                if self._unknown_id is not None:
                    unknown = ids.count(self._unknown_id)
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
        return Tokens(joined(item), features, count, truncated=kept != counts, unknown=unknown)

    def _cut(self, ids: Ids, count: int | None) -> Ids:
        """At most `count` of the ids, where there is a limit."""
        if count is None or len(ids) <= count:
            return ids
        return ids[len(ids) - count :] if self._keeps_end else ids[:count]


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


def texts_of(item: Item) -> tuple[str, ...]:
    """The text, or both of a pair."""
    return (item,) if isinstance(item, str) else item


def joined(item: Item) -> str:
    """The text, or both of a pair as one."""
    return " ".join(texts_of(item))
