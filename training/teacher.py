"""A teacher and labelled pairs in; out comes what a student learns from, with the teacher's probability of each pair.

A student learns from the labelled pairs, from near ones without a label, and from pairs made by rule.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from scipy.special import expit

from app.engine.files import replacing
from app.engine.models.backends import AUTO
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.training_contract import Device
from app.errors import CommandError
from training.evaluation import similarities
from training.hard_negatives import mine_pairs
from training.objectives import Examples, Shown
from training.pairs import LabelledPair, both_texts, labels_of, rows_of, texts_of
from training.progress_writer import ProgressWriter
from training.slices import in_slices


def judge(
    teacher: Release,
    pairs: Sequence[LabelledPair],
    made: Sequence[LabelledPair],
    mine: int,
    device: Device,
    progress: ProgressWriter,
) -> Examples:
    """The pairs, up to `mine` near ones of their questions, and last those that were made by rule.

    Each has the teacher's probability. The teacher runs on the backend that would serve it here.
    """
    encoder, classifier = open_models(teacher, device, AUTO)
    texts = texts_of([*pairs, *made])
    vectors = in_slices(encoder.encode, texts, progress)
    own = len(texts_of(pairs))  # the pairs come first, and so do their texts
    near = mine_pairs(pairs, texts[:own], vectors[:own], mine) if mine else []
    judged = [*pairs, *near, *made]
    logits = None
    if classifier:
        logits = in_slices(classifier.score, both_texts(judged), progress)
    by_encoder = similarities(judged, texts, vectors)
    probabilities = teacher.scorer("0.90").probability(by_encoder, logits)
    return Examples(judged, probabilities)


def show(
    teacher: Release,
    rows: Sequence[tuple[str, ...]],
    device: Device,
    progress: ProgressWriter,
    batches: Sequence[int] = (),
) -> Shown:
    """Rows of questions that ask the same, with their unit vectors by the teacher's bi-encoder."""
    encoder, _ = open_models(teacher, device)  # to measure backends takes longer than it saves
    texts = list(dict.fromkeys(text for row in rows for text in row))
    vectors = in_slices(encoder.encode, texts, progress)
    place = rows_of(texts)
    places = [[place[text] for text in row] for row in rows]
    return Shown(rows, vectors[places], batches)


def near_pairs(
    encoder: Encoder, pairs: Sequence[LabelledPair], count: int, progress: ProgressWriter
) -> list[LabelledPair]:
    """Up to `count` near pairs of labelled pairs' texts, that no label names. Their `is_duplicate` says nothing."""
    texts = texts_of(pairs)
    return mine_pairs(pairs, texts, in_slices(encoder.encode, texts, progress), count)


def soften(
    teacher: Release,
    pairs: Sequence[LabelledPair],
    near: Sequence[LabelledPair],
    device: Device,
    progress: ProgressWriter,
    kept_logits: Path | None = None,
) -> Examples:
    """The labelled pairs, then near ones without a label, with what a student is to say of each.

    That is the mean of the label and of the teacher's classifier alone, before calibration; of a pair without a label,
    the classifier's. A pair that stands there again is judged once. With the file `kept_logits` a judging that was
    killed goes on.
    """
    _, classifier = open_models(teacher, device, AUTO)
    if classifier is None:
        raise CommandError(f"{teacher.path} has no pair classifier to learn from")
    judged = [*pairs, *near]
    texts = list(dict.fromkeys(both_texts(judged)))
    logits = in_slices(classifier.score, texts, progress, kept_logits)
    said = dict(zip(texts, expit(logits.astype(np.float64)).tolist(), strict=True))
    probabilities = np.array([said[both] for both in both_texts(judged)])
    labelled = probabilities[: len(pairs)]
    labelled += labels_of(pairs)
    labelled /= 2
    return Examples(judged, probabilities)


def keep(examples: Examples, file: Path) -> None:
    """Write the judged pairs, in one piece."""
    assert examples.teacher is not None
    first, second = zip(*both_texts(examples.pairs), strict=True)
    table = pa.table(
        {
            "question1": first,
            "question2": second,
            "is_duplicate": labels_of(examples.pairs),
            "probability": examples.teacher,
        }
    )
    with replacing(file) as aside:
        parquet.write_table(table, aside)


def kept(file: Path) -> Examples:
    """The judged pairs that `keep` wrote."""
    table = parquet.read_table(file).to_pydict()
    probabilities = np.array(table.pop("probability"), dtype=np.float64)
    pairs = [LabelledPair(*row) for row in zip(*table.values(), strict=True)]
    return Examples(pairs, probabilities)
