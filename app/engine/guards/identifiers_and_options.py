"""Fires where the questions name two codes, options or names in a program: E18 and E81, -o and -O, max_len and min_len.

The case of letters counts in options and behind a backslash, nowhere else; hyphens and spaces in a code don't.
"""

import re
from collections.abc import Iterator, Mapping

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.reading import READ_CHARACTERS, Reading
from app.engine.guards.units_of_measure import UNITS
from app.engine.guards.word_lists import words
from app.engine.reasons import Span

LEAST_AGREEMENT = 0.3
LONGEST = 60  # characters of a code

CHUNK = re.compile(r"[^\s,;!?()\"“”`'’‘]{1,200}")
OPTION = re.compile(r"--?[A-Za-z][\w-]{0,40}")
ESCAPE = re.compile(r"\\\w{1,20}")
KEYS = re.compile(r"[A-Za-z]{1,9}(?:\+[A-Za-z0-9]{1,9}){1,3}")  # Ctrl+Z
IN_CAPITALS = re.compile(r"[a-z]{2,}(?:[A-Z][a-z]+)+")  # getUserName
LANGUAGE = re.compile(r"[A-Za-z](?:\+\+|#)|C")  # of programs
COUNTED = re.compile(r"\d[\d.,]*[-–]?[a-z]{2,}")  # 3rd, 5kg, 10-year
CODED = words(
    "error code status port http order ticket flight reference form answer returns gives line bus"
)
NAMED = re.compile(r"[A-Z]{1,5}")  # AX 300


def difference(pair: Alignment) -> Difference | None:
    """Whether each of the questions names a code that the other doesn't."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    if not pair.first.has_sign or not pair.second.has_sign:
        return None
    codes1 = dict(_codes(pair.first))
    codes2 = dict(_codes(pair.second))
    own1 = [span for code, span in codes1.items() if code not in codes2]
    own2 = [span for code, span in codes2.items() if code not in codes1]
    if not own1 or not own2 or _is_same_number(codes1, codes2):
        return None
    return Difference.of_parts("identifier", pair, own1[0], own2[0])


def _is_same_number(codes1: Mapping[str, Span], codes2: Mapping[str, Span]) -> bool:
    """Whether the one code of a text is the number in that of the other: 500, HTTP 500."""
    if len(codes1) != 1 or len(codes2) != 1:
        return False
    short, long = sorted((*codes1, *codes2), key=len)
    return short.isdecimal() and long.endswith(short) and long.removesuffix(short).isalpha()


def _codes(reading: Reading) -> Iterator[tuple[str, Span]]:
    """The codes of a text, as they are compared, with their places."""
    before = ""
    end_before = -1
    for match in CHUNK.finditer(reading.text, 0, READ_CHARACTERS):
        chunk = match.group().rstrip(".:")
        start = match.start()
        end = match.start() + len(chunk)
        if not chunk or len(chunk) > LONGEST:
            before = ""
            continue
        is_digits = chunk.isdecimal()
        if is_digits and start == end_before + 1 and NAMED.fullmatch(before):
            yield _folded(before + chunk), (end_before - len(before), end)
        elif is_digits and before.lower() in CODED and len(chunk) > 1:
            yield chunk, (start, end)
        elif code := _code(chunk):
            yield code, (start, end)
        before = chunk
        end_before = end


def _code(chunk: str) -> str | None:
    """A chunk as codes are compared; None where it is none."""
    if OPTION.fullmatch(chunk) or ESCAPE.fullmatch(chunk):
        return chunk
    if LANGUAGE.fullmatch(chunk) or IN_CAPITALS.fullmatch(chunk):
        return chunk.lower()
    if chunk.isalpha() or chunk.isdecimal():
        return None
    if KEYS.fullmatch(chunk) or (chunk.startswith(("/", "#")) and len(chunk) > 2):
        return chunk.lower()
    letters = any(character.isalpha() for character in chunk)
    digits = any(character.isdecimal() for character in chunk)
    if letters and digits:
        return None if _is_counted(chunk) else _folded(chunk)
    if letters and ("_" in chunk.strip("_") or _is_dotted(chunk) or ":" in chunk):
        return chunk.lower()
    if digits and "/" in chunk and max(map(len, chunk.split("/"))) >= 3:
        return chunk
    return None


def _is_counted(chunk: str) -> bool:
    """Whether it is a number with a unit or an ending, or a price."""
    if not chunk[0].isdecimal():
        return not chunk[0].isalpha() and chunk[0] not in ".0"
    if COUNTED.fullmatch(chunk):
        return True
    ending = chunk.lstrip("0123456789.,")
    return ending in UNITS or ending in ("k", "x", "D", "G")


def _is_dotted(chunk: str) -> bool:
    """Whether it is names that points part: user.find_all."""
    names = chunk.split(".")
    return len(names) > 1 and all(len(name) > 1 and name.isidentifier() for name in names)


def _folded(code: str) -> str:
    return "".join(character for character in code.casefold() if character not in "-‐–_ .")
