"""Pairs made by rule, by value: one thing changes, and the label says what that does."""

import random
from collections import Counter

import pytest

from tests.training.generated import generated_pairs
from training.augmentation import Augmentation, Rule, augmented
from training.pairs import LabelledPair

RULES = Augmentation(random.Random(0), ["zither"], frozenset({"zither", "harbor"}))


@pytest.mark.parametrize(
    ("rule", "question1", "question2", "made"),
    [
        (
            Augmentation.renamed,
            "Is Harbor free?",
            "Does Harbor cost?",
            ("Is Zither free?", "Does Zither cost?", True),
        ),
        (
            Augmentation.other_entity,
            "Is harbor free?",
            "Does harbor cost?",
            ("Is zither free?", None, False),
        ),
        (
            Augmentation.negated,
            "How do I sell it?",
            "How can I sell it?",
            ("How do I not sell it?", None, False),
        ),
        (
            Augmentation.opposite,
            "how to buy gold",
            "ways to get gold",
            ("how to sell gold", None, False),
        ),
        (
            Augmentation.turned,
            "How do I go from Rome to Bern?",
            "Rome to Bern, how?",
            ("How do I go from Bern to Rome?", None, False),
        ),
        (
            Augmentation.turned,
            "Is tea better than coffee?",
            "tea or coffee",
            ("Is coffee better than tea?", None, False),
        ),
        # what a rule can't change
        (Augmentation.renamed, "Is Harbor free?", "Is it free?", None),
        (Augmentation.negated, "Why can't I sell it, and do I want to?", "Why no sale?", None),
        (Augmentation.opposite, "how to get gold", "ways to buy gold", None),
        (Augmentation.turned, "from a to a", "from a to a?", None),
        (Augmentation.other_number, "Is 7 prime?", "Is seven prime?", None),
        (Augmentation.other_number, "Is version 1.7 out?", "When is 1.7 out?", None),
    ],
)
def test_a_rule_changes_one_thing(
    rule: Rule, question1: str, question2: str, made: tuple[str, str | None, bool] | None
) -> None:
    expected = LabelledPair(made[0], made[1] or question2, made[2]) if made else None
    assert rule(RULES, LabelledPair(question1, question2, is_duplicate=True)) == expected


def test_another_number_is_near_and_on_one_side() -> None:
    made = RULES.other_number(LabelledPair("Is 7 prime?", "7: a prime?", is_duplicate=True))
    assert made
    assert made.question1 in {f"Is {other} prime?" for other in (5, 6, 8, 9, 17)}
    assert (made.question2, made.is_duplicate) == ("7: a prime?", False)


def test_haste_leaves_the_label() -> None:
    for label in (True, False):
        made = RULES.careless(LabelledPair("How do I sell it?", "Is it sold?", label))
        assert made
        assert Counter(made.question1) == Counter("how do i sell it")
        assert made.question1 != "how do i sell it"
        assert (made.question2, made.is_duplicate) == ("Is it sold?", label)


@pytest.mark.parametrize(
    "rule", [Augmentation.other_entity, Augmentation.negated, Augmentation.turned]
)
def test_a_different_pair_is_not_changed_into_another(rule: Rule) -> None:
    """Two changes might cancel each other out."""
    question = "How do I go from harbor to Bern?"
    assert rule(RULES, LabelledPair(question, question + "?", is_duplicate=False)) is None


def test_the_seed_chooses_what_is_made() -> None:
    pairs = generated_pairs(400)
    made = augmented(pairs, 0.5, seed=1)
    assert 0 < len(made) <= 200
    assert made == augmented(pairs, 0.5, seed=1) != augmented(pairs, 0.5, seed=2)
    assert not set(made) & set(pairs)
    assert augmented(pairs, 0, seed=1) == []
