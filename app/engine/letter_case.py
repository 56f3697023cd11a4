"""Two texts of loosely the same words in; where their letter case differs in a way that can carry meaning, out.

Nobody means anything by a text all in capitals or in small letters, by a capital at its beginning or by Title Case. A
capital does in an option (`-o`, `-O`), an escape (`\\d`, `\\D`) and a unit (MB, Mb). So it does in an abbreviation
that is a word in small letters (IT, US), and in a name that is one (Polish, Turkey).
"""

import re
import unicodedata
from collections.abc import Sequence

Span = tuple[int, int]  # start and end in code points
Difference = tuple[Span, Span]  # in the first text and in the second

# Letters, or digits: `100kb` is a number and a unit.
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")
# The characters before the letters of an option, of a path or of an escape.
OPTION = re.compile(r"(?:(?<!\w)[-/]{1,2}|[\\%$])$")
LOOK_BACK = 4  # characters before a word
AFTER_NUMBER = re.compile(r"\d\s?$")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


UNITS = _set(
    """b mω kb mb gb tb pb kib mib gib tib kbps mbps gbps tbps
    mw mv ma mpa mhz mj mg ms m s g t h f c n"""
)
ABBREVIATIONS = _set(
    """it us who aids ram cat gap pet pin sad sat act arm art asp can dos ear fat ice led mac
    pal pip pop rest sap soap vat"""
)
NAMES = _set(
    """polish turkey china march may august apple windows java swift amazon target rust go ruby
    python oracle slack word access excel outlook teams shell orange subway chase discover mobile
    reading nice cologne jersey mercury mars earth bill mark will grace rose jack frank drew ray
    miles penny"""
)


def differences(one: str, other: str) -> list[Difference]:
    """The places of words that differ in letter case alone, where that can carry meaning.

    The texts are loosely the same: their words stand for one another in order, up to the first that does not.
    """
    found: list[Difference] = []
    words = list(WORD.finditer(one))
    others = list(WORD.finditer(other))
    shouted = _is_shouted(words) or _is_shouted(others)
    of_names = _tells_names(words) and _tells_names(others)
    for number, (first, second) in enumerate(zip(words, others, strict=False)):
        word = first[0].casefold()
        if word != second[0].casefold():
            break
        if first[0] == second[0]:
            continue
        is_name = word in NAMES and of_names and number > 0
        is_abbreviation = word in ABBREVIATIONS and first[0].isupper() != second[0].isupper()
        is_special = is_name or _is_other_letter(first[0], second[0])
        is_special |= is_abbreviation and not shouted
        if is_special or any(map(_is_technical, (first, second))):
            found.append((first.span(), second.span()))
    return found


def _is_other_letter(one: str, other: str) -> bool:
    """Whether words that fold to the same are two in small letters, as the German Maßen and Massen; ligatures aside."""
    if one.isupper() or other.isupper():
        return False
    small = (unicodedata.normalize("NFKC", word.lower()) for word in (one, other))
    return len(set(small)) == 2


def _is_technical(word: re.Match[str]) -> bool:
    """Whether a word begins an option, a path or an escape, or is a unit after a number."""
    before = word.string[max(0, word.start() - LOOK_BACK) : word.start()]
    is_unit = word[0].casefold() in UNITS and AFTER_NUMBER.search(before)
    return bool(is_unit or OPTION.search(before))


def _is_shouted(words: Sequence[re.Match[str]]) -> bool:
    """Whether a text of some words is all in capitals."""
    return len(words) > 1 and all(word[0] == word[0].upper() for word in words)


def _tells_names(words: Sequence[re.Match[str]]) -> bool:
    """Whether a text is written with capitals here and there, so that one tells a name."""
    capitals = sum(word[0][0].isupper() for word in words)
    return 0 < capitals <= len(words) / 2
