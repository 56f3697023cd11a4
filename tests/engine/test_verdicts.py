"""Judgements by value: what evidence, thresholds, equality and labels each decide, and in which order."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine import reasons
from app.engine.models.encoder import Encoder
from app.engine.reasons import Reason
from app.engine.rulings import Ruling
from app.engine.scorer import (
    Calibration,
    CollectionThresholds,
    Scale,
    Scorer,
    Threshold,
    Thresholds,
)
from app.engine.signals import Reader
from app.engine.text import Words
from app.engine.verdicts import Judge, Judgement, Pair, unread
from tests.tiny_model import build_tiny_model

PAIR = Pair(Words.of("How old are you?"), Words.of("What is your age?"))
SAME = Pair(Words.of("How old are you?"), Words.of(" How old\u200b are you? "))
SAID_DIFFERENT = Ruling(1, False, "anna", "2026-01-01T00:00:00Z", contradicted=False)
SAID_DUPLICATE = Ruling(2, True, "anna", "2026-01-01T00:00:00Z", contradicted=False)
CONTRADICTED = Ruling(3, True, "anna", "2026-01-01T00:00:00Z", contradicted=True)


def scorer(duplicate_from: float | None, review_from: float = 0.5, target: str = "0.95") -> Scorer:
    others = {name: Threshold(0.0, 0.5, 1.0, 10) for name in ("0.90", "0.98", "0.99")}
    thresholds = {**others, target: Threshold(duplicate_from, None, None, 0)}
    return Scorer(Scale(Calibration([1.0], 0.0), Thresholds(thresholds, review_from)), None, target)


@cache
def reader() -> Reader:
    """Of a tiny model without a classifier."""
    with TemporaryDirectory() as folder:
        return Reader(Encoder.open(build_tiny_model(Path(folder) / "tiny"), "cpu"), None)


def judge(duplicate_from: float | None, review_from: float = 0.5, target: str = "0.95") -> Judge:
    return Judge(scorer(duplicate_from, review_from, target), reader())


def judge_of_both() -> Judge:
    return Judge(scorer_of_both(), reader())


def scorer_of_both() -> Scorer:
    """With a pair classifier; the logistic of similarity, or of similarity plus logit."""
    by_similarity = scorer(duplicate_from=0.7, review_from=0.6).by_similarity
    by_pair = Scale(
        Calibration([1.0, 1.0], 0.0), Thresholds({"0.95": Threshold(0.9, 0.95, 0.5, 100)}, 0.3)
    )
    return Scorer(by_similarity, by_pair, "0.95")


def logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def floats(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


# Thresholds


def test_a_verdict_begins_at_its_threshold() -> None:
    of = judge(duplicate_from=0.9, review_from=0.5)
    assert of.verdict(0.9, is_read=False) == "duplicate"
    assert of.verdict(float(np.nextafter(0.9, 0)), is_read=False) == "review"
    assert of.verdict(0.5, is_read=False) == "review"
    assert of.verdict(float(np.nextafter(0.5, 0)), is_read=False) == "different"


def test_the_ends_of_the_scale() -> None:
    of = judge(duplicate_from=0.9, review_from=0.5)
    assert of.verdict(1.0, is_read=False) == "duplicate"
    assert of.verdict(0.0, is_read=False) == "different"


@pytest.mark.parametrize(
    ("probability", "verdict"), [(1.0, "review"), (0.5, "review"), (0.499, "different")]
)
def test_without_a_threshold_review_is_the_most(probability: float, verdict: str) -> None:
    assert (
        judge(duplicate_from=None, review_from=0.5).verdict(probability, is_read=False) == verdict
    )


def test_a_threshold_of_zero_is_a_threshold() -> None:
    assert judge(duplicate_from=0.0, review_from=0.5).verdict(0.0, is_read=False) == "duplicate"


@pytest.mark.parametrize("target", ["0.90", "0.98", "0.99"])
def test_only_the_threshold_of_the_target_counts(target: str) -> None:
    strict = judge(duplicate_from=0.99, target=target)
    assert strict.verdict(0.98, is_read=False) == "review"
    assert strict.verdict(0.99, is_read=False) == "duplicate"


def test_a_pair_that_was_read_has_thresholds_of_its_own() -> None:
    of = judge_of_both()
    unread_verdicts = [of.verdict(p, is_read=False) for p in (1.0, 0.7, 0.6, 0.5)]
    assert unread_verdicts == ["review", "review", "review", "different"]
    read_verdicts = [of.verdict(p, is_read=True) for p in (0.9, 0.3, 0.2)]
    assert read_verdicts == ["duplicate", "review", "different"]


# Judgements


def test_a_collection_s_own_review_holds_for_pairs_that_were_not_read_too() -> None:
    own = CollectionThresholds(0.9, 0.2, "collection", "collection")
    of_collection = Judge(scorer_of_both(), reader(), own)
    for probability, verdict in ((0.19, "different"), (0.2, "review"), (0.95, "review")):
        assert of_collection.verdict(probability, is_read=False) == verdict
    assert judge_of_both().verdict(0.59, is_read=False) == "different"


def test_each_pair_is_judged_by_the_evidence_that_there_is_of_it() -> None:
    similarities = floats(0.5, 0.5, -1.0)
    judgements = judge_of_both().judge(3 * [PAIR], similarities, floats(np.nan, 2.5, np.nan))
    expected = [logistic(0.5), logistic(3.0), logistic(-1.0)]
    assert [one.similarity for one in judgements] == [0.5, 0.5, -1.0]
    assert [one.probability for one in judgements] == pytest.approx(expected)
    assert [one.verdict for one in judgements] == ["review", "duplicate", "different"]
    assert [one.label for one in judgements] == [None, None, None]


def test_the_same_words_are_a_duplicate_whatever_the_models_say() -> None:
    (unlike,) = judge_of_both().judge([SAME], floats(0.1), floats(-9.0))
    why = (reasons.same_words(),)
    assert unlike == Judgement(unlike.similarity, 1.0, "duplicate", None, why, is_read=True)
    assert unlike.similarity == pytest.approx(0.1)
    assert judge(None).judge_same_words(SAME) == Judgement(1.0, 1.0, "duplicate", None, why)


@pytest.mark.parametrize("pair", [PAIR, SAME], ids=["other words", "the same words"])
@pytest.mark.parametrize(
    ("ruling", "verdict"),
    [(SAID_DIFFERENT, "different"), (SAID_DUPLICATE, "duplicate"), (CONTRADICTED, "review")],
)
def test_a_label_overrules_the_verdict_and_nothing_else(
    pair: Pair, ruling: Ruling, verdict: str
) -> None:
    of = judge_of_both()
    labelled = Pair(pair.first, pair.second, ruling)
    (without,) = of.judge([pair], floats(0.5), floats(1.0))
    (judged,) = of.judge([labelled], floats(0.5), floats(1.0))
    assert (judged.verdict, judged.label) == (verdict, ruling)
    assert judged.similarity == without.similarity
    assert judged.probability == without.probability


@pytest.mark.parametrize(
    ("pair", "logit", "codes"),
    [
        (PAIR, 1.0, []),
        (PAIR, np.nan, ["unread"]),
        (SAME, np.nan, ["same_words"]),
        (replace(PAIR, ruling=SAID_DIFFERENT), np.nan, ["label", "unread"]),
        (replace(SAME, ruling=SAID_DIFFERENT), 1.0, ["label", "same_words"]),
    ],
)
def test_reasons_say_what_the_verdict_comes_from_a_label_first(
    pair: Pair, logit: float, codes: list[str]
) -> None:
    (judged,) = judge_of_both().judge([pair], floats(0.5), floats(logit))
    assert [reason.code for reason in judged.reasons] == codes


def pair_of(first: str, second: str) -> Pair:
    return Pair(Words.of(first), Words.of(second))


@pytest.mark.parametrize(
    ("pair", "verdict", "codes"),
    [
        (pair_of("Does it run on iOS 15?", "Does it run on iOS 16?"), "review", ["version"]),
        (pair_of("How do I turn it on?", "How do I turn it off?"), "review", ["opposite"]),
        (pair_of("Wann macht ihr das Bad auf?", "Wann macht ihr es zu?"), "review", ["language"]),
        (pair_of("Where is my order?", "When is my order?"), "duplicate", ["question"]),
        (pair_of("Where is my order?", "Where's the order I made?"), "duplicate", []),
    ],
)
def test_what_a_guard_sees_is_a_reason_and_mostly_no_duplicate(
    pair: Pair, verdict: str, codes: list[str]
) -> None:
    (judged,) = judge_of_both().judge([pair], floats(1.0), floats(9.0))
    assert (judged.verdict, [reason.code for reason in judged.reasons]) == (verdict, codes)
    assert judged.probability == pytest.approx(logistic(10.0))
    labelled = replace(pair, ruling=SAID_DUPLICATE)
    (said,) = judge_of_both().judge([labelled], floats(1.0), floats(9.0))
    assert (said.verdict, said.reasons[0].code) == ("duplicate", "label")
    (other,) = judge_of_both().judge([pair], floats(1.0), floats(-9.0))
    assert other.verdict == "different"


def test_a_release_of_other_languages_has_nothing_against_them() -> None:
    both = Judge(replace(scorer_of_both(), is_english=False), reader())
    pair = pair_of("Wann macht ihr das Bad auf?", "Um wie viel Uhr macht das Bad auf?")
    (judged,) = both.judge([pair], floats(1.0), floats(9.0))
    assert (judged.verdict, judged.reasons) == ("duplicate", ())


def turned(reason: Reason) -> tuple[str, object, object]:
    return reason.code, reason.spans2, reason.spans1


@given(st.text(max_size=60), st.text(max_size=60), st.floats(-9, 9, width=32))
@settings(max_examples=200, deadline=None)
def test_judging_any_two_texts_is_symmetric_and_reasons_lie_inside(
    first: str, second: str, logit: float
) -> None:
    pairs = [pair_of(first, second), pair_of(second, first)]
    one, other = judge_of_both().judge(pairs, floats(0.5, 0.5), floats(logit, logit))
    assert (one.verdict, one.probability) == (other.verdict, other.probability)
    assert [(r.code, r.spans1, r.spans2) for r in one.reasons] == list(map(turned, other.reasons))
    for reason in one.reasons:
        for text, spans in ((first, reason.spans1), (second, reason.spans2)):
            assert all(0 <= start < end <= len(text) for start, end in spans)


def test_without_a_classifier_no_pair_is_told_to_be_unread() -> None:
    (judged,) = judge(0.9).judge([PAIR], floats(0.5), unread(1))
    assert judged.reasons == ()


def test_no_pairs_have_no_judgements() -> None:
    assert judge_of_both().judge([], floats(), unread(0)) == []


def test_the_strongest_verdict_ranks_first_then_the_probability_then_the_similarity() -> None:
    ranked = [
        Judgement(0.1, 0.2, "duplicate"),
        Judgement(0.9, 0.9, "review"),
        Judgement(0.8, 0.9, "review"),
        Judgement(0.9, 0.8, "review"),
        Judgement(0.9, 0.9, "different"),
    ]
    shuffled = [ranked[place] for place in (3, 1, 4, 0, 2)]
    assert sorted(shuffled, key=lambda one: one.rank) == ranked


# What the model can't tell


def worded(one: str, other: str) -> Pair:
    return Pair(Words.of(one), Words.of(other))


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        ("¿Cuántos años?", "¿Cuántos anos?", "unreadable"),
        ("Is ☠ safe?", "Is ☣ safe?", "unreadable"),
        ("กขค", "งจฉ", "unreadable"),
        ("Is it safe?", "Is it safe? 🍕", "unreadable"),
        (f"{'x' * 60} one?", f"{'x' * 60} two?", "cut"),
        ("What is \\d?", "What is \\D?", "case"),
        ("Does IT help?", "Does it help?", "case"),
        ("Is it 5 MB?", "Is it 5 Mb?", "case"),
        ("Will Polish help me?", "Will polish help me?", "case"),
    ],
)
def test_what_the_model_can_not_tell_is_review_at_most_and_says_so(
    one: str, other: str, code: str
) -> None:
    for pair in (worded(one, other), worded(other, one)):
        (judged,) = judge(0.1).judge([pair], floats(1.0), unread(1))
        assert (judged.verdict, judged.reasons[0].code) == ("review", code)
        for reason in judged.reasons:
            for spans, text in (
                (reason.spans1, pair.first.text),
                (reason.spans2, pair.second.text),
            ):
                assert all(0 <= start <= end <= len(text) for start, end in spans)
        (labelled,) = judge(0.1).judge(
            [replace(pair, ruling=SAID_DUPLICATE)], floats(1.0), unread(1)
        )
        assert labelled.verdict == "duplicate"


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        ("How old are you?", "How old are you", "the same words but for end punctuation"),
        ("How old are you?", "how OLD are you?", "the same words but for letter case"),
        (
            "How old are you?",
            "HOW OLD ARE YOU",
            "the same words but for letter case and end punctuation",
        ),
        (
            "Ｈｏｗ old are you?",
            "How old are you?",
            "the same words but for the form of characters",
        ),
        ("𝗛𝗼𝘄 old are you?", "how old are you?", "the same words but for the form of characters"),
        ("On page Ⅻ?", "on page XII?", "the same words but for the form of characters"),
    ],
)
def test_another_way_to_write_the_same_words_is_read_and_named(
    one: str, other: str, sentence: str
) -> None:
    (judged,) = judge(0.1).judge([worded(one, other)], floats(1.0), unread(1))
    assert (judged.verdict, judged.reasons[0].sentence) == ("duplicate", sentence)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I compute 2ⁿ in Python?", "How do I compute 2n in Python?"),
        ("What is log₂8?", "What is log28?"),
        ("What is 101₂ in decimal?", "What is 1012 in decimal?"),
        ("What does aₙ mean?", "What does an mean?"),
        ("What is the Kotlin operator !!", "What is the Kotlin operator ?:"),
        ("In a regex, how do I match a literal .", "In a regex, how do I match a literal ?"),
        ("How many zeros are at the end of n!?", "How many zeros are at the end of n?"),
        ("What is the derivative of (x+1)!", "What is the derivative of (x+1)?"),
        ("Trinkt man hier Bier in Maßen?", "Trinkt man hier Bier in Massen?"),
        ("Is 5 mΩ too much?", "Is 5 MΩ too much?"),
    ],
)
def test_the_same_words_whose_writing_may_be_what_they_are_about_are_review_at_most(
    one: str, other: str
) -> None:
    (judgement,) = judge(0.9).judge([worded(one, other)], floats(0.999), unread(1))
    assert judgement.verdict == "review"
    assert judgement.probability < 1
    assert {reason.code for reason in judgement.reasons} & {"likeness", "case"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I pay ?", "How do I pay"),
        ("How do I pay?!", "how do I pay..."),
        ("How much CO₂ is that?", "How much CO2 is that?"),
        ("STRASSE SPERREN?", "Straße sperren?"),
        ("Where do I ﬁnd the oﬃce?", "Where do I find the office?"),
        ("Wo ist der ΟΔΟΣ?", "wo ist der οδος"),
    ],
)
def test_the_same_words_otherwise_written_are_a_duplicate(one: str, other: str) -> None:
    (judgement,) = judge(None).judge([worded(one, other)], floats(0.1), unread(1))
    assert (judgement.verdict, judgement.probability) == ("duplicate", 1.0)


def test_the_share_of_unknown_tokens_is_a_signal() -> None:
    pairs = [worded("a ☠ b ☠?", "a ☠ c ☠?"), worded("abc?", "abd?")]
    judged = judge(0.1).judge(pairs, floats(1.0, 1.0), unread(2))
    assert [one.signals.unknown_share for one in judged] == [2 / 5, 0.0]
    assert [one.verdict for one in judged] == ["duplicate", "duplicate"]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(deadline=None, max_examples=200)
@given(one=ANY_TEXT, other=ANY_TEXT, similarity=st.floats(-1, 1, width=32), noise=st.booleans())
def test_judging_any_texts_is_symmetric_and_a_label_always_wins(
    one: str, other: str, similarity: float, noise: bool
) -> None:
    if noise:
        other = f"\u200b{one.upper()}☠"
    pair = worded(one, other)
    (there,) = judge(0.6).judge([pair], floats(similarity), unread(1))
    (back,) = judge(0.6).judge([Pair(pair.second, pair.first)], floats(similarity), unread(1))
    assert (there.verdict, there.probability) == (back.verdict, back.probability)
    assert (there.truncated1, there.truncated2) == (back.truncated2, back.truncated1)
    assert [r.code for r in there.reasons] == [r.code for r in back.reasons]
    for reason, turned in zip(there.reasons, back.reasons, strict=True):
        assert (reason.spans1, reason.spans2) == (turned.spans2, turned.spans1)
        for spans, text in ((reason.spans1, one), (reason.spans2, other)):
            assert all(0 <= start <= end <= len(text) for start, end in spans)
    for ruling in (SAID_DIFFERENT, SAID_DUPLICATE, CONTRADICTED):
        (ruled,) = judge(0.6).judge([replace(pair, ruling=ruling)], floats(similarity), unread(1))
        assert ruled.verdict == ruling.verdict
