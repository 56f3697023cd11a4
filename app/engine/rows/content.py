"""The kind of a file by its first bytes, and its content as a stream, unpacked as it is read.

A file that unpacks to far more than it is can't be a file of questions: it is refused on the way, not held.
"""

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from app.engine.rows.file import MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO
from app.errors import UnreadableFile

GZIP, ZIP, PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
ZIP_END, ZIP_END_64 = b"PK\x05\x06", b"PK\x06\x07"
ZIP_END_BYTES, ZIP_LOCATOR_BYTES, MAX_ZIP_COMMENT = 22, 20, 2**16
MAX_ZIP_DIRECTORY = 2**20  # bytes: of thousands of files
READ_BYTES = 2**16
# How files begin that people take for tables.
OTHERS = (
    (b"%PDF", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls, .doc): save it as .xlsx or CSV"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"SQLite format 3", "a database"),
    (b"BZh", "packed by bzip2: unpack it first"),
    (b"\xfd7zXZ", "packed by xz: unpack it first"),
    (b"7z\xbc\xaf", "packed by 7-Zip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed by Zstandard: unpack it first"),
)
READ_HERE = "CSV, TSV, JSON, .xlsx and Parquet are read, text also inside gzip or ZIP"

Kind = Literal["text", "parquet", "spreadsheet"]


@dataclass(frozen=True)
class Content:
    """The kind of a file's content, and a way to open it, unpacked, as often as needed."""

    kind: Kind
    open: Callable[[], IO[bytes]]
    packed: str = ""  # by what


def content_of(path: Path) -> Content:
    """The content of a file. Raises UnreadableFile for a file that is no table, OSError, zipfile.BadZipFile."""
    if not path.is_file():
        raise UnreadableFile("is no file" if path.exists() else "is not there")
    with path.open("rb") as file:
        beginning = file.read(16)
    if beginning.startswith(GZIP):
        return _text_inside("gzip", lambda: _unpacking(gzip.open(path), path))
    if beginning.startswith((ZIP, ZIP_END)):
        return _inside_zip(path)
    if beginning.startswith(PARQUET):
        return Content("parquet", lambda: path.open("rb"))
    _refuse_other(beginning)
    return Content("text", lambda: path.open("rb"))


def _refuse_other(beginning: bytes) -> None:
    if not beginning:
        raise UnreadableFile("is empty")
    for begins, what in OTHERS:
        if beginning.startswith(begins):
            raise UnreadableFile(f"is {what}; {READ_HERE}")


def _text_inside(packed: str, open_: Callable[[], IO[bytes]]) -> Content:
    with open_() as stream:
        beginning = stream.read(16)
    if beginning.startswith((GZIP, ZIP, PARQUET)):
        raise UnreadableFile(
            f"holds, packed by {packed}, a file that is packed itself: unpack it first"
        )
    _refuse_other(beginning)
    return Content("text", open_, packed)


def _inside_zip(path: Path) -> Content:
    _refuse_heap(path)
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    for entry in entries:
        if entry.flag_bits & 1:
            raise UnreadableFile("is a ZIP with a password: unpack it first")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableFile("is a ZIP packed in an unusual way: unpack it first")
    names = {entry.filename for entry in entries}
    if "xl/workbook.xml" in names:
        return Content("spreadsheet", lambda: path.open("rb"))
    if names & {"content.xml", "word/document.xml", "ppt/presentation.xml"}:
        raise UnreadableFile(f"is a document of an office program: save it as .xlsx; {READ_HERE}")
    files = [entry for entry in entries if not entry.filename.startswith("__MACOSX/")]
    if len(files) != 1:
        raise UnreadableFile(f"is a ZIP of {len(files)} files; one of one file is read")

    def open_() -> IO[bytes]:
        archive = zipfile.ZipFile(path)  # which closes its file with the last stream of it
        with archive:
            return _unpacking(archive.open(files[0]), path)

    return _text_inside("ZIP", open_)


def _refuse_heap(path: Path) -> None:
    """Raise UnreadableFile for a ZIP of so many files that their list alone would fill the memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - ZIP_END_BYTES - ZIP_LOCATOR_BYTES - MAX_ZIP_COMMENT))
        tail = file.read()
    end = len(tail) - ZIP_END_BYTES
    if not tail.startswith(ZIP_END, max(end, 0)):
        end = tail.rfind(ZIP_END)
    if end < 0 or end + ZIP_END_BYTES > len(tail):
        raise UnreadableFile("begins as a ZIP, and has not its end: it breaks off")
    if tail.startswith(ZIP_END_64, max(0, end - ZIP_LOCATOR_BYTES)):
        raise UnreadableFile("is a ZIP of the form for more than 4 GB: unpack it first")
    if int.from_bytes(tail[end + 12 : end + 16], "little") > MAX_ZIP_DIRECTORY:
        raise UnreadableFile("is a ZIP of too many files; one of one file is read")


def _unpacking(stream: Any, path: Path) -> IO[bytes]:
    raw = cast(io.RawIOBase, _Unpacking(stream, path.stat().st_size))
    return io.BufferedReader(raw, READ_BYTES)


class _Unpacking(io.RawIOBase):
    """A stream that is unpacked as it is read. Raises UnreadableFile where it grows far beyond its packed size."""

    def __init__(self, stream: IO[bytes], packed_bytes: int) -> None:
        self._stream = stream
        self._room = max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        self._room -= len(piece)
        if self._room < 0:
            raise UnreadableFile(f"unpacks to more than {MAX_UNPACKED_RATIO} times its packed size")
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._stream.close()
        super().close()
