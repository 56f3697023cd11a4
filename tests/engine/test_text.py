"""Which texts are one question before any model is asked."""

import hashlib
import re
import sys
import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engine.text import (
    MAX_MARKS,
    combining_marks,
    digest,
    normalize,
    pair_digest,
    stream_safe,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))

SAME = [
    ("How do I learn Python?", "how do i LEARN python?"),
    ("How do I learn Python?", "  How\tdo I\n\nlearn\r\n Python?  "),
    ("caf\u00e9", "cafe\u0301"),  # composed, decomposed
    ("office", "o\ufb03ce"),  # a ligature
    ("ABC 123", "ＡＢＣ　１２３"),  # full width, ideographic space
    ("x2", "x\u00b2"),  # superscript
    ("Straße", "STRASSE"),
    ("ß\u0323", "SS\u0323"),  # folded to two letters, of which the last takes the dot below
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # final sigma
    ("a b", "a\u00a0b"),  # no-break space
    ("a b", "a\u2003\u2009b"),  # em and thin space
    ("ᾳ", "ΑΙ"),  # an iota subscript
    ("ﬁn", "FIN"),
    ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),  # Hangul syllables and their parts
    ("", " \t\n"),
]
DIFFERENT = [
    ("How do I learn Python?", "How do I learn Python"),
    ("How do I learn Python?", "How do I learn Pythons?"),
    ("ab", "a b"),
    ("résumé", "resume"),
    ("а", "a"),  # Cyrillic and Latin
    ("1 2", "12"),
    ("x", ""),
]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("How do I\n learn  PYTHON?", "how do i learn python?"),
        ("ﬁ ² Ⅳ ㎒", "fi 2 iv mhz"),
        ("e\u0301", "\u00e9"),
        ("ẞ", "ss"),
        ("　Ｔｅｓｔ　", "test"),
        ("İ", "i\u0307"),
        ("是 吗 ？", "是 吗 ?"),
        ("\u01c4 \u1e9b\u0323", "d\u017e \u1e69"),
        (" ", ""),
    ],
)
def test_the_normal_form_by_value(text: str, normal: str) -> None:
    assert normalize(text) == normal


@given(ANY_TEXT)
@example("\u0345")
@example("ß\u0323")
@example("\u03b1\u0345\u0301")
@example("\u00b4x")  # NFKC makes a space of it
def test_normalize_is_idempotent(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(ANY_TEXT)
def test_the_normal_form_has_single_spaces_and_no_edges(text: str) -> None:
    assert normalize(text).split() == [word for word in normalize(text).split(" ") if word]
    assert normalize(f" \t{text}\u3000") == normalize(text)


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_case_makes_no_difference(text: str) -> None:
    assert normalize(text.upper()) == normalize(text.lower()) == normalize(text)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_that_are_one_question(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)
    assert digest(one) == digest(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_are_two_questions(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)
    assert digest(one) != digest(other)


def test_the_digest_is_blake2b_of_the_normal_form() -> None:
    expected = hashlib.blake2b(b"how do i learn python?", digest_size=16).digest()
    assert digest("How do I  learn Python?") == expected
    assert len(expected) == 16


def test_the_digest_of_a_pair_is_both_digests_the_lesser_first() -> None:
    one, other = "How do I learn Python?", "How can I learn Python?"
    assert (
        pair_digest(one, other)
        == pair_digest(other.upper(), f" {one} ")
        == min(digest(one), digest(other)) + max(digest(one), digest(other))
    )
    assert pair_digest(one, one) == 2 * digest(one)


# Runs of combining marks


def test_the_marks_are_all_characters_that_are_nothing_else_when_decomposed() -> None:
    """In every plane: of none other can a run be long."""
    marks = set()
    for code in range(sys.maxunicode + 1):
        decomposed = unicodedata.normalize("NFKD", chr(code))
        if all(unicodedata.combining(part) for part in decomposed):
            marks.add(chr(code))
    assert combining_marks() == marks


def test_after_thirty_marks_stands_a_joiner() -> None:
    grave = "\u0300"
    assert stream_safe("a" + 30 * grave) == "a" + 30 * grave
    assert stream_safe("a" + 31 * grave) == "a" + 30 * grave + "\u034f" + grave
    assert stream_safe(2 * ("a" + 61 * grave)) == 2 * (
        "a" + 30 * grave + "\u034f" + 30 * grave + "\u034f" + grave
    )


@pytest.mark.parametrize("marks", ["\u0300", "\u0344", "\u0323\u0301", "\u0f73\u0327", "\uff9e"])
def test_normalising_looks_at_no_more_than_some_marks_at_once(
    marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Canonical ordering is quadratic in the length of a run: that of thousands took seconds."""
    normalize_run = unicodedata.normalize
    longest = 0

    def normalize_and_measure(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
        nonlocal longest
        decomposed = normalize_run("NFKD", text)
        runs = re.split("\u034f|a", decomposed)
        longest = max(longest, *map(len, runs))
        return normalize_run(form, text)

    monkeypatch.setattr(unicodedata, "normalize", normalize_and_measure)
    normal = normalize("a" + 500 * marks)
    assert longest <= 4 * MAX_MARKS
    assert normalize(normal) == normal


@given(text=st.text(st.sampled_from("aA é\u0301\u0323\u0344\uff9e\u034fİß"), max_size=300))
def test_texts_of_many_marks_normalise_once_and_for_all(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


def test_ordinary_marks_stay_as_they_were() -> None:
    for text in ("Ünïcode", "e\u0301\u0323", "ที่นี่", "👩\u200d👩\ufe0f", "שָׁלוֹם", "z̸͇͖͑a̶͉͐l̴͉̈́g̵̺̈́o̸"):
        assert stream_safe(text) == text
