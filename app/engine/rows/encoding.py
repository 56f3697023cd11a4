"""Bytes in, lines of text out: the encoding is found where it is not said.

A byte order mark tells it, or the zeros of UTF-16. A file whose bytes are all valid UTF-8 is UTF-8. One with more bytes
that can't be UTF-8 than characters that are is taken for cp1252, the encoding of Windows in the west. Other encodings
of this kind can't be told by their bytes.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import IO

from app.engine.rows.file import MAX_LINE_CHARACTERS
from app.errors import UnreadableFile

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UTF_8, WESTERN = "utf-8", "cp1252"
SAMPLE_BYTES, PIECE_BYTES = 4096, 2**18
MOST_ZEROS, FEW_ZEROS = 0.3, 0.05  # of every other byte
MOST_MARKED = 0.3  # of letters: more of them have no accent in any language of the west
BROKEN = re.compile("[\udc80-\udcff]")
BEYOND_ASCII = re.compile("[^\x00-\x7f\udc80-\udcff]")
PLAIN_LETTERS = re.compile(rb"[A-Za-z]")


def find_encoding(open_: Callable[[], IO[bytes]], given: str | None) -> str:
    """The name of a codec. Raises UnreadableFile for a given name that is none, and where none can be told."""
    if given:
        return _known(given)
    with open_() as stream:
        beginning = stream.read(SAMPLE_BYTES)
        for mark, name in MARKS:
            if beginning.startswith(mark):
                return name
        even, odd = beginning[::2], beginning[1::2]
        zeros = even.count(0) / max(len(even), 1), odd.count(0) / max(len(odd), 1)
        if zeros[1] > MOST_ZEROS and zeros[0] < FEW_ZEROS:
            return "utf-16-le"
        if zeros[0] > MOST_ZEROS and zeros[1] < FEW_ZEROS:
            return "utf-16-be"
        return _by_all_bytes(beginning, stream)


def _known(given: str) -> str:
    try:
        name = codecs.lookup(given).name
        "".encode(name)
    except (LookupError, ValueError):
        raise UnreadableFile(f"can't be read as {given!r}, which is no encoding") from None
    return "utf-8-sig" if name == UTF_8 else name


def _by_all_bytes(piece: bytes, stream: IO[bytes]) -> str:
    decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")
    broken = whole = letters = 0
    while piece:
        text = decoder.decode(piece)
        if not text.isascii():
            broken += len(BROKEN.findall(text))
            whole += len(BEYOND_ASCII.findall(text))
        if broken > whole:
            letters += len(PLAIN_LETTERS.findall(piece))
        piece = stream.read(PIECE_BYTES)
    if broken <= whole:
        return UTF_8
    if broken > MOST_MARKED * (letters + broken):
        raise UnreadableFile(
            "is text in an encoding that can't be told: save it as UTF-8, or name it (--encoding)"
        )
    return WESTERN


def open_text(stream: IO[bytes], encoding: str) -> IO[str]:
    """As text. Bytes that the encoding lacks become lone surrogates, which no text may hold: their row is named."""
    errors = "surrogateescape" if encoding[:3] != "utf" or "8" in encoding else "strict"
    return io.TextIOWrapper(stream, encoding, errors, newline="")


def numbered_lines(file: IO[str]) -> Iterator[tuple[int, str]]:
    """Number and text of each line. Raises UnreadableFile for one so long that no row needs it."""
    number = 0
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        number += 1
        if len(line) > MAX_LINE_CHARACTERS:
            raise UnreadableFile(
                f"{number}: the line has more than {MAX_LINE_CHARACTERS:,} characters"
            )
        yield number, line
