"""Which labels are learnt from and which are measured on: the same ones for ever, whatever comes later."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.text import digest
from app.engine.training_contract import GivenLabel
from training.label_split import EVALUATION_SHARE, TUNE_SHARE, take_sides
from training.pairs import LabelledPair

QUESTIONS = st.sampled_from([f"{letter}{i}" for letter in "aA" for i in range(20)])
LABELS = st.lists(
    st.builds(GivenLabel, QUESTIONS, QUESTIONS, st.booleans(), st.booleans(), st.booleans()),
    min_size=8,
    max_size=40,
)


def label(one: str, other: str) -> GivenLabel:
    return GivenLabel(one, other, is_duplicate=True, active=True, contradicted=False)


def questions(*sets: Sequence[LabelledPair]) -> set[bytes]:
    return {
        digest(text)
        for pairs in sets
        for pair in pairs
        for text in (pair.question1, pair.question2)
    }


def drawing(side: str, start: int = 0) -> GivenLabel:
    """A label between two new questions whose component draws this side."""
    made = (label(f"one {i}", f"other {i}") for i in range(start, start + 1000))
    return next(one for one in made if getattr(take_sides([one]), side))


@settings(deadline=None)
@given(LABELS)
def test_labels_that_come_later_change_no_side(labels: list[GivenLabel]) -> None:
    after = take_sides(labels)
    for cut in range(len(labels)):
        before = take_sides(labels[:cut])
        assert after.train[: len(before.train)] == before.train
        assert after.tune[: len(before.tune)] == before.tune
        assert after.evaluation[: len(before.evaluation)] == before.evaluation
        assert not questions(before.train, before.tune) & questions(after.evaluation)
        assert not questions(before.evaluation) & questions(after.train, after.tune)


@settings(deadline=None)
@given(LABELS)
def test_no_question_stands_on_two_sides(labels: list[GivenLabel]) -> None:
    sides = take_sides(labels)
    assert not questions(sides.train) & questions(sides.tune)
    assert not questions(sides.train, sides.tune) & questions(sides.evaluation)


@settings(deadline=None)
@given(LABELS)
def test_what_was_ended_or_contradicted_ties_and_is_no_pair(labels: list[GivenLabel]) -> None:
    whole, some = (
        take_sides([replace(one, active=True, contradicted=False) for one in labels]),
        take_sides(labels),
    )
    pairs = {
        LabelledPair(one.question1, one.question2, one.is_duplicate)
        for one in labels
        if one.active and not one.contradicted
    }
    for side in ("train", "tune", "evaluation"):
        assert set(getattr(some, side)) == set(getattr(whole, side)) & pairs


def test_a_label_between_two_sides_stands_on_none_and_ties_nothing() -> None:
    learnt, measured = drawing("train"), drawing("evaluation")
    between = label(learnt.question2, measured.question1)
    more_learnt, more_measured = (
        label(learnt.question1, "a third"),
        label("a fourth", measured.question2),
    )
    sides = take_sides([learnt, measured, between, more_learnt, more_measured])
    assert sides.tune == []
    for pairs, labels in (
        (sides.train, (learnt, more_learnt)),
        (sides.evaluation, (measured, more_measured)),
    ):
        assert pairs == [
            LabelledPair(one.question1, one.question2, is_duplicate=True) for one in labels
        ]


def test_labels_that_tie_all_questions_leave_pairs_on_every_side() -> None:
    chances = Random(1)
    names = [f"question {number}" for number in range(1000)]
    sides = take_sides([label(*chances.sample(names, 2)) for _ in range(3500)])
    assert len(sides.train) > 1000
    assert len(sides.tune) > 50
    assert len(sides.evaluation) > 100


def test_sides_have_their_shares_and_case_makes_no_difference() -> None:
    labels = [label(f"one {i}", f"other {i}") for i in range(4000)]
    sides = take_sides(labels)
    assert abs(len(sides.evaluation) / 4000 - EVALUATION_SHARE) < 0.02
    assert abs(len(sides.tune) / 4000 - TUNE_SHARE) < 0.02
    shouted = take_sides(
        [replace(one, question1=one.question2.upper(), question2=one.question1) for one in labels]
    )
    assert [p.question1.lower() for p in shouted.evaluation] == [
        p.question2 for p in sides.evaluation
    ]
