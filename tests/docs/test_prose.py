"""Sentences of pages, docstrings, comments and messages are short enough to be read once."""

from tests.docs.sentences import comments, long_ones, long_sentences, source_texts, texts_of

LONG = " ".join(f"word{number}" for number in range(26))


def test_no_sentence_is_too_long() -> None:
    assert long_ones() == {}


def test_a_long_sentence_would_be_seen() -> None:
    passed_over = f"A [link]({LONG}).\n\n| {LONG} |\n\nA `code {LONG}` (and {LONG}) is none."
    text = f"# Short\n\n{passed_over}\n\n- {LONG}; one more."
    assert list(long_sentences(text)) == [f"{LONG};"]


def test_a_sentence_goes_on_over_lines_and_ends_at_its_end() -> None:
    half = " ".join(["word"] * 13)
    assert list(long_sentences(f"{half}\n{half}.")) == [f"{half} {half}."]
    assert list(long_sentences(f"{half}. A{half}: {half}.")) == []


def test_docstrings_messages_and_comments_are_read() -> None:
    source = (
        '"""Module."""\n# Alone,\n# over two lines.\nclass One:\n    """Class."""\n\n'
        '    def run(self) -> None:\n        """Method."""\n        # Inside.\n        pass  # beside\n'
        '        raise Broken(f"broken by {self}")\n\n\nage = Field(description="Years.")\n'
    )
    assert sorted(texts_of(source)) == [
        (1, "Module."),
        (2, "Alone, over two lines."),
        (4, "Class."),
        (7, "Method."),
        (9, "Inside."),
        (10, "beside"),
        (11, "broken by X"),
        (14, "Years."),
    ]


def test_comments_beside_lines_that_follow_each_other_are_two() -> None:
    assert list(comments("a = 1  # one\nb = 2  # two\n# alone\n")) == [
        (1, "one"),
        (2, "two"),
        (3, "alone"),
    ]


def test_every_package_is_read() -> None:
    read = {place.split("/", 1)[0] for place, _ in source_texts()}
    assert read == {"app", "training", "sameask-client", "benchmarks", "examples", "tests"}
