"""Batches of texts of like length, so that little of a batch is padding, with every row in one batch of an epoch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Value
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler

POOL = 50  # batches whose rows are sorted by length together


class LengthSortedBatches(DefaultBatchSampler):
    """Rows in random order, sorted by length within pools of 50 batches; the batches of a pool in random order.

    All batches but the last are full: the trainer counts on `len`, and drops what comes after so many. The order hangs
    on the seed and the epoch alone, so that a training goes on in any epoch with what it has not seen.

    Where a loss has in-batch negatives, a text stands once in a batch: beside another row it would be taken for a
    negative. A text of more rows than its pool has batches is spread over all evenly. There such a loss shares the
    probability among the rows of that text, which still pulls each towards it (as in Khosla et al., "Supervised
    Contrastive Learning", 2020). Batches without any repeat would be many and small, with few negatives or none.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        *,
        in_batch_negatives: bool,
        **settings: Any,
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, **settings)
        columns = _text_columns(dataset)
        self._lengths = np.zeros(len(dataset), dtype=np.int64)
        for column in columns:
            self._lengths += [len(text) for text in column]
        self._texts: list[frozenset[str]] | None = None
        if in_batch_negatives:
            self._texts = [frozenset(texts) for texts in zip(*columns, strict=True)]

    def __iter__(self) -> Iterator[list[int]]:
        chances = torch.Generator()
        chances.manual_seed(self.seed + self.epoch)
        rows = torch.randperm(len(self._lengths), generator=chances)
        for pool in torch.split(rows, POOL * self.batch_size):
            full = len(pool) // self.batch_size
            batches = self._batches(pool.numpy())
            order = torch.randperm(full, generator=chances)
            for number in order.tolist():
                yield batches[number]
            if not self.drop_last:
                yield from batches[full:]

    def _batches(self, pool: NDArray[np.int64]) -> list[list[int]]:
        """The pool's rows, sorted by length and cut; where texts stand again, their rows are spread."""
        by_length = np.argsort(self._lengths[pool], kind="stable")
        rows: list[int] = pool[by_length].tolist()
        if self._texts is None:
            starts = range(0, len(rows), self.batch_size)
            return [rows[start : start + self.batch_size] for start in starts]
        return self._spread(rows, self._texts)

    def _spread(
        self,
        rows: Sequence[int],
        texts: Sequence[AbstractSet[str]],
    ) -> list[list[int]]:
        """Rows in batches, each near its place by length where no text of it stands; the most frequent texts first."""
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update(texts[row])
        batches: list[_Batch] = []
        homes: dict[int, int] = {}
        often: dict[int, int] = {}
        for place, row in enumerate(rows):
            if place % self.batch_size == 0:
                left = len(rows) - place
                room = min(self.batch_size, left)
                batches.append(_Batch(len(batches), room))
            homes[row] = batches[-1].number
            often[row] = max(map(counts.__getitem__, texts[row]))
        for row in sorted(rows, key=often.__getitem__, reverse=True):
            batch = _choose(batches, homes[row], texts[row])
            batch.rows.append(row)
            batch.texts.update(texts[row])
        return [batch.rows for batch in batches]


@dataclass
class _Batch:
    """A batch that is filled: its number, its size, its rows, and how often each text stands in it."""

    number: int
    size: int
    rows: list[int] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)

    @property
    def has_room(self) -> bool:
        return len(self.rows) < self.size

    def repeats(self, texts: AbstractSet[str]) -> int:
        """How often the texts stand in it."""
        of_each = map(self.texts.__getitem__, texts)
        return sum(of_each)


def _choose(
    batches: Sequence[_Batch],
    home: int,
    texts: AbstractSet[str],
) -> _Batch:
    """The batch with room in which the texts stand least often; of several the one next to `home`."""
    at_home = batches[home]
    if at_home.has_room and not at_home.repeats(texts):
        return at_home
    with_room = [batch for batch in batches if batch.has_room]
    with_room.sort(key=lambda batch: abs(batch.number - home))
    return min(with_room, key=lambda batch: batch.repeats(texts))


def _text_columns(dataset: Dataset) -> list[list[str]]:
    columns = []
    for name, feature in dataset.features.items():
        if feature == Value("string"):
            columns.append(dataset[name][:])
    return columns
