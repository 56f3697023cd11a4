"""How many bytes texts have in an answer, so that answers can be bounded before they are made."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TypeVar

MOST_BYTES = 6  # of JSON for one character: a control character is written as \u0001

T = TypeVar("T")


def json_bytes(text: str) -> int:
    """Bytes of a text in JSON (UTF-8), between its quotes."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) - 2


def fit(texts: Sequence[str], max_bytes: int) -> bool:
    """Whether these texts have so many bytes of JSON at most. Those of common size are not encoded for that."""
    if MOST_BYTES * sum(map(len, texts)) <= max_bytes:
        return True
    return sum(map(json_bytes, texts)) <= max_bytes


def text_bytes(record: object) -> int:
    """Bytes of JSON of all texts in a record: a dataclass, a mapping, a list, or a text."""
    if isinstance(record, str):
        return json_bytes(record)
    if isinstance(record, Mapping):
        return sum(map(text_bytes, record.values()))
    if isinstance(record, list | tuple):
        return sum(map(text_bytes, record))
    return sum(map(text_bytes, vars(record).values())) if is_dataclass(record) else 0


def until_full(records: Iterable[T], max_bytes: int) -> Iterator[T]:
    """Records up to the one with which their texts pass `max_bytes`, and always two: who cuts there sees a rest."""
    total = 0
    for place, record in enumerate(records):
        yield record
        total += text_bytes(record)
        if total > max_bytes and place > 0:
            return


def fitting(records: Sequence[T], max_bytes: int) -> Sequence[T]:
    """The first records whose texts have `max_bytes` at most together; the first one in any case."""
    total = 0
    for place, record in enumerate(records):
        total += text_bytes(record)
        if total > max_bytes and place > 0:
            return records[:place]
    return records
