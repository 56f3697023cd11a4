"""The file that is named to a command, a pipe too: it can be read again and again."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from app.cli.options import STANDARD_INPUT
from app.cli.terminal import print_note
from app.engine.rows import TableFile, with_encoding
from app.engine.rows.encoding import WESTERN
from app.errors import CommandError

NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t"}


@contextmanager
def named_file(
    path: Path, delimiter: str | None = None, encoding: str | None = None
) -> Iterator[TableFile]:
    """The file, open to be read. The content of a pipe is kept on the disk meanwhile. Raises CommandError."""
    delimiter = _delimiter(delimiter)
    if path != STANDARD_INPUT and path.is_file():
        yield _found(TableFile(path, str(path), delimiter, encoding))
        return
    name = "standard input" if path == STANDARD_INPUT else str(path)
    with NamedTemporaryFile(prefix="sameask-") as kept:
        if path == STANDARD_INPUT:
            shutil.copyfileobj(sys.stdin.buffer, kept)
        else:
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, kept)
        kept.flush()
        yield _found(TableFile(Path(kept.name), name, delimiter, encoding))


def _found(file: TableFile) -> TableFile:
    """The file with its encoding; a line where that is a guess."""
    found = with_encoding(file)
    if not file.encoding and found.encoding == WESTERN:
        print_note(
            f"{file.name} is no UTF-8, and read as {WESTERN}; --encoding names another",
            style="yellow",
        )
    return found


def _delimiter(given: str | None) -> str | None:
    delimiter = NAMED_DELIMITERS.get(given, given) if given else given
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise CommandError(f"--delimiter must be one character or `tab`, not {given!r}")
    return delimiter
