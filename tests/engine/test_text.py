"""Which texts are one question before any model is asked, and which are loosely the same."""

import hashlib
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engine.text import (
    Words,
    combining_marks,
    digest,
    folded,
    folded_digest,
    folded_pair_digest,
    has_visible,
    in_order,
    loose_pair_digest,
    loosened,
    normalize,
    pair_digest,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INVISIBLE = [
    "\u00ad",  # soft hyphen
    "\u034f",  # combining grapheme joiner
    "\u061c",  # Arabic letter mark
    "\u115f",
    "\u180e",
    "\u200b",  # zero-width space
    "\u200e",  # left-to-right mark
    "\u202a",  # before a path that was copied from a window
    "\u2060",  # word joiner
    "\u2063",
    "\u3164",  # Hangul filler
    "\ufe0f",  # variation selector
    "\ufeff",
    "\uffa0",
    "\U000e0061",  # a tag
    "\x07",
    "\x7f",
]
SAME = [
    ("How do I learn Python?", "  How\tdo I\n\nlearn\r\n Python?  "),
    ("caf\u00e9", "cafe\u0301"),  # composed, decomposed
    ("a b", "a\u00a0b"),  # no-break space
    ("a b", "a\u2003\u2009b"),  # em and thin space
    ("a b", "a\u2800b"),  # blank Braille
    ('what\'s "this"?', "what’s “this”?"),
    ("„this“", "«this»"),
    ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),  # Hangul syllables and their parts
    ("5 K", "5 \u212a"),  # the Kelvin sign is a K
    ("☠ or not", "☠\ufe0f or not"),
    ("per cent", "per\u200d cent"),
    ("", " \t\n\u200b"),
    *[(f"zero{character}width", "zerowidth") for character in INVISIBLE],
]
DIFFERENT = [
    ("How do I learn Python?", "how do i learn python?"),
    ("How do I learn Python?", "How do I learn Python"),
    ("How do I learn Python?", "How do I learn Pythons?"),
    ("2\u2075", "25"),
    ("\u216b", "XII"),
    ("o\ufb03ce", "office"),
    ("ＡＢＣ", "ABC"),
    ("Straße", "Strasse"),
    ("ab", "a b"),
    ("résumé", "resume"),
    ("años", "anos"),
    ("а", "a"),  # Cyrillic and Latin
    ("\\d", "\\D"),
    ("☠", "☣"),
    ("👨\u200d👩\u200d👧", "👨👩👧"),  # a family, and three people
    ("می\u200cخواهم", "میخواهم"),
    ("🏴\U000e0067\U000e0062\U000e0065", "🏴\U000e0067\U000e0062\U000e0073"),  # two flags
    ("\u202eabc", "abc"),  # shown from right to left
    ("x", ""),
]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("How do I\n learn  PYTHON?", "How do I learn PYTHON?"),
        ("ﬁ ² Ⅳ ㎒", "ﬁ ² Ⅳ ㎒"),
        ("e\u0301", "\u00e9"),
        ("　Test　", "Test"),
        ("是 吗 ？", "是 吗 ？"),
        ("it’s “so” ‘here’", "it's \"so\" 'here'"),
        ("❤\ufe0f\u200d🔥", "❤\u200d🔥"),
        (" \u200c ", ""),
        ("a\u200c\u0301", "\u00e1"),
    ],
)
def test_the_visible_words_by_value(text: str, normal: str) -> None:
    assert normalize(text) == normal


@given(ANY_TEXT)
@example("\u0345")
@example("\u212a\u200d\u05d0")  # a joiner beside a letter that becomes a K
@example("\u00b4x")
def test_normalize_is_idempotent(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(ANY_TEXT)
def test_the_visible_words_have_single_spaces_and_no_edges(text: str) -> None:
    assert normalize(text).split() == [word for word in normalize(text).split(" ") if word]
    assert normalize(f" \t{text}\u3000") == normalize(text)


@given(ANY_TEXT)
def test_canonical_forms_are_one_text(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert {digest(form) for form in forms} == {digest(text)}


@given(ANY_TEXT, st.integers(0), st.sampled_from(INVISIBLE))
def test_an_invisible_character_anywhere_changes_nothing(
    text: str, place: int, character: str
) -> None:
    place %= len(text) + 1
    if text[:place].endswith(("🏴", *map(chr, range(0xE0020, 0xE0080)))):
        return  # letters of a flag
    assert digest(text[:place] + character + text[place:]) == digest(text)


@given(ANY_TEXT, ANY_TEXT)
def test_what_is_the_same_is_loosely_the_same_and_so_is_another_case_or_end(
    text: str, other: str
) -> None:
    one, two = Words.of(text), Words.of(other)
    if one.digest == two.digest:
        assert one.loose == two.loose
    normal = normalize(text)
    if normal.isascii():
        assert Words.of(text.upper()).loose == Words.of(text.lower()).loose == one.loose
    if any(character.isalnum() for character in normal):
        assert Words.of(f"{text}?").loose == Words.of(f"{text} …").loose == one.loose


@pytest.mark.parametrize(("one", "other"), SAME)
def test_texts_that_are_one_question(one: str, other: str) -> None:
    assert normalize(one) == normalize(other)
    assert digest(one) == digest(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_are_two_questions(one: str, other: str) -> None:
    assert normalize(one) != normalize(other)
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("text", "loose"),
    [
        ("How do I learn PYTHON?", "how do i learn python"),
        ("How do I learn Python ?!", "how do i learn python"),
        ("Ça va\u00a0?", "ça va"),
        ("¿Cuál es?", "cuál es"),
        ("是 吗 ？", "是 吗"),
        ("Straße.", "strasse"),
        ("ΣΊΣΥΦΟΣ;", "σίσυφοσ"),
        ("What is C++?", "what is c++"),
        ("2\u2075", "2\u2075"),
        ("What is 5!?", "what is 5!"),
        ("?", "?"),
        ("...", "..."),
    ],
)
def test_loosely_the_same_words_by_value(text: str, loose: str) -> None:
    assert loosened(normalize(text)) == loose


def test_the_digests_are_blake2b_of_the_words() -> None:
    def blake2b(text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    words = Words.of("How do I  learn Python?")
    assert words.digest == digest("How do I  learn Python?") == blake2b("How do I learn Python?")
    assert words.loose == blake2b("how do i learn python")
    assert folded_digest("How do I  learn Python?") == blake2b("how do i learn python?")


def test_a_pair_is_known_by_its_visible_words_and_by_the_bytes_where_these_are_the_same() -> None:
    one, other = Words.of("How do I learn Python?"), Words.of("How can I learn Python?")
    spaced, shouted = Words.of(" How do I learn  Python?"), Words.of("HOW DO I LEARN PYTHON?")
    assert pair_digest(one, other) == pair_digest(other, spaced)
    assert pair_digest(one, other) == b"".join(sorted((one.digest, other.digest)))
    assert pair_digest(shouted, other) != pair_digest(one, other)
    assert loose_pair_digest(shouted, other) == loose_pair_digest(other, one)
    assert pair_digest(one, spaced) == pair_digest(spaced, one)
    assert pair_digest(one, spaced) != pair_digest(one, one)


# What nothing is seen of


@pytest.mark.parametrize(
    "text",
    ["", " ", "\t\u3000", "\u200b", "\u00ad", "\u3164", "\u2800", "\u0301", "\u0903", "\u20dd",
     "\u200c", "\u200d", "\u202e", "\ufe0f", "\x07", "\u2060 \u200b\u0301", "\U000e0061"],
)  # fmt: skip
def test_nothing_is_seen(text: str) -> None:
    assert not has_visible(text)


@pytest.mark.parametrize("text", ["a", "?", "☠", "ไ", "\u200ba", "a\u0301", "。", "\ue000", "1"])
def test_something_is_seen(text: str) -> None:
    assert has_visible(text)


@given(ANY_TEXT)
def test_what_is_seen_leaves_words(text: str) -> None:
    if has_visible(text):
        assert normalize(text)
    if not normalize(text):
        assert not has_visible(text)


# The wider sense, by which sets are kept apart


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("How do I\n learn  PYTHON?", "how do i learn python?"),
        ("ﬁ ² Ⅳ ㎒", "fi 2 iv mhz"),
        ("ẞ", "ss"),
        ("　Ｔｅｓｔ　", "test"),
        ("İ", "i\u0307"),
        ("\u01c4 \u1e9b\u0323", "d\u017e \u1e69"),
        ("ß\u0323", "s\u1e63"),
        ("ｶ\uff9e", "ガ"),
    ],
)
def test_the_folded_form_by_value(text: str, form: str) -> None:
    assert folded(text) == form


@given(ANY_TEXT)
@example("\u03b1\u0345\u0301")
def test_folding_is_idempotent(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_the_order_of_a_folded_pair_makes_no_difference() -> None:
    one, other = "How do I learn Python?", "How can I learn Python?"
    both = sorted((folded_digest(one), folded_digest(other)))
    assert folded_pair_digest(other.upper(), f" {one}") == b"".join(both)


# Runs of combining marks


def test_the_marks_are_all_characters_that_are_nothing_else_when_decomposed() -> None:
    """In every plane: of none other can a run be long."""
    marks = set()
    for code in range(sys.maxunicode + 1):
        decomposed = unicodedata.normalize("NFD", chr(code))
        if all(unicodedata.combining(part) for part in decomposed):
            marks.add(chr(code))
    assert combining_marks() == marks


@given(st.text(st.sampled_from("a\u00e9\u0301\u0323\u0344\u0f73\uff9eß\u0327"), max_size=300))
def test_texts_of_many_marks_are_what_plain_normalising_makes_of_them(text: str) -> None:
    """So every text has one digest, and a canonically equal one has the same."""
    assert normalize(text) == unicodedata.normalize("NFC", text)
    decomposed = unicodedata.normalize("NFD", text)
    assert Words.of(decomposed) == Words(decomposed, digest(text), Words.of(text).loose)
    assert folded(folded(text)) == folded(text)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0344\u0323", "\u0f73\u0327", "\uff9e\u0323"])
def test_a_run_of_a_hundred_thousand_marks_is_soon_normalised(marks: str) -> None:
    """Canonical ordering as it comes is quadratic: this would take minutes."""
    text = "a" + 50_000 * marks
    assert len(normalize(text)) > 50_000
    assert len(folded(text)) > 50_000


def test_ordinary_marks_stay_as_they_were() -> None:
    for text in ("Ünïcode", "e\u0301\u0323", "ที่นี่", "👩\u200d👩\ufe0f", "שָׁלוֹם", "z̸͇͖͑a̶͉͐l̴͉̈́g̵̺̈́o̸"):
        assert in_order(text) == text
