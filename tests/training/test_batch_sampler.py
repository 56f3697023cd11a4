"""An epoch's batches: every row once, all full, texts apart where a loss has in-batch negatives, each epoch its own."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from training.batch_sampler import LengthSortedBatches
from training.objectives import OBJECTIVES, SCALE, ObjectiveName
from training.progress_writer import ProgressWriter, TrainerProgress

Pairs = Sequence[tuple[str, str]]


def sampler(
    pairs: Pairs, batch_size: int = 64, *, in_batch_negatives: bool = True
) -> LengthSortedBatches:
    first, second = zip(*pairs, strict=True)
    return LengthSortedBatches(
        Dataset.from_dict({"sentence1": first, "sentence2": second}),
        batch_size,
        drop_last=False,
        in_batch_negatives=in_batch_negatives,
        generator=torch.Generator(),
        seed=20,
    )


def star(spokes: int, hub: str = "hub") -> list[tuple[str, str]]:
    return [(hub, f"{hub} {number} {'x' * (number % 50)}") for number in range(spokes)]


def others(count: int) -> list[tuple[str, str]]:
    return [(f"a{number} {'y' * (number % 40)}", f"b{number}") for number in range(count)]


SHAPES = {
    "questions and their wordings": [
        pair for n in range(10) for pair in star(40, f"canonical {n}")
    ],
    "a long question in many pairs": [*star(300, "hub " * 20), *others(4_000)],
    "one question in all": star(400),
    "none twice": others(500),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_batch_negatives", [True, False])
def test_an_epoch_sees_every_row_once_in_as_many_batches_as_it_says(
    shape: str, in_batch_negatives: bool
) -> None:
    pairs = SHAPES[shape]
    batches = sampler(pairs, in_batch_negatives=in_batch_negatives)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert sorted(row for batch in drawn for row in batch) == list(range(len(pairs)))
    assert {len(batch) for batch in drawn[:-1]} == {64}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_text_stands_in_a_batch_as_seldom_as_can_be(shape: str) -> None:
    """Once where its pool has a batch for each of its rows; else evenly in all."""
    pairs = SHAPES[shape]
    for batch in sampler(pairs):
        counts = Counter(text for row in batch for text in set(pairs[row]))
        ((text, count),) = counts.most_common(1)
        rows = sum(text in pair for pair in pairs)
        full = min(50, len(pairs) // 64)
        assert count <= -(-rows // full)


def test_the_rows_of_a_batch_are_of_like_length() -> None:
    pairs = SHAPES["a long question in many pairs"]
    lengths = np.array([sum(map(len, pair)) for pair in pairs])
    spreads = [lengths[batch].std() for batch in sampler(pairs, in_batch_negatives=False)]
    assert np.mean(spreads) < 0.1 * lengths.std()


def test_each_epoch_has_an_order_of_its_own_by_the_seed_alone() -> None:
    """So a training that goes on in its second epoch sees what it has not seen of it."""
    pairs = SHAPES["a long question in many pairs"]
    undisturbed = sampler(pairs)
    first = list(undisturbed)
    undisturbed.set_epoch(1)
    second = list(undisturbed)
    resumed = sampler(pairs)
    resumed.set_epoch(1)
    assert list(resumed) == second != first
    assert list(sampler(pairs)) == first


def test_texts_are_kept_apart_for_losses_with_in_batch_negatives_alone() -> None:
    without = {name for name, one in OBJECTIVES.items() if not one.in_batch_negatives}
    assert without == {
        ObjectiveName.CONTRASTIVE,
        ObjectiveName.ONLINE_CONTRASTIVE,
        ObjectiveName.CROSS_ENCODER,
        ObjectiveName.DISTILL_CLASSIFIER,
    }


def test_a_text_that_stands_again_in_a_batch_is_still_pulled_to_all_that_ask_the_same() -> None:
    """Beside `mnrl`'s other rows: the nearest of two duplicates is not pushed below what asks for something else."""
    chances = torch.Generator().manual_seed(1)
    hub, near, far, *rest = torch.randn(6, 16, generator=chances)
    near = hub + 0.5 * near
    vectors = torch.nn.ParameterList(map(torch.nn.Parameter, [hub, near, far, *rest]))
    model: Any = torch.nn.Identity()
    loss: Any = MultipleNegativesRankingLoss(model, scale=SCALE)
    optimizer = torch.optim.SGD(vectors.parameters(), lr=0.1)
    for _ in range(200):
        hub, near, far, asks, other, _ = (functional.normalize(one, dim=0) for one in vectors)
        anchors = torch.stack([hub, hub, asks])
        positives = torch.stack([near, far, other])
        optimizer.zero_grad()
        loss.compute_loss_from_embeddings([anchors, positives], torch.empty(0)).backward()
        optimizer.step()
    assert min(hub @ near, hub @ far) > 0.5 > hub @ other + 0.2


def test_batches_that_are_sharded_among_processes_are_told_their_epoch() -> None:
    """A training of several processes that goes on from a checkpoint, as accelerate prepares its batches."""
    own = sampler(others(100))
    loader = SimpleNamespace(batch_sampler=BatchSamplerShard(own, 2, 1))
    progress = TrainerProgress(ProgressWriter(None))
    progress.on_epoch_begin(None, SimpleNamespace(epoch=1.5), None, train_dataloader=loader)
    assert own.epoch == 1
