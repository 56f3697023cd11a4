"""What models read of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.text import Words
from app.engine.text_form import readable

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("How do I\n reset  it?", "How do I reset it?"),
        ("How do I reset it", "How do I reset it"),
        ("“Why”…", '"Why"...'),
        ("𝗛𝗼𝘄 𝒅𝒐 𝕀 reset it?", "How do I reset it?"),  # bold, italic, double-struck
        ("Ｈｏｗ　ｄｏ　Ｉ？", "How do I?"),
        ("oﬃce on page Ⅻ", "office on page XII"),
        ("What is 2⁵?", "What is 2^5?"),
        ("What is 25?", "What is 25?"),
        ("2½ cups", "2 1⁄2 cups"),
        ("①② and ⑫", "1 2 and 12"),
        ("H₂O", "H2O"),
        ("Is it 20℃?", "Is it 20°C?"),
        ("años", "años"),
        ("zero\u200bwidth", "zerowidth"),
        ("\u200b", ""),
    ],
)
def test_the_form_by_value(text: str, form: str) -> None:
    assert readable(text) == form


@given(ANY_TEXT)
def test_a_form_is_its_own_form_and_that_of_the_same_words(text: str) -> None:
    form = readable(text)
    assert readable(form) == form
    assert readable(f" {text}\u200b") == form


@given(ANY_TEXT, ANY_TEXT)
def test_the_same_words_have_one_form(one: str, other: str) -> None:
    if Words.of(one).digest == Words.of(other).digest:
        assert readable(one) == readable(other)


def test_signs_with_long_forms_make_no_text_eighteen_times_as_long() -> None:
    sign = "\ufdfa"  # eighteen letters and spaces
    assert readable(f"What is {sign}?") == "What is صلى الله عليه وسلم?"
    assert len(readable(sign * 10_000)) <= 40_000
    assert readable(sign * 10_000).startswith("صلى الله عليه وسلم" * 100)
