"""What a file is by its bytes: packed, a trap, or no table at all."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from app.engine.rows import Row, TableFile, read_rows
from app.errors import UnreadableFile

CSV = b"id,text\n1,One?\n"


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, file in files:
            archive.writestr(name, file)
    return content.getvalue()


def read(folder: Path, content: bytes) -> list[Row]:
    path = folder / "q"
    path.write_bytes(content)
    return list(read_rows(TableFile(path, "q"), ("id", "text")))


@pytest.mark.parametrize("name", ["q.csv", "folder/QUESTIONS.JSON"])
def test_a_zip_of_one_file_is_read(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, zipped((name, CSV))) == [Row(2, ["1", "One?"])]
    assert read(tmp_path, zipped((name, b'[{"id": 1, "text": "One?"}]'))) == [Row(1, [1, "One?"])]


def test_what_a_mac_adds_to_a_zip_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, zipped(("q.csv", CSV), ("__MACOSX/._q.csv", b"x"))) == [
        Row(2, ["1", "One?"])
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "q is empty"),
        (b"%PDF-1.7", "q is a PDF; CSV, TSV, JSON, .xlsx and Parquet are read"),
        (b"\x89PNG\r\n", "q is a picture"),
        (b"SQLite format 3\x00", "q is a database"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1",
            "q is an old Office file (.xls, .doc): save it as .xlsx or CSV",
        ),
        (b"BZh91AY", "q is packed by bzip2: unpack it first"),
        (gzip.compress(b"", mtime=0), "q is empty"),
        (gzip.compress(b"%PDF-1.7", mtime=0), "q is a PDF"),
        (
            gzip.compress(gzip.compress(CSV, mtime=0), mtime=0),
            "q holds, packed by gzip, a file that is packed itself: unpack it first",
        ),
        (b"\x1f\x8bnonsense", "can't read q: "),
        (gzip.compress(CSV, mtime=0)[:-9], "can't read q: "),
        (zipped(), "q is a ZIP of 0 files; one of one file is read"),
        (zipped(("a.csv", CSV), ("b.csv", CSV)), "q is a ZIP of 2 files; one of one file is read"),
        (
            zipped(("a.csv.gz", gzip.compress(CSV, mtime=0))),
            "q holds, packed by ZIP, a file that is packed itself",
        ),
        (zipped(("a.csv", CSV), method=zipfile.ZIP_LZMA), "q is a ZIP packed in an unusual way"),
        (
            zipped(("content.xml", b"<x/>")),
            "q is a document of an office program: save it as .xlsx",
        ),
        (zipped(("a.csv", CSV))[:-30], "q begins as a ZIP, and has not its end: it breaks off"),
        (zipped(*((f"{n}", b"") for n in range(30_000))), "q is a ZIP of too many files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_table_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(tmp_path, content)
    assert str(refused.value).startswith(words)


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(("q.csv", CSV)))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnreadableFile, match="q is a ZIP with a password"):
        read(tmp_path, bytes(content))


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(("q.csv", CSV * 100)))
    content[50] ^= 0xFF
    with pytest.raises(UnreadableFile, match="can't read q: "):
        read(tmp_path, bytes(content))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="is no file"):
        list(read_rows(tmp_path, ("id",)))
