"""CSV and its like: cells with a delimiter between them, which is found where no option names it.

With `,`, `;` or `|` a cell that begins with a quote goes on to the quote that closes it (RFC 4180): over delimiters,
over line breaks, with quotes in it doubled. A quote that breaks this rule makes its row an error, with the lines
up to the next quote that could close it: nobody can tell where in them a row begins.

With tabs, of which a cell has none, a line with as many cells as the header is a row, and its quotes are text. Only a
cell that could not be written without them (it holds a quote, a tab or a line break) is taken out of its quotes.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.engine.rows.columns import chosen, places
from app.engine.rows.content import Content
from app.engine.rows.encoding import numbered_lines, open_text
from app.engine.rows.file import MAX_LINE_CHARACTERS, Row
from app.errors import UnreadableFile

TAB = "\t"
DELIMITERS = (TAB, ";", ",", "|")
NONE = "\n"  # of a file with one column: no cell holds it, and none is parted
KINDS = {
    TAB: "TSV",
    ",": "CSV",
    ";": "CSV, separated by semicolons",
    NONE: "one column",
}
SEP = re.compile(r"\ufeff?sep=(.)$", re.IGNORECASE)  # by which Excel is told
MAX_HEADER_LINES = 100
QUOTED = re.compile('"((?:[^"]|"")*)"')
CURE = "a quote that is text must be doubled, in a cell in quotes"

Line = tuple[int, str]


class Lines:
    """Numbered lines, some of which may be put back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._before: deque[Line] = deque()

    def take(self) -> Line | None:
        """The next one; None at the end."""
        return self._before.popleft() if self._before else next(self._lines, None)

    def put_back(self, lines: Sequence[Line]) -> None:
        """Have them taken again."""
        self._before.extendleft(reversed(lines))


@dataclass
class Record:
    """The cells of one row, taken line by line until no quote is open."""

    delimiter: str
    cells: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    last: int = 0  # line
    opened: int | None = None  # the line of the quote that is open
    broken: int | None = None  # the line of a quote that is not doubled
    size: int = 0  # characters
    _parts: list[str] = field(default_factory=list)  # of the cell that is open

    @property
    def is_too_long(self) -> bool:
        """Whether it has more characters than are kept."""
        return self.size > MAX_LINE_CHARACTERS

    def take(self, line: Line) -> bool:
        """Whether the row ends with this line."""
        number, text = line
        self.last = number
        self.size += len(text)
        if self.is_too_long:
            self._parts.clear()
        else:
            self.lines.append(line)
        body = text.rstrip("\r\n")
        place = 0
        while place <= len(body):
            if self.opened is None and body.startswith('"', place):
                self.opened = number
                place += 1
            if self.opened is None:
                end = body.find(self.delimiter, place)
                end = len(body) if end < 0 else end
                self.cells.append(body[place:end])
            else:
                end = self._closing(number, body, place)
                if end < 0:
                    self._keep(text[len(body) :])
                    return False
            place = end + 1
        return True

    def _closing(self, number: int, body: str, place: int) -> int:
        """Where the cell ends whose quote is open; negative if not in this line."""
        while (quote := body.find('"', place)) >= 0:
            after = quote + 1
            if after == len(body) or body[after] == self.delimiter:
                self._keep(body[place:quote])
                self.cells.append("".join(self._parts))
                self._parts.clear()
                self.opened = None
                return after
            self._keep(body[place:after])
            is_doubled = body[after] == '"' and self.broken is None
            if not is_doubled and self.broken is None:
                self.broken = number
            place = after + is_doubled
        self._keep(body[place:])
        return -1

    def _keep(self, part: str) -> None:
        if not self.is_too_long:
            self._parts.append(part)

    def problem(self, width: int) -> str | None:
        """The error in its quotes or in the number of its cells, if there is one."""
        first = self.lines[0][0] if self.lines else self.last
        took = f"it takes {self.last - first + 1:,} lines, to line {self.last:,}"
        if self.broken is not None:
            on = "" if self.broken == first else f" on line {self.broken:,}"
            return f"has a quote{on} that neither closes its cell nor is doubled: {took} ({CURE})"
        if self.opened is not None:
            return f"has a quote, opened on line {self.opened:,}, that is never closed: {took} ({CURE})"
        if self.is_too_long:
            return f"has more than {MAX_LINE_CHARACTERS:,} characters: {took}"
        if len(self.cells) != width:
            columns = "1 column" if len(self.cells) == 1 else f"{len(self.cells)} columns"
            return f"has {columns}, the header has {width}"
        if self._goes_over_rows(width):
            return f"has a quote that closes only after lines that look like rows: {took} ({CURE})"
        return None

    def _goes_over_rows(self, width: int) -> bool:
        """Whether all further lines look like rows: as many cells, and ids with digits in the form of this row's."""
        form = _form(self.cells[0])
        if len(self.lines) < 2 or "9" not in form:
            return False
        cells = [text.rstrip("\r\n").split(self.delimiter) for _, text in self.lines[1:]]
        return all(len(row) == width and _form(row[0]) == form for row in cells)

    @property
    def raw(self) -> str:
        """The lines that were kept."""
        return "".join(text for _, text in self.lines)


def _form(cell: str) -> str:
    """A cell with any digits as 9 and any letters as a."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell))


class Delimited:
    """The columns and rows of such a file. Raises UnreadableFile, OSError, UnicodeError."""

    def __init__(self, content: Content, encoding: str, delimiter: str | None) -> None:
        self._content = content
        self._encoding = encoding
        self._given = delimiter

    @property
    def kind(self) -> str:
        """Its delimiter and its encoding, where they are not the usual ones."""
        delimiter, _ = self._header_of(self._lines(), ())
        named = KINDS.get(delimiter, f"CSV, separated by {delimiter}")
        return named if self._encoding.startswith("utf-8") else f"{named} in {self._encoding}"

    def columns(self) -> list[str]:
        """The names in the header."""
        _, header = self._header_of(self._lines(), ())
        return [name.strip() for name in header.cells]

    def rows(self, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
        """The wanted columns of each row."""
        lines = self._lines()
        delimiter, header = self._header_of(lines, (*columns, *optional))
        found = places(header.cells, columns, optional)
        width = len(header.cells)
        is_quoted = header.lines[0][1].startswith('"')
        by_tabs = delimiter == TAB and not is_quoted
        records = _records_by_tabs(lines, width) if by_tabs else _records(lines, delimiter)
        for record in records:
            first = record.lines[0][0]
            taken = record.last - first + 1
            if problem := record.problem(width):
                yield Row(first, (), problem, taken, record.raw)
            elif any(record.cells):
                yield Row(first, chosen(record.cells, found), lines=taken)

    def _lines(self) -> Lines:
        """Its lines from the beginning. The file is closed with the last of them, or when they are let go."""
        return Lines(self._numbered())

    def _numbered(self) -> Iterator[Line]:
        with open_text(self._content.open(), self._encoding) as file:
            yield from numbered_lines(file)

    def _header_of(self, lines: Lines, wanted: Sequence[str]) -> tuple[str, Record]:
        """The delimiter, and the header: the first line that is not blank."""
        given = self._given
        line = lines.take()
        if line and (told := SEP.match(line[1].rstrip("\r\n"))):
            given = given or told[1]
            line = lines.take()
        while line and not line[1].strip():
            line = lines.take()
        if line is None:
            raise UnreadableFile("has no line that names its columns")
        header = [line]
        while sum(text.count('"') for _, text in header) % 2 and len(header) < MAX_HEADER_LINES:
            line = lines.take()
            if line is None:
                break
            header.append(line)
        if given:
            return given, _header(header, given)
        return _likeliest(header, wanted)


def _likeliest(lines: Sequence[Line], wanted: Sequence[str]) -> tuple[str, Record]:
    """The delimiter by which most of the wanted columns are found; of several, the one that makes the most columns."""
    best: tuple[tuple[int, int], str, Record] | None = None
    for delimiter in DELIMITERS:
        record = _parted(lines, delimiter)
        if record is None or len(record.cells) < 2:
            continue
        names = {name.strip() for name in record.cells}
        rank = len(names.intersection(map(str.strip, wanted))), len(record.cells)
        if best is None or rank > best[0]:
            best = rank, delimiter, record
    return best[1:] if best else (NONE, _header(lines, NONE))


def _header(lines: Sequence[Line], delimiter: str) -> Record:
    """The header. Raises UnreadableFile where its quotes are broken."""
    record = _parted(lines, delimiter)
    if record is None:
        raise UnreadableFile(
            f"has a header, on line {lines[0][0]}, with a quote that is not closed"
        )
    return record


def _parted(lines: Sequence[Line], delimiter: str) -> Record | None:
    """The row that these lines are, all of them; None where its quotes are broken."""
    record = Record(delimiter)
    ended = [record.take(line) for line in lines]
    return record if ended[-1] and not any(ended[:-1]) and record.broken is None else None


def _records(lines: Lines, delimiter: str) -> Iterator[Record]:
    while line := lines.take():
        if line[1].strip("\r\n"):
            record = Record(delimiter)
            while line and not record.take(line):
                line = lines.take()
            yield record


def _records_by_tabs(lines: Lines, width: int) -> Iterator[Record]:
    while line := lines.take():
        if not line[1].strip("\r\n"):
            continue
        cells = line[1].rstrip("\r\n").split(TAB)
        is_row = len(cells) == width
        record = None
        if not is_row or (_is_open(cells[-1]) and _goes_on(lines, cells[0], width)):
            record = _joined(line, lines, cells[0], width)
        if record is None:
            cells = [_unquoted(cell) for cell in cells] if is_row else cells
            record = Record(TAB, cells, [line], line[0])
        yield record


def _unquoted(cell: str) -> str:
    """The text of a cell whose quotes were needed."""
    quoted = QUOTED.fullmatch(cell) if cell.startswith('"') else None
    return quoted[1].replace('""', '"') if quoted and '""' in quoted[1] else cell


def _is_open(cell: str) -> bool:
    return cell.startswith('"') and not QUOTED.fullmatch(cell)


def _goes_on(lines: Lines, id_: str, width: int) -> bool:
    """Whether the next line can't be a row of its own: it has fewer cells, or begins with no id of this form."""
    line = lines.take()
    if line is None:
        return False
    lines.put_back([line])
    cells = line[1].rstrip("\r\n").split(TAB)
    form = _form(id_)
    return len(cells) < width or ("9" in form and _form(cells[0]) != form)


def _joined(line: Line, lines: Lines, id_: str, width: int) -> Record | None:
    """The row that goes on in quotes from this line over others that are no rows; None if it does not."""
    record = Record(TAB)
    is_whole = record.take(line)
    further: list[Line] = []
    while not is_whole and record.broken is None and not record.is_too_long:
        if not _goes_on(lines, id_, width):
            break
        following = lines.take()
        assert following
        further.append(following)
        is_whole = record.take(following)
    if is_whole and record.problem(width) is None:
        return record
    lines.put_back(further)
    return None
