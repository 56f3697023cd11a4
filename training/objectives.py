"""The objectives that a model can be trained for: each makes data sets and losses out of labelled pairs.

Defaults are those of sentence-transformers' "Quora Duplicate Questions" example, whose objectives these are:
<https://sbert.net/examples/sentence_transformer/training/quora_duplicate_questions/README.html>.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers.cross_encoder.losses import (
    BinaryCrossEntropyLoss,
)
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    ContrastiveLoss,
    MultipleNegativesRankingLoss,
    OnlineContrastiveLoss,
)
from torch.nn import functional

from app.engine.models.pair_classifier import in_order
from app.engine.text_form import readable
from app.errors import CommandError
from training.pairs import LabelledPair, both_texts, duplicates_of

MARGIN = 0.5  # cosine distance (1 - cosine) from which different questions are far enough apart
LOGIT_SCALE, LOGIT_CENTRE = (
    12.0,
    0.79,
)  # of `joint`; learnt once as parameters, from MiniLM on Quora
RANKING_SHARE = 0.1  # of `mnrl` beside it
IS_DUPLICATE = 0.5  # a label, or a teacher's probability, above it
SCALE = 20.0  # of cosines in the softmax of `mnrl`
CACHED_FROM = 65  # pairs in a batch from which `mnrl` is computed in pieces, in less memory
MINI_BATCH = 64
LIKE_LENGTH = 16  # texts that are read together in `distill-finding`

Part = Literal["encoder", "classifier"]
Model = Any  # a SentenceTransformer or a CrossEncoder
Data = dict[str, Dataset]  # by the name of its loss
Losses = dict[str, torch.nn.Module]


class ObjectiveName(StrEnum):
    """The objectives, by the names that the command takes."""

    CONTRASTIVE = "contrastive"
    ONLINE_CONTRASTIVE = "online-contrastive"
    MNRL = "mnrl"
    MULTI_TASK = "multi-task"
    JOINT = "joint"
    CROSS_ENCODER = "cross-encoder"
    DISTILL_ENCODER = "distill"
    DISTILL_FINDING = "distill-finding"
    DISTILL_CLASSIFIER = "distill-classifier"


@dataclass(frozen=True)
class Shown:
    """Questions with a teacher's vectors, for `distill-finding`."""

    rows: Sequence[tuple[str, ...]]  # k questions each, which ask the same
    vectors: NDArray[np.float32]  # (n, k, d) unit ones
    batches: Sequence[int] = ()  # lengths: the first so many rows are one batch, the next another


@dataclass(frozen=True)
class Examples:
    """The data of an objective: labelled pairs, a teacher's probabilities of them, mined triplets; or what it shows."""

    pairs: Sequence[LabelledPair]
    teacher: NDArray[np.float64] | None = None  # (n,) P(duplicate) by a teacher, for `distill`
    triplets: Sequence[tuple[str, str, str]] = ()  # anchor, duplicate, hard negative, for `mnrl`
    shown: Shown | None = None

    def first(self, count: int) -> "Examples":
        """The first `count` of the pairs, with the teacher's probabilities of them."""
        teacher = None if self.teacher is None else self.teacher[:count]
        return Examples(self.pairs[:count], teacher)


@dataclass(frozen=True)
class Objective:
    """An objective: the part it trains, its strengths and weaknesses, and the source's settings."""

    part: Part
    trade_off: str
    batch_size: int
    data: Callable[[Examples], Data]
    losses: Callable[[Model, int], Losses]
    in_batch_negatives: bool = True  # the loss takes the questions of other rows for different ones
    learning_rate: float = 5e-5
    epochs: float = 1.0


def _labelled(examples: Examples) -> Data:
    texts = both_texts(examples.pairs)
    return _rows(texts, [int(pair.is_duplicate) for pair in examples.pairs])


def _ordered(examples: Examples) -> Data:
    """Pairs in the order in which the classifier reads any pair."""
    texts = [in_order(*pair.texts) for pair in examples.pairs]
    return _rows(texts, [float(pair.is_duplicate) for pair in examples.pairs])


def _rows(texts: Sequence[tuple[str, str]], labels: Sequence[float]) -> Data:
    first, second = map(_readable, zip(*texts, strict=True))
    columns = {
        "sentence1": first,
        "sentence2": second,
        "label": labels,
    }
    return {"pairs": Dataset.from_dict(columns)}


def _readable(texts: Sequence[str]) -> list[str]:
    """The texts in the form in which a model that serves reads them."""
    return list(map(readable, texts))


def _duplicates(examples: Examples) -> Data:
    rows: Sequence[tuple[str, ...]] = examples.triplets
    if not rows:
        rows = both_texts(duplicates_of(examples.pairs))
    names = ("anchor", "positive", "negative")
    texts = map(_readable, zip(*rows, strict=True))
    columns = dict(zip(names, texts, strict=False))
    return {"duplicates": Dataset.from_dict(columns)}


def _both(examples: Examples) -> Data:
    return {**_duplicates(examples), **_labelled(examples)}


def _taught(examples: Examples, labelled: Callable[[Examples], Data]) -> Data:
    """The same pairs, with the teacher's probabilities for labels."""
    if examples.teacher is None:
        raise CommandError("this objective needs a teacher: name a release with --teacher")
    (pairs,) = labelled(examples).values()
    taught = pairs.remove_columns("label").add_column("label", examples.teacher.tolist())
    return {"pairs": taught}


def _shown(examples: Examples) -> Data:
    """Questions that ask the same, and the teacher's vectors of all, in the batches that are given."""
    shown = examples.shown
    if not shown:
        raise CommandError("this objective needs a teacher: name a release with --teacher")
    columns: dict[str, Any] = {"label": shown.vectors}
    for number, column in enumerate(zip(*shown.rows, strict=True), 1):
        columns[f"sentence{number}"] = _readable(column)
    rows = Dataset.from_dict(columns)
    ends = list(accumulate(shown.batches)) or [len(rows)]
    return {f"to {end}": rows.select(range(start, end)) for start, end in pairwise([0, *ends])}


def _mnrl(model: Model, batch_size: int) -> torch.nn.Module:
    """Symmetric: each question of a pair looks for the other among those of the batch."""
    settings: Mapping[str, Any] = {
        "scale": SCALE,
        "directions": ("query_to_doc", "doc_to_query"),
        "partition_mode": "per_direction",
    }
    if batch_size < CACHED_FROM:
        return MultipleNegativesRankingLoss(model, **settings)
    return CachedMultipleNegativesRankingLoss(model, mini_batch_size=MINI_BATCH, **settings)


OBJECTIVES: Mapping[ObjectiveName, Objective] = {
    ObjectiveName.CONTRASTIVE: Objective(
        part="encoder",
        trade_off="pulls duplicates together and pushes others past a margin; good at verdicts, learns from every pair",
        batch_size=64,
        data=_labelled,
        losses=lambda model, _: {"pairs": ContrastiveLoss(model, margin=MARGIN)},
        in_batch_negatives=False,
    ),
    ObjectiveName.ONLINE_CONTRASTIVE: Objective(
        part="encoder",
        trade_off="the same on the hard pairs of each batch alone; mostly better at verdicts, weaker at finding",
        batch_size=64,
        data=_labelled,
        losses=lambda model, _: {"pairs": OnlineContrastiveLoss(model, margin=MARGIN)},
        in_batch_negatives=False,
    ),
    ObjectiveName.MNRL: Objective(
        part="encoder",
        trade_off="finds the duplicate among all others of a batch, the larger the better (350 and more: computed in"
        " pieces); best at finding, learns nothing from pairs labelled different, weaker at verdicts",
        batch_size=64,
        data=_duplicates,
        losses=lambda model, size: {"duplicates": _mnrl(model, size)},
    ),
    ObjectiveName.MULTI_TASK: Objective(
        part="encoder",
        trade_off="mnrl and online-contrastive in turn: finding and verdicts both, at twice the time",
        batch_size=64,
        data=_both,
        losses=lambda model, size: {
            "duplicates": _mnrl(model, size),
            "pairs": OnlineContrastiveLoss(model, margin=MARGIN),
        },
    ),
    ObjectiveName.JOINT: Objective(
        part="encoder",
        trade_off="each labelled pair's cosine as the logit of its label, and a little mnrl beside it, in one pass: the"
        " best verdicts of a bi-encoder, and finding kept",
        batch_size=64,
        data=_labelled,
        losses=lambda model, _: {"pairs": JointLoss(model)},
    ),
    ObjectiveName.CROSS_ENCODER: Objective(
        part="classifier",
        trade_off="reads both questions at once: the best verdicts on questions like those it learnt from, slower, and"
        " weaker than similarity on others",
        batch_size=64,
        data=_ordered,
        losses=lambda model, _: {"pairs": BinaryCrossEntropyLoss(model)},
        in_batch_negatives=False,
    ),
    ObjectiveName.DISTILL_ENCODER: Objective(
        part="encoder",
        trade_off="`joint` with a teacher's probabilities for labels, and so with pairs that nobody labelled"
        " (--mine); smoother than labels",
        batch_size=64,
        data=lambda examples: _taught(examples, _labelled),
        losses=lambda model, _: {"pairs": JointLoss(model)},
    ),
    ObjectiveName.DISTILL_FINDING: Objective(
        part="encoder",
        trade_off="each question of a batch learns how near all others are by a teacher's bi-encoder, and to find its"
        " duplicate: finds more than mnrl does; learns nothing from pairs labelled different, weaker at verdicts",
        batch_size=64,
        data=_shown,
        losses=lambda model, _: {"duplicates": FindingLoss(model)},
    ),
    ObjectiveName.DISTILL_CLASSIFIER: Objective(
        part="classifier",
        trade_off="learns a teacher's probabilities in a smaller classifier; smoother than labels, no better"
        " than its teacher",
        batch_size=64,
        data=lambda examples: _taught(examples, _ordered),
        losses=lambda model, _: {"pairs": BinaryCrossEntropyLoss(model)},
        in_batch_negatives=False,
    ),
}


class _LossOfVectors(torch.nn.Module):
    """A loss by the unit vectors of a batch's texts."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def _vectors(self, features: Mapping[str, Any]) -> torch.Tensor:
        """Unit vectors (b, d) float32 of one column of a batch."""
        embedded: torch.Tensor = self.model(dict(features))["sentence_embedding"]
        return functional.normalize(embedded.float(), dim=1)


class JointLoss(_LossOfVectors):
    """The log loss of labelled pairs by their cosine, as in SigLIP (Zhai et al., 2023).

    A teacher's probability may take the place of a label. A share of symmetric multiple negatives ranking, over the
    batch's duplicates, is added.
    """

    def forward(
        self,
        features: Sequence[dict[str, torch.Tensor]],
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """The two losses, which the trainer adds and logs."""
        first, second = (self._vectors(of_side) for of_side in features)
        cosines = first @ second.T
        logits = LOGIT_SCALE * (cosines.diagonal() - LOGIT_CENTRE)
        by_label = functional.binary_cross_entropy_with_logits(logits, labels.float())
        losses = {"labels": by_label}
        duplicates = torch.nonzero(labels > IS_DUPLICATE).flatten()
        if len(duplicates):
            there = functional.cross_entropy(SCALE * cosines[duplicates], duplicates)
            back = functional.cross_entropy(SCALE * cosines.T[duplicates], duplicates)
            losses["ranking"] = RANKING_SHARE * (there + back) / 2
        return losses


class FindingLoss(_LossOfVectors):
    """How near each question finds the others of a batch: as a teacher does, and those nearest that ask the same.

    The first is the divergence of the softmax of cosines from the teacher's, as in SEED (Fang et al., 2021). The
    second is the log loss of each one that asks the same, beside all that don't, as in `mnrl`.
    """

    def forward(
        self,
        features: Sequence[dict[str, torch.Tensor]],
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """The two losses, which the trainer adds and logs; labels (b, k, d) are the teacher's vectors."""
        own = torch.cat([self._vectors(of_column) for of_column in features])
        shown = torch.cat(labels.float().unbind(dim=1)).to(own.device)
        near, wanted = (SCALE * vectors @ vectors.T for vectors in (own, shown))
        count = len(own)
        rows = torch.arange(count, device=own.device) % len(labels)
        asks_the_same = rows[:, None] == rows
        is_other = ~torch.eye(count, dtype=torch.bool, device=own.device)
        said, right = (
            each[is_other].view(count, count - 1).log_softmax(dim=1) for each in (near, wanted)
        )
        taught = functional.kl_div(said, right, reduction="batchmean", log_target=True)
        different = near.masked_fill(asks_the_same, -torch.inf).logsumexp(dim=1, keepdim=True)
        duplicates = functional.softplus(different - near)[asks_the_same & is_other].mean()
        return {"taught": taught, "duplicates": duplicates}

    def _vectors(self, features: Mapping[str, Any]) -> torch.Tensor:
        """The same, read in slices of like length, so that little of them is padding."""
        is_token = features["attention_mask"].bool()
        by_length = is_token.sum(dim=1).argsort()
        parts = []
        for rows in torch.split(by_length, LIKE_LENGTH):
            columns = is_token[rows].any(dim=0)
            part = dict(features)
            for name, value in features.items():
                if isinstance(value, torch.Tensor):
                    part[name] = value[rows][:, columns]
            parts.append(super()._vectors(part))
        return torch.cat(parts)[by_length.argsort()]


def sample(pairs: Sequence[LabelledPair], size: int | None, seed: int) -> list[LabelledPair]:
    """At most `size` of the pairs, drawn by the seed."""
    everything = list(pairs)
    if size is None or size >= len(everything):
        return everything
    return random.Random(seed).sample(everything, size)
