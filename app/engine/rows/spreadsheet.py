"""A workbook of Excel: the first visible sheet, whose first row that is not empty names the columns.

openpyxl reads it a row at a time. The parts that it holds at once (a row, all shared texts, the styles) are checked
before: each must be of a size that a sheet of questions can have.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from openpyxl import load_workbook

from app.engine.rows.columns import chosen, places
from app.engine.rows.file import MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO, Row
from app.errors import UnreadableFile

MAX_ROWS, MAX_COLUMNS = 2**20, 2**14  # of Excel itself
MAX_HEADER_ROW = 1000  # where the row that names the columns must stand
MAX_ROW_BYTES = 2**20
MAX_TEXTS_BYTES, MAX_PART_BYTES = 64 * 2**20, 4 * 2**20
SHARED_TEXTS = "xl/sharedstrings.xml"
SHEETS = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
TRICKS = (b"<!DOCTYPE", b"<![CDATA[")
LONGEST_MARK = 16
PIECE_BYTES = 2**18


class Spreadsheet:
    """The columns and rows of a workbook."""

    kind = "Excel workbook"

    def __init__(self, path: Path) -> None:
        self._path = path
        _refuse_trap(path)

    def columns(self) -> list[str]:
        """The names in the first row."""
        with self._sheet() as sheet:
            return [name.strip() for name in _header(sheet)[1]]

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted cells of each row that is not empty, by its number in the sheet."""
        with self._sheet() as sheet:
            first, header = _header(sheet)
            found = places(header, columns, optional)
            rows = sheet.iter_rows(first + 1, MAX_ROWS, 1, len(header), values_only=True)
            for number, cells in enumerate(_read(rows), first + 1):
                if not _is_empty(cells):
                    yield Row(
                        number, ["" if cell is None else cell for cell in chosen(cells, found)]
                    )

    @contextmanager
    def _sheet(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            with _broken_is_said(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and the like
                workbook = load_workbook(file, read_only=True, data_only=True, keep_links=False)
                visible = [s for s in workbook.worksheets if s.sheet_state == "visible"]
            if not visible:
                raise UnreadableFile("is a workbook without a visible sheet")
            visible[0].reset_dimensions()  # which it only states
            yield visible[0]


def _header(sheet: Any) -> tuple[int, list[str]]:
    """The number and the cells of the first row that is not empty."""
    rows = sheet.iter_rows(1, MAX_HEADER_ROW, 1, MAX_COLUMNS, values_only=True)
    for number, cells in enumerate(_read(rows), 1):
        if _is_empty(cells):
            continue
        names = ["" if cell is None else str(cell) for cell in cells]
        while names and not names[-1].strip():
            names.pop()
        if names:
            return number, names
    raise UnreadableFile(
        f"is a workbook whose first sheet names no columns in its first {MAX_HEADER_ROW:,} rows"
    )


def _is_empty(cells: Sequence[Any]) -> bool:
    """Whether a row has no value; told fast, as a million rows may be so."""
    return cells.count(None) == len(cells)


def _read(rows: Iterator[Any]) -> Iterator[Any]:
    while True:
        with _broken_is_said():
            row = next(rows, None)
        if row is None:
            return
        yield row


@contextmanager
def _broken_is_said() -> Iterator[None]:
    """Turn any error of openpyxl into one sentence: it checks little before it reads a broken workbook."""
    try:
        yield
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(f"is a workbook that can't be read: {type(error).__name__}") from error


def _refuse_trap(path: Path) -> None:
    """Raise UnreadableFile for a workbook with a part that would fill the memory."""
    packed = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            is_sheet = SHEETS.fullmatch(entry.filename) is not None
            most = MAX_TEXTS_BYTES if entry.filename.lower() == SHARED_TEXTS else MAX_PART_BYTES
            if is_sheet:
                most = max(MAX_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed)
            if entry.file_size > most:
                raise UnreadableFile(
                    f"is a workbook whose {entry.filename[:50]} unpacks to {entry.file_size:,} bytes: save it as CSV"
                )
            if is_sheet:
                with archive.open(entry) as sheet:
                    _look_through(sheet)


def _look_through(sheet: IO[bytes]) -> None:
    """Refuse a sheet with a row that is too long, or with content that could hide one."""
    since_row = 0
    before = b""
    while piece := sheet.read(PIECE_BYTES):
        joint = before + piece
        if any(trick in joint for trick in TRICKS):
            raise UnreadableFile("is a workbook with XML that no workbook needs: save it as CSV")
        last_row = max(joint.rfind(b"<row"), joint.rfind(b":row"))
        since_row = len(joint) - last_row if last_row >= 0 else since_row + len(piece)
        if since_row > MAX_ROW_BYTES:
            raise UnreadableFile(
                f"is a workbook with a row of more than {MAX_ROW_BYTES:,} bytes: save it as CSV"
            )
        before = piece[-LONGEST_MARK:]
