"""The length of a Parquet file's footer, checked before it is read: all of it is read, and unpacked, to know the
columns."""

from pathlib import Path

from app.errors import UnreadableFile

MAX_FOOTER_BYTES = 256 * 2**10  # each takes some 240 bytes of memory at worst
END_BYTES = 8  # its length as four bytes, the least significant first, and one of MARKS
MARKS = (b"PAR1", b"PARE")


def check_footer(path: Path) -> None:
    """Raise UnreadableFile for a footer that would take more memory than a file of questions needs; OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        end = file.read(END_BYTES)
    length = int.from_bytes(end[:4], "little")
    if end.endswith(MARKS) and MAX_FOOTER_BYTES < length <= size:
        raise UnreadableFile(
            f"has a footer of {length:,} bytes; at most {MAX_FOOTER_BYTES:,}: write larger groups of rows"
        )
