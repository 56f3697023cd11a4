"""Reasons that need no look at what differs, word by word."""

import pytest

from app.engine import reasons
from app.engine.reasons import Reason
from app.engine.rulings import Ruling


@pytest.mark.parametrize(
    ("is_duplicate", "contradicted", "sentence"),
    [
        (True, False, "anna said so on 3 November 2026"),
        (False, False, "anna said so on 3 November 2026"),
        (
            True,
            True,
            "people disagree: anna said duplicate on 3 November 2026, another the opposite",
        ),
        (
            False,
            True,
            "people disagree: anna said different on 3 November 2026, another the opposite",
        ),
    ],
)
def test_a_label_names_who_said_it_and_the_day(
    is_duplicate: bool, contradicted: bool, sentence: str
) -> None:
    ruling = Ruling(1, is_duplicate, "anna", "2026-11-03T23:59:59Z", contradicted)
    assert reasons.label(ruling) == Reason("label", sentence, (), ())


def test_reasons_without_a_guard_have_their_codes_sentences_and_spans() -> None:
    assert reasons.same_words() == Reason("same_words", "the same words", (), ())
    assert reasons.cut(256, ((9, 12),)) == Reason("cut", "read only to token 256", ((9, 12),), ())
    assert reasons.unreadable(((0, 1),), ((0, 2),)) == Reason(
        "unreadable", "the model can't read where they differ", ((0, 1),), ((0, 2),)
    )
    assert reasons.unread().code == "unread"


def test_only_the_three_most_important_are_given_in_their_order() -> None:
    given = [reasons.cut(tokens) for tokens in (4, 3, 2, 1)]
    assert reasons.most_important(given) == tuple(given[:3])
    assert reasons.most_important([]) == ()
