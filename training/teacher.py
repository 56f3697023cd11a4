"""A teacher and labelled pairs in; out comes what a student learns from: those, pairs made from them, near ones that
nobody labelled, and the teacher's probability of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from app.engine.models.backends import AUTO
from app.engine.models.opening import open_models
from app.engine.release import Release
from training.evaluation import in_slices, similarities, texts_of
from training.hard_negatives import mine_pairs
from training.objectives import Examples
from training.pairs import LabelledPair
from training.progress import Progress

Device = Literal["auto", "cpu", "cuda"]
COLUMNS = ("question1", "question2", "is_duplicate", "probability")


def judge(
    teacher: Release,
    pairs: Sequence[LabelledPair],
    made: Sequence[LabelledPair],
    mine: int,
    device: Device,
    progress: Progress,
) -> Examples:
    """The pairs, up to `mine` near ones of their questions, and last those that were made from them by rule, with the
    teacher's probability of each. The teacher runs on what would serve it here."""
    encoder, classifier = open_models(teacher, device, AUTO)
    texts = texts_of([*pairs, *made])
    vectors = in_slices(encoder.encode, texts, progress)
    own = texts[: len(texts_of(pairs))]  # the pairs come first, and so do their texts
    judged = [*pairs, *(mine_pairs(pairs, own, vectors[: len(own)], mine) if mine else []), *made]
    asked = [(pair.question1, pair.question2) for pair in judged]
    logits = in_slices(classifier.score, asked, progress) if classifier else None
    return Examples(
        judged, teacher.scorer("0.90").probability(similarities(judged, texts, vectors), logits)
    )


def keep(examples: Examples, file: Path) -> None:
    """Write what a teacher said, in one piece."""
    assert examples.teacher is not None
    texts = [(pair.question1, pair.question2, pair.is_duplicate) for pair in examples.pairs]
    columns = [*zip(*texts, strict=True), examples.teacher]
    aside = file.with_name(f".{file.name}")
    parquet.write_table(pa.table(dict(zip(COLUMNS, map(pa.array, columns), strict=True))), aside)
    aside.replace(file)


def kept(file: Path) -> Examples:
    """What was written there."""
    *texts, teacher = (parquet.read_table(file)[name].to_pylist() for name in COLUMNS)
    return Examples(
        [LabelledPair(*of) for of in zip(*texts, strict=True)], np.array(teacher, dtype=np.float64)
    )
