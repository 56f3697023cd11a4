"""Batches of texts of like length, so that little of a batch is padding, and no text twice in one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import RandomSampler

POOL = 50  # batches whose rows are sorted by length together


class LengthSortedBatches(DefaultBatchSampler):
    """Rows in random order, sorted by length within pools of 50 batches; the batches of a pool in random order.

    A text stands once in a batch: what duplicates each other would be taken for negatives there.
    """

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, **settings: Any) -> None:
        sampler: Any = RandomSampler(dataset, generator=settings["generator"])
        super().__init__(sampler, batch_size, drop_last, **settings)
        columns = [
            dataset[name][:]
            for name, feature in dataset.features.items()
            if feature.dtype == "string"
        ]
        self._lengths = np.sum([[len(text) for text in column] for column in columns], axis=0)
        self._texts = [frozenset(texts) for texts in zip(*columns, strict=True)]

    def __iter__(self) -> Iterator[list[int]]:
        rows = np.fromiter(iter(self.sampler), dtype=np.int64)
        for start in range(0, len(rows), POOL * self.batch_size):
            pool = rows[start : start + POOL * self.batch_size]
            batches = list(self._cut(pool[np.argsort(self._lengths[pool], kind="stable")].tolist()))
            for number in torch.randperm(len(batches), generator=self.generator).tolist():
                if len(batches[number]) == self.batch_size or not self.drop_last:
                    yield batches[number]

    def _cut(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """Batches in this order; a row with a text that its batch has already goes into the next."""
        while rows:
            batch: list[int] = []
            seen: set[str] = set()
            later: list[int] = []
            for place, row in enumerate(rows):
                if len(batch) == self.batch_size:
                    later += rows[place:]
                    break
                if seen.isdisjoint(self._texts[row]):
                    batch.append(row)
                    seen |= self._texts[row]
                else:
                    later.append(row)
            yield batch
            rows = later
