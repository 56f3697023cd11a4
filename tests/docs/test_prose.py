"""Sentences of pages and of modules' docstrings are short enough to be read once."""

from tests.docs.sentences import long_ones, long_sentences

# Of decisions, which are records: what they say is not reworded. The number may fall, not rise.
MOST_IN_DECISIONS = 73
DECISIONS = "docs/decisions/"


def test_no_sentence_is_too_long() -> None:
    found = long_ones()
    assert {name: long for name, long in found.items() if not name.startswith(DECISIONS)} == {}
    in_decisions = sum(len(long) for name, long in found.items() if name.startswith(DECISIONS))
    assert in_decisions <= MOST_IN_DECISIONS


def test_a_long_sentence_would_be_seen() -> None:
    words = " ".join(f"word{number}" for number in range(26))
    passed_over = f"A [link]({words}).\n\n| {words} |\n\nA `code {words}` (and {words}) is none."
    text = f"# Short\n\n{passed_over}\n\n- {words}; one more."
    assert list(long_sentences(text)) == [f"{words};"]


def test_a_sentence_goes_on_over_lines_and_ends_at_its_end() -> None:
    half = " ".join(["word"] * 13)
    assert list(long_sentences(f"{half}\n{half}.")) == [f"{half} {half}."]
    assert list(long_sentences(f"{half}. A{half}: {half}.")) == []
