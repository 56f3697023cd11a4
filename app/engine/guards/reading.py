"""A text in, its words with their places out, for all guards.

Words are runs of letters or of digits. A contraction is two words ("can't" is "can" and "not"), each with its place.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from app.engine.guards.number_words import FRACTIONS, NUMBERS, SCALES
from app.engine.guards.vocabulary import FUNCTION_WORDS, LONGEST_WORD, key_of
from app.engine.guards.word_lists import words
from app.engine.reasons import Span

READ_CHARACTERS = 2000  # of a text: questions are shorter, and a guard's work is bounded
SHOWN_CHARACTERS = 40  # of what differs, in a sentence

WORD = re.compile(
    r"\b[Uu]\.(?:[Ss]\.(?:[Aa]\.)?|[Kk]\.)"  # a country
    rf"|[^\W\d_]{{1,{LONGEST_WORD}}}(?:['’][^\W\d_]{{1,9}}){{0,2}}"  # letters
    r"|\d{1,40}(?:[.,:]\d{1,40}){0,7}"  # a number, a clock time, a version
)
DIGIT = re.compile(r"\d")
CODE_SIGN = re.compile(r"[\\_/#+:]|\B-|\w\.\w|[a-z]{2}[A-Z][a-z]|\bC\b")
SHORT = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}
IS_AFTER = words("what who where when why how it that this there here he she everything let")
NEGATED = {"can't": "can", "won't": "will", "shan't": "shall", "cannot": "can", "cant": "can"}
WITHOUT_APOSTROPHE = words("""
    dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wouldnt couldnt shouldnt
""")
NUMERALS = frozenset(key_of(word) for word in (*NUMBERS, *SCALES, *FRACTIONS, "per"))
Part = tuple[str, str, int, int, bool]  # key, lower case, start and end in the word, is it content


class Word(NamedTuple):
    """A word of a text: the key that it is compared by, its lower case, and its place."""

    key: str
    lower: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Start and end in the text."""
        return self.start, self.end


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of a text, in their order; they are compared by their `keys`."""

    text: str
    words: tuple[Word, ...]
    keys: tuple[str, ...]
    content: frozenset[str]  # keys that are neither function words nor numbers
    has_number: bool  # in digits or in words
    has_sign: bool  # one that codes and options have

    def part(self, span: Span) -> str:
        """The part of the text from a start to an end."""
        start, end = span
        return self.text[start:end]

    def shown(self, words: Sequence[Word]) -> str:
        """The part of the text from the first of some words to the last, as it stands there; a long one is cut."""
        if not words:
            return ""
        part = " ".join(self.text[words[0].start : words[-1].end].split())
        if len(part) > SHOWN_CHARACTERS:
            return part[:SHOWN_CHARACTERS] + "…"
        return part


@lru_cache(maxsize=256)
def read(text: str) -> Reading:
    """The words of a text. Few readings are kept: those of a question that is judged with several candidates."""
    found = []
    keys = []
    content = set()
    is_loud = text[:READ_CHARACTERS].isupper()  # capitals tell no name then
    for match in WORD.finditer(text, 0, READ_CHARACTERS):
        start = match.start()
        raw = match.group()
        if raw == "US" and is_loud:
            raw = "us"
        for key, lower, begin, end, is_content in parts(raw):
            found.append(Word(key, lower, start + begin, start + end))
            keys.append(key)
            if is_content:
                content.add(key)
    has_digit = DIGIT.search(text, 0, READ_CHARACTERS) is not None
    has_sign = has_digit or CODE_SIGN.search(text, 0, READ_CHARACTERS) is not None
    has_number = has_digit or not NUMERALS.isdisjoint(keys)
    return Reading(text, tuple(found), tuple(keys), frozenset(content), has_number, has_sign)


@lru_cache(maxsize=50_000)
def parts(raw: str) -> tuple[Part, ...]:
    """The one or two words that a run of letters or digits is."""
    if raw == "US":  # no pronoun
        return (_country("usa", len(raw)),)
    if raw[0] in "Uu" and raw[1:2] == ".":
        return (_country("uk" if raw[2] in "Kk" else "usa", len(raw)),)
    lower = raw.lower().replace("’", "'")
    if len(lower) != len(raw):  # a letter whose lower case is two: places would not fit
        lower = raw
    if lower in NEGATED:
        base = NEGATED[lower]
        cut = min(3, len(base))
        return _function_word(base, 0, cut), _function_word("not", cut, len(raw))
    if (lower.endswith("n't") and len(lower) > 4) or lower in WITHOUT_APOSTROPHE:
        cut = len(raw) - (3 if "'" in lower else 2)
        return _function_word(lower[:cut], 0, cut), _function_word("not", cut, len(raw))
    head, mark, tail = lower.partition("'")
    if not mark:
        return (_word(lower, len(raw)),)
    return _with_ending(head, "'" + tail, len(raw))


def _country(name: str, length: int) -> Part:
    return key_of(name), name, 0, length, True


def _function_word(lower: str, start: int, end: int) -> Part:
    return lower, lower, start, end, False


def _word(lower: str, length: int) -> Part:
    key = key_of(lower)
    return key, lower, 0, length, key not in FUNCTION_WORDS and not key[0].isdigit()


def _with_ending(head: str, tail: str, length: int) -> tuple[Part, ...]:
    """The words of a contraction, or the one of a possessive, without its ending."""
    if tail == "'s" and head in IS_AFTER:
        tail = "'is"
    if tail in SHORT or tail == "'is":
        second = SHORT.get(tail, "is")
        return _word(head, len(head)), _function_word(second, len(head), length)
    if tail == "'s":
        return (_word(head, length),)
    return (_word(head + tail, length),)
