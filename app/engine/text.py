"""How alike two texts are before any model is asked, on three levels.

1. The bytes are the same.
2. The visible words are the same: NFC, white space, invisible characters and typographic quotes make no difference.
   This alone is an identity: such texts are one question without a model.
3. The words are loosely the same: letter case and the punctuation at the end make no difference either. A label holds
   for such texts where none speaks of them more exactly.

Texts to learn from and texts to measure on are kept apart by a wider sense, `folded`, in which compatibility forms are
one, too.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Protocol

DIGEST_BYTES = 16
MAX_MARKS = 30  # combining marks in a row that normalising may sort itself (UAX #15, 13)
PLANES_WITH_MARKS = range(0x300, 0x20000)

# Invisible characters: controls that are no white space, and what Unicode calls default ignorable
# (DerivedCoreProperties.txt), but for joiners and for overrides of the direction of writing, which show.
INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202c\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
UNSEEN_CATEGORIES = frozenset(("Mn", "Mc", "Me", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs"))
BLANK = "\u2800"  # a Braille cell without dots
# The flags of England, Scotland and Wales are a black flag and invisible letters.
_UNSEEN = re.compile(f"(?P<flag>\U0001f3f4[\U000e0020-\U000e007f]+)|[{INVISIBLE}]")
JOINERS = frozenset("\u200c\u200d")
# A joiner shows between letters of scripts that join them, and between emoji.
_PLAIN = "\\s\x00-\u052f\u2000-\u206f"
_IDLE_JOINERS = re.compile(f"(?:^|(?<=[{_PLAIN}]))[\u200c\u200d]+|[\u200c\u200d]+(?=[{_PLAIN}]|$)")
_STRAIGHT = str.maketrans(
    {BLANK: " "}
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u2039\u203a\u02bc", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb", '"')
)
_HALF_WIDTH_MARKS = str.maketrans("\uff9e\uff9f", "\u3099\u309a")
_BEGINNINGS, _ENDS = "¿¡ ", " .?!,;:…‽⁇⁈⁉。．？！｡、，؟۔،؛।॥"  # of a text's punctuation
_MARKS = " .?"
_COUNTABLE = re.compile(r"(?:(?<!\w)[^\W\d_]|[)\]])$")

TextPair = tuple[str, str]


class Worded(Protocol):
    """A text and its digests: a stored question, or `Words`."""

    @property
    def text(self) -> str: ...

    @property
    def digest(self) -> bytes:
        """The digest that it shares with every text of the same visible words."""

    @property
    def loose(self) -> bytes:
        """The digest that it shares with every text of loosely the same words."""


def normalize(text: str) -> str:
    """The visible words: in NFC, white space collapsed, without invisible characters, quotes straight.

    Texts equal in this form are the same question. It takes time in proportion to the text's length.
    """
    if text.isascii():
        return " ".join((text if text.isprintable() else _UNSEEN.sub("", text)).split())
    words = unicodedata.normalize("NFC", in_order(_seen(text)))
    if not JOINERS.isdisjoint(words):
        words = unicodedata.normalize("NFC", in_order(_IDLE_JOINERS.sub("", words)))
    return " ".join(words.split())


def loosened(normal: str) -> str:
    """Of visible words: without letter case, and without the punctuation at the end, where anything else is there."""
    words = without_ends(normal)
    if words.isascii():
        return words.lower()
    # Folding case can undo composition, and some letters fold otherwise where they are composed (Unicode, 3.13, D145).
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", words).casefold())


def without_ends(normal: str) -> str:
    """Of visible words: without the punctuation at the end, where anything else is there. A factorial is none."""
    words = normal.lstrip(_BEGINNINGS).rstrip(_ENDS)
    if words[-1:].isdigit() and normal.rstrip(_MARKS).endswith(f"{words}!"):
        return f"{words}!"
    return words or normal


def ends_may_differ(one: str, other: str) -> bool:
    """Whether the punctuation at the ends of two visible words may be what they are about.

    So it may where it stands apart in both and is not the same: `the operator !!`, `the operator ?:`. So it may where
    it makes a factorial in one of them: `zeros of n!`.
    """
    (apart, is_factorial), (other_apart, is_other_factorial) = map(_end, (one, other))
    if apart and other_apart and apart != other_apart:
        return True
    return is_factorial != is_other_factorial


def _end(normal: str) -> tuple[str, bool]:
    """The punctuation that stands apart at the end, and whether that at the end makes a factorial: of one letter, or of
    brackets."""
    words = normal.rstrip(_ENDS)
    end = normal[len(words) :]
    is_factorial = end.startswith("!") and _COUNTABLE.search(words) is not None
    return end.strip() if end.startswith(" ") else "", is_factorial


def folded(text: str) -> str:
    """NFKC, case folded, white space collapsed. Training sets and the sets to measure on share no text in this form.

    Case folding can undo the composition that NFKC made, so it is composed once more.
    """
    composed = unicodedata.normalize("NFKC", in_order(text.translate(_HALF_WIDTH_MARKS)))
    again = unicodedata.normalize("NFKC", in_order(composed.casefold()))
    return " ".join(again.split())


def has_visible(text: str) -> bool:
    """Whether anything is seen of a text: a character that is no white space, no mark alone, and not invisible."""
    seen = _seen(text)
    if seen.isascii():
        return bool(seen.strip())
    return any(unicodedata.category(character) not in UNSEEN_CATEGORIES for character in seen)


def _seen(text: str) -> str:
    """Without invisible characters, and with straight quotes."""
    return _UNSEEN.sub(lambda match: match["flag"] or "", text).translate(_STRAIGHT)


def in_order(text: str) -> str:
    """The text with long runs of combining marks in canonical order: normalising sorts them in quadratic time."""
    if len(text) <= MAX_MARKS or text.isascii():
        return text
    # Each run of 31 covers one of these places.
    places = text[MAX_MARKS :: MAX_MARKS + 1]
    if combining_marks().isdisjoint(places):
        return text
    return _long_runs().sub(_sorted_run, text)


def _sorted_run(run: re.Match[str]) -> str:
    """Canonical ordering (Unicode, 3.11, D109): each mark decomposed, then by combining class, or else as they came."""
    parts: list[str] = []
    for mark in run[0]:
        parts += unicodedata.normalize("NFD", mark)
    return "".join(sorted(parts, key=unicodedata.combining))


@cache
def combining_marks() -> frozenset[str]:
    """Every character that is nothing but combining marks when decomposed."""
    return frozenset(filter(_is_mark, map(chr, PLANES_WITH_MARKS)))


def _is_mark(character: str) -> bool:
    return all(map(unicodedata.combining, unicodedata.normalize("NFD", character)))


@cache
def _long_runs() -> re.Pattern[str]:
    """More combining marks than normalising may sort."""
    any_mark = f"[{''.join(sorted(combining_marks()))}]"
    return re.compile(f"{any_mark}{{{MAX_MARKS + 1},}}")


def digest(text: str) -> bytes:
    """128 bits of the visible words (BLAKE2b): equal for texts that are the same question."""
    return _digest(normalize(text))


def folded_digest(text: str) -> bytes:
    """128 bits of the folded text."""
    return _digest(folded(text))


def folded_pair_digest(one: str, other: str) -> bytes:
    """256 bits of a pair, both folded: the order of its texts makes no difference."""
    return b"".join(sorted((folded_digest(one), folded_digest(other))))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=DIGEST_BYTES).digest()


WordedPair = tuple[Worded, Worded]


@dataclass(frozen=True, slots=True)
class Words:
    """A text with its digests: 128 bits each (BLAKE2b)."""

    text: str
    digest: bytes
    loose: bytes

    @classmethod
    def of(cls, text: str) -> "Words":
        """A text with its digests."""
        normal = normalize(text)
        return cls(text, _digest(normal), _digest(loosened(normal)))


def pair_digest(one: Worded, other: Worded) -> bytes:
    """256 bits by which a pair is known, whichever text comes first: by the visible words, or by the bytes of texts of
    the same words."""
    ends = one.digest, other.digest
    if one.digest == other.digest:
        ends = _digest(one.text), _digest(other.text)
    return b"".join(sorted(ends))


def loose_pair_digest(one: Worded, other: Worded) -> bytes:
    """256 bits that a pair shares with every pair of loosely the same texts, whichever comes first."""
    return b"".join(sorted((one.loose, other.loose)))
