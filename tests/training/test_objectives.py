"""The data of each objective: texts as a model that serves reads them."""

from collections.abc import Sequence

import numpy as np
import pytest

from training.objectives import OBJECTIVES, Examples, ObjectiveName, Part, Shown
from training.pairs import LabelledPair
from training.train import _evaluator

WRITTEN = ("What\u2019s a \ufb01le?", "Is it \u201cmine\u201d\u200b?", "Why  \uff21?")
READ = {"What's a file?", 'Is it "mine"?', "Why A?"}
PAIRS = [LabelledPair(*WRITTEN[:2], is_duplicate=True), LabelledPair(*WRITTEN[1:], False)]
ALL = Examples(
    PAIRS,
    teacher=np.array([0.9, 0.1]),
    shown=Shown([WRITTEN, WRITTEN], np.zeros((2, 3, 4), dtype=np.float32)),
)


def texts_of(columns: Sequence[Sequence[object]]) -> set[object]:
    return {text for column in columns for text in column if isinstance(text, str)}


@pytest.mark.parametrize("name", ObjectiveName)
def test_a_model_learns_from_texts_in_the_form_in_which_it_will_be_asked(
    name: ObjectiveName,
) -> None:
    for data in OBJECTIVES[name].data(ALL).values():
        texts = texts_of([data[column][:] for column in data.column_names])
        assert texts
        assert texts <= READ


def test_hard_negatives_are_in_that_form_too() -> None:
    examples = Examples(PAIRS, triplets=[WRITTEN])
    (data,) = OBJECTIVES[ObjectiveName.MNRL].data(examples).values()
    assert texts_of([data[column][:] for column in data.column_names]) == READ


@pytest.mark.parametrize("part", ["encoder", "classifier"])
def test_checkpoints_are_chosen_by_texts_in_that_form(part: Part) -> None:
    evaluator, _ = _evaluator(part, PAIRS)
    if part == "classifier":
        assert texts_of(evaluator.sentence_pairs) == READ
    else:
        assert texts_of([evaluator.sentences1, evaluator.sentences2]) == READ
