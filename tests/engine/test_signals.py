"""What the models of a release can't tell of two texts."""

from pathlib import Path

import pytest

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.signals import MOST_SPANS, NOTHING, Reader, Signals, looks_equal
from tests.tiny_model import build_tiny_classifier

LONG = (
    "x" * 60
)  # the tiny tokenizer makes a token of each letter; 46 of a text are read, 45 of a pair


@pytest.fixture(scope="module")
def reader(tiny_encoder: Encoder) -> Reader:
    return Reader(tiny_encoder, None)


def signals(reader: Reader, one: str, other: str) -> Signals:
    found = reader.signals(one, other, is_read=False)
    turned = reader.signals(other, one, is_read=False)
    assert (found.cut1, found.cut2) == (turned.cut2, turned.cut1)
    assert (found.unread1, found.unread2) == (turned.unread2, turned.unread1)
    return found


@pytest.mark.parametrize(
    ("one", "other", "unread1", "unread2"),
    [
        ("años?", "anos?", ((0, 4),), ((0, 4),)),
        ("two años", "two anos", ((4, 8),), ((4, 8),)),
        ("☠ or ☣ or ☠", "☠ or ☣", ((0, 1),), ()),
        ("is ☠ bad", "is ☣ bad", ((3, 4),), ((3, 4),)),
        ("fine 🍕", "fine", ((5, 6),), ()),
        (f"a {'y' * 101}", f"a {'z' * 101}", ((2, 103),), ((2, 103),)),  # too long a word
    ],
)
def test_texts_that_differ_where_the_model_sees_no_difference(
    reader: Reader, one: str, other: str, unread1: tuple[object], unread2: tuple[object]
) -> None:
    found = signals(reader, one, other)
    assert found.is_unreadable
    if "y" not in one:
        assert (found.unread1, found.unread2) == (unread1, unread2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How are you?", "HOW are you"),
        ("How are you ?", "How  are you?"),
        ("Is it ☠?", "Is it not ☠?"),
        ("𝗛𝗼𝘄?", "How?"),
        ("one", "two"),
    ],
)
def test_texts_that_the_model_can_tell_or_that_are_written_otherwise(
    reader: Reader, one: str, other: str
) -> None:
    assert not signals(reader, one, other).is_unreadable


def test_the_share_of_unknown_tokens_is_that_of_the_text_with_more(reader: Reader) -> None:
    assert signals(reader, "☠☠ a", "abc").unknown_share == 1 / 2  # one word, and a letter
    assert signals(reader, "ab", "abc").unknown_share == 0.0


def test_what_is_cut_is_told_by_its_place(reader: Reader) -> None:
    found = signals(reader, f"  {LONG}", "short?")
    assert (found.cut1, found.cut2, found.max_tokens) == ((46, 62), None, 48)
    assert reader.cuts("short?", "also short", is_read=False) == NOTHING


def test_the_classifier_reads_less_of_a_pair(
    tiny_encoder: Encoder, tiny_model: Path, tmp_path: Path
) -> None:
    classifier = PairClassifier.open(build_tiny_classifier(tiny_model, tmp_path / "tiny"), "cpu")
    reader = Reader(tiny_encoder, classifier)
    limit = classifier.max_tokens or 0
    one, other = "a" * (limit // 2 + 5), "b" * (limit // 2 - 10)
    read = reader.signals(one, other, is_read=True)
    turned = reader.signals(other, one, is_read=True)
    assert read.cut1 is None or read.cut1[1] == len(one)
    assert (read.cut1, read.cut2) == (turned.cut2, turned.cut1)
    both = reader.signals("a" * limit, "b" * limit, is_read=True)
    assert both.cut1
    assert both.cut2
    assert both.max_tokens == limit
    assert both.cut1[0] in range(limit // 2 - 3, limit // 2 + 1)


def test_equal_looks_are_told_by_tokens(tiny_encoder: Encoder) -> None:
    see = tiny_encoder.see
    assert looks_equal(see("años"), see("anos"))
    assert not looks_equal(see("anos"), see("ANOS "))
    assert see("a ☠").unknown == ((2, 3),)
    assert see("a ☠").unknown_words == ["☠"]


@pytest.mark.parametrize("other", ["x", "☣" * 10_000, "☣ " * 5_000])
def test_of_a_text_that_holds_thousands_of_such_places_the_first_are_told(
    reader: Reader, other: str
) -> None:
    """Each candidate of an answer has its own places: all of them made megabytes of a few kilobytes."""
    found = signals(reader, "☠ " * 5_000, other)
    assert found.is_unreadable
    assert found.unread1[:2] == ((0, 1), (2, 3))
    assert max(len(found.unread1), len(found.unread2)) == MOST_SPANS
