"""What makes two texts the same question before any model is asked."""

import hashlib
import unicodedata
from dataclasses import dataclass

DIGEST_BYTES = 16

TextPair = tuple[str, str]


def normalize(text: str) -> str:
    """NFKC, case folded, white space collapsed. Texts equal in this form are the same question.

    Case folding can undo the composition that NFKC made, so it is composed once more.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


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
