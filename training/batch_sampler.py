"""Batches of texts of like length, so that little of a batch is padding, and no text twice in one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Value
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import RandomSampler

POOL = 50  # batches whose rows are sorted by length together


class LengthSortedBatches(DefaultBatchSampler):
    """Rows in random order, sorted by length within pools of 50 batches; the batches of a pool in random order.

    A text stands once in a batch: duplicates of it would be taken for negatives there.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        **settings: Any,
    ) -> None:
        sampler: Any = RandomSampler(dataset, generator=settings["generator"])
        super().__init__(sampler, batch_size, drop_last, **settings)
        columns = _text_columns(dataset)
        self._lengths = np.zeros(len(dataset), dtype=np.int64)
        for column in columns:
            self._lengths += [len(text) for text in column]
        self._texts = [frozenset(texts) for texts in zip(*columns, strict=True)]

    def __iter__(self) -> Iterator[list[int]]:
        rows = np.fromiter(iter(self.sampler), dtype=np.int64)
        pool_size = POOL * self.batch_size
        for start in range(0, len(rows), pool_size):
            batches = self._batches(rows[start : start + pool_size])
            for number in torch.randperm(len(batches), generator=self.generator).tolist():
                batch = batches[number]
                if len(batch) == self.batch_size or not self.drop_last:
                    yield batch

    def _batches(self, pool: NDArray[np.int64]) -> list[list[int]]:
        """The pool's rows, sorted by length and cut; a row whose text its batch has already goes into a later one."""
        by_length = np.argsort(self._lengths[pool], kind="stable")
        rows: list[int] = pool[by_length].tolist()
        batches: list[list[int]] = []
        while rows:
            batch, rows = self._first_batch(rows)
            batches.append(batch)
        return batches

    def _first_batch(self, rows: Sequence[int]) -> tuple[list[int], list[int]]:
        """The first rows that share no text, and the rows that are left."""
        batch: list[int] = []
        later: list[int] = []
        texts: set[str] = set()
        for place, row in enumerate(rows):
            if len(batch) == self.batch_size:
                return batch, [*later, *rows[place:]]
            if texts.isdisjoint(self._texts[row]):
                batch.append(row)
                texts |= self._texts[row]
            else:
                later.append(row)
        return batch, later


def _text_columns(dataset: Dataset) -> list[list[str]]:
    columns = []
    for name, feature in dataset.features.items():
        if feature == Value("string"):
            columns.append(dataset[name][:])
    return columns
