"""What makes two texts the same question before any model is asked."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

DIGEST_BYTES = 16
MAX_MARKS = 30  # combining marks in a row, of Unicode's stream-safe format (UAX #15, 13)
JOINER = "\u034f"  # combining grapheme joiner: it is no mark itself, and parts a run of them
# Characters that are no combining marks, and are nothing but marks when decomposed.
OTHER_MARKS = "\u0f73\u0f75\u0f81\uff9e\uff9f"
PLANES_WITH_MARKS = range(0x300, 0x20000)

TextPair = tuple[str, str]


def normalize(text: str) -> str:
    """NFKC, case folded, white space collapsed. Texts equal in this form are the same question.

    Case folding can undo the composition that NFKC made, so it is composed once more. Runs of combining marks are
    parted first: normalising takes time with the square of their length.
    """
    folded = unicodedata.normalize("NFKC", stream_safe(text)).casefold()
    composed = unicodedata.normalize("NFKC", stream_safe(folded))
    return " ".join(stream_safe(composed).split())


def stream_safe(text: str) -> str:
    """The text with a joiner after every 30 combining marks in a row."""
    if len(text) <= MAX_MARKS or text.isascii():
        return text
    # Each run of 31 covers one of these places.
    places = text[MAX_MARKS :: MAX_MARKS + 1]
    if combining_marks().isdisjoint(places):
        return text
    return _long_runs().sub(rf"\g<0>{JOINER}", text)


@cache
def combining_marks() -> frozenset[str]:
    """Every character that is nothing but combining marks when decomposed."""
    marks = filter(unicodedata.combining, map(chr, PLANES_WITH_MARKS))
    return frozenset([*marks, *OTHER_MARKS])


@cache
def _long_runs() -> re.Pattern[str]:
    """As many combining marks as may stand in a row, before another one."""
    any_mark = f"[{''.join(sorted(combining_marks()))}]"
    return re.compile(f"{any_mark}{{{MAX_MARKS}}}(?={any_mark})")


def digest(text: str) -> bytes:
    """128 bits of the normalised text (BLAKE2b): equal for texts that are the same question."""
    return hashlib.blake2b(normalize(text).encode("utf-8"), digest_size=DIGEST_BYTES).digest()


def pair_digest(one: str, other: str) -> bytes:
    """256 bits of a pair: both digests, the lesser first, so that the order of the questions makes no difference."""
    return b"".join(sorted((digest(one), digest(other))))


@dataclass(frozen=True, slots=True)
class Words:
    """A text, and the digest that it shares with every text of the same words."""

    text: str
    digest: bytes

    @classmethod
    def of(cls, text: str) -> "Words":
        """A text with its digest."""
        return cls(text, digest(text))
