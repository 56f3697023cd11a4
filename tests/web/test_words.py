"""Which words differ."""

import pytest

from app.web.words import Aligned, Run, aligned, marked


def test_words_that_the_other_lacks_are_marked_with_what_stands_between_them() -> None:
    assert marked("Can I protect a public link?", "How do I protect a shared link?") == [
        Run("Can", "other"),
        Run(" I protect a ", "same"),
        Run("public", "other"),
        Run(" link?", "same"),
    ]


def test_no_word_is_marked_where_half_of_them_differ() -> None:
    assert marked("Where are my invoices", "Where is my card") == [
        Run("Where are my invoices", "same")
    ]
    assert marked("Where are my new invoices", "Where are my old bills")[1:] == [
        Run("new invoices", "other")
    ]


def test_letter_case_makes_no_difference() -> None:
    assert marked("HOW do I?", "how do i?") == [Run("HOW do I?", "same")]


def test_what_turns_the_meaning_is_marked_as_such() -> None:
    assert marked("Turn it on", "Turn it off", [(8, 10)]) == [
        Run("Turn it ", "same"),
        Run("on", "turns"),
    ]


def test_a_span_past_the_end_marks_nothing_past_it() -> None:
    assert marked("on", "off", [(1, 9)]) == [Run("o", "same"), Run("n", "turns")]


@pytest.mark.parametrize("text", ["", "🙂", "نعم", "a" * 10, "  "])
def test_a_text_is_whole_in_its_runs(text: str) -> None:
    assert "".join(run.text for run in marked(text, "another one")) == text


def test_pieces_stand_side_by_side() -> None:
    assert aligned("Put it on", "Take it off", [(0, 3)], [(0, 4)]) == [
        Aligned("Put", "Take", "turns"),
        Aligned("it", "it", "same"),
        Aligned("on", "off", "other"),
    ]


@pytest.mark.parametrize("again", [1, 2])
def test_words_that_come_again_and_again_are_not_compared(again: int) -> None:
    first = " ".join(f"{'a ' * again}x{number}" for number in range(100))
    second = " ".join(f"{'a ' * again}y{number}" for number in range(100))
    assert aligned(first, second) == [Aligned(first, second, "other")]
    assert marked(first, second) == [Run(first, "same")]


def test_two_texts_of_three_hundred_words_are_compared() -> None:
    words = [f"word{number % 75}" for number in range(300)]
    other = [*words[:150], "another", *words[151:]]
    assert [run.how for run in marked(" ".join(words), " ".join(other))] == [
        "same",
        "other",
        "same",
    ]


def test_long_texts_are_not_compared() -> None:
    long = "word " * 400
    assert aligned(long, "word") == [Aligned(long, "word", "other")]
    assert marked(long, "word") == [Run(long, "same")]
