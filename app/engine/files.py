"""Files on disk: the digest of one, and the ways of writing one that no power cut leaves half done.

A new file is written aside, synced, and renamed: a reader meets the old content or the new, never a part of it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(file: Path, parts: Iterable[str | bytes]) -> None:
    """Write the parts one after another, text as UTF-8; they are on the disk at the end. Raises OSError.

    A power cut may leave half of them: for a file that nobody reads before another one says it is complete.
    """
    with file.open("wb") as opened:
        for part in parts:
            opened.write(part.encode() if isinstance(part, str) else part)
        opened.flush()
        os.fsync(opened.fileno())


def replace_file(
    file: Path, content: str | bytes, *, durable: bool = True, aside: Path | None = None
) -> None:
    """Put the content, text as UTF-8, in the place of a file's old one or of none. Raises OSError.

    `durable` and `aside` are those of `replacing`.
    """
    with replacing(file, durable=durable, aside=aside) as written:
        written.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(file: Path, *, durable: bool = True, aside: Path | None = None) -> Iterator[Path]:
    """A path to write to; at the end what was written takes the file's place. After an error nothing has changed.

    `durable`: sync it, so that it is there after a power cut. `aside`: the path; where several processes may write
    the same file at once, each gives its own. Raises OSError.
    """
    aside = aside or _aside(file)
    try:
        yield aside
        if durable:
            sync(aside)
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if durable:
        sync(file.parent)


@contextmanager
def new_folder(folder: Path, *, aside: Path | None = None) -> Iterator[Path]:
    """An empty folder to fill; at the end all in it is synced, and it appears as `folder`, which must not exist yet.

    After an error nothing is left. `aside`: the path of the folder to fill; what stood there is removed.
    Raises OSError.
    """
    aside = aside or _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in (*aside.rglob("*"), aside):
            sync(path)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync(folder.parent)


def _aside(path: Path) -> Path:
    """Beside it, hidden, and with its ending, which some writers go by."""
    return path.with_name(f".writing-{path.name}")
