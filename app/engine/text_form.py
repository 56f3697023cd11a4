"""A text in, the form of it out that models read: ways of typing that mean the same look the same to them.

The form has a number, which a release names in its manifest. Of another form its models would see other texts, so that
an index is bound to it. See docs/decisions/0022.
"""

import re
import unicodedata
from functools import cache

from app.engine.text import in_order, normalize

TEXT_FORM = 1
PLANES_WITH_FORMS = range(0x80, 0x20000)
# Compatibility forms whose letters, put side by side with others, would read as something else: 2⁵, 2½, ①②.
RAISED, LOWERED = "<super>", "<sub>"
APART = ("<fraction>", "<circle>")
DIGITS = "0123456789+-=()"
# Some signs have long forms (the one for "peace be upon him" has 18 letters). What a text of them grows to is cut, far
# behind the last token that any model reads.
LEAST_CHARACTERS = 4096
MOST_GROWTH = 4


def readable(text: str) -> str:
    """The visible words, with compatibility forms (bold letters, full width, ligatures) as plain letters.

    A raised digit is written with a caret, a fraction or a number in a circle with spaces around it.
    """
    words = normalize(text)
    if words.isascii():
        return words
    plain = unicodedata.normalize("NFKC", in_order(words.translate(_plain_letters())))
    return normalize(plain[: max(LEAST_CHARACTERS, MOST_GROWTH * len(words))])


def shifted(text: str) -> str:
    """The raised and the lowered letters, and the lowered digits beside others. Plain, they say something else: 2ⁿ and
    2n, log₂8 and log28."""
    return "" if text.isascii() else "".join(_shifted().findall(normalize(text)))


@cache
def _shifted() -> re.Pattern[str]:
    letters = digits = ""
    for character in map(chr, PLANES_WITH_FORMS):
        kind, *_ = unicodedata.decomposition(character).split() or [""]
        if kind == LOWERED and character.isdigit():
            digits += character
        elif kind == LOWERED or (kind == RAISED and ord(character) not in _plain_letters()):
            letters += character
    letters, digits = map(re.escape, (letters, digits))
    return re.compile(rf"[{letters}]|(?<=\d)[{digits}]|[{digits}](?=\d)")


@cache
def _plain_letters() -> dict[int, str]:
    """By code point, the replacement of a character before NFKC makes plain letters of all others."""
    letters = {}
    for character in map(chr, PLANES_WITH_FORMS):
        kind, *_ = unicodedata.decomposition(character).split() or [""]
        plain = unicodedata.normalize("NFKC", character)
        if kind in APART:
            letters[ord(character)] = f" {plain} "
        elif kind == RAISED and all(letter in DIGITS for letter in plain):
            letters[ord(character)] = f"^{plain}"
    return letters
