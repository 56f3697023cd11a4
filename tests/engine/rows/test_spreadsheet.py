"""Workbooks of Excel, as openpyxl writes them, by value; and workbooks that are traps."""

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from app.engine.rows import Row, TableFile, read_columns, read_rows
from app.errors import UnreadableFile

ROWS = [("id", " text "), (1, "One?"), ("b", "Two\nlines, “quoted”?"), (2**40, "  Three? 🦊")]


def workbook(*rows: Sequence[Any]) -> Workbook:
    book = Workbook()
    for row in rows:
        book.active.append(list(row))  # type: ignore[union-attr]
    return book


def content_of(book: Workbook) -> bytes:
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def changed(content: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with one of its parts changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            whole = old.read(entry)
            new.writestr(entry.filename, change(whole) if entry.filename == part else whole)
    return out.getvalue()


def read(folder: Path, content: bytes) -> list[Row]:
    path = folder / "q"
    path.write_bytes(content)
    return list(read_rows(TableFile(path, "q"), ("id", "text")))


def test_the_first_sheet_is_read_by_its_first_row(tmp_path: Path) -> None:
    book = workbook(*ROWS)
    book.create_sheet("second").append(["id", "text"])
    assert read(tmp_path, content_of(book)) == [
        Row(2, [1, "One?"]),
        Row(3, ["b", "Two\nlines, “quoted”?"]),
        Row(4, [2**40, "  Three? 🦊"]),
    ]
    assert read_columns(tmp_path / "q") == ("Excel workbook", ["id", "text"])


def test_a_hidden_sheet_is_passed_over(tmp_path: Path) -> None:
    book = workbook(("no", "table"))
    book.active.sheet_state = "hidden"  # type: ignore[union-attr]
    book.create_sheet("seen").append(["id", "text"])
    book["seen"].append([1, "One?"])
    assert read(tmp_path, content_of(book)) == [Row(2, [1, "One?"])]


def test_empty_rows_are_passed_over_and_empty_cells_are_empty_texts(tmp_path: Path) -> None:
    content = content_of(workbook((), ("id", "text"), (), (1, None), (2, "Two?")))
    assert read(tmp_path, content) == [Row(4, [1, ""]), Row(5, [2, "Two?"])]


def test_values_keep_their_types(tmp_path: Path) -> None:
    content = content_of(workbook(("id", "text"), (1.5, True), (date(2024, 1, 2), 7)))
    (first, second) = read(tmp_path, content)
    assert first.values == [1.5, True]
    assert str(second.values[0]).startswith("2024-01-02")


@pytest.mark.parametrize("stated", [b'ref="A1"', b'ref="A1:ZZZ9999999"'])
def test_what_a_sheet_states_of_its_size_does_not_count(tmp_path: Path, stated: bytes) -> None:
    content = changed(
        content_of(workbook(*ROWS)),
        "xl/worksheets/sheet1.xml",
        lambda sheet: re.sub(rb'ref="A1:B4"', stated, sheet, count=1),
    )
    assert len(read(tmp_path, content)) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda sheet: sheet.replace(b'<c r="A2"', b'<c r="ZZZZZZZ2"'),
            "is a workbook that can't be read",
        ),
        (lambda sheet: sheet[:300], "is a workbook that can't be read"),
        (
            lambda sheet: b"<!DOCTYPE x [<!ENTITY y 'z'>]>" + sheet,
            "is a workbook with XML that no workbook needs",
        ),
        (
            lambda sheet: sheet.replace(b"<v>1<", b"<v>%s<" % (b"1" * 2**21)),
            "is a workbook with a row of more",
        ),
    ],
)
def test_a_broken_sheet_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    content = changed(content_of(workbook(*ROWS)), "xl/worksheets/sheet1.xml", change)
    with pytest.raises(UnreadableFile, match=f"q {words}"):
        read(tmp_path, content)


def test_a_row_far_below_takes_no_time(tmp_path: Path) -> None:
    content = changed(
        content_of(workbook(*ROWS)),
        "xl/worksheets/sheet1.xml",
        lambda sheet: sheet.replace(b'<row r="3"', b'<row r="99999999999"'),
    )
    assert read(tmp_path, content)[0] == Row(2, [1, "One?"])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("xl/styles.xml", r"is a workbook whose xl/styles.xml unpacks to 8,\d+,\d+ bytes"),
        (
            "xl/worksheets/sheet1.xml",
            r"is a workbook whose xl/worksheets/sheet1.xml unpacks to 7\d,\d+,\d+ bytes",
        ),
    ],
)
def test_a_part_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, part: str, words: str
) -> None:
    size = (8 if "styles" in part else 70) * 2**20
    content = changed(content_of(workbook(*ROWS)), part, lambda whole: whole + b" " * size)
    with pytest.raises(UnreadableFile, match=words):
        read(tmp_path, content)


def test_an_empty_workbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="names no columns in its first 1,000 rows"):
        read(tmp_path, content_of(Workbook()))


def test_a_header_is_not_looked_for_among_a_million_rows(tmp_path: Path) -> None:
    content = changed(
        content_of(workbook(("id", "text"))),
        "xl/worksheets/sheet1.xml",
        lambda sheet: re.sub(rb'r="([AB]?)1"', rb'r="\g<1>1048576"', sheet),
    )
    with pytest.raises(UnreadableFile, match="names no columns in its first 1,000 rows"):
        read(tmp_path, content)


def test_many_empty_rows_may_stand_between(tmp_path: Path) -> None:
    book = workbook((), (), ("id", "text"))
    book.active["B50000"] = "Two?"  # type: ignore[index]
    assert read(tmp_path, content_of(book)) == [Row(50_000, ["", "Two?"])]
