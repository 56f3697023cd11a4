"""Files as people have them, and such files broken at random: whatever is in one, it is read or refused, as documented.

`make fuzz` makes thousands of them, `tests/test_broken_files.py` some.
"""

import csv
import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as parquet
from openpyxl import Workbook

from app.engine.rows import TableFile
from app.errors import SameaskError
from app.file_preview import preview
from app.row_checks import checked_questions

Questions = Sequence[tuple[str, str]]
COLUMNS = ("id", "text")
MAX_CHARACTERS = 10_000
MAX_SECONDS = 10.0  # for one file of a few kilobytes, on a machine with other work
SAMPLE_BYTES = 300
PIECES = (
    b'"',
    b'""',
    b"\\n",
    b"\n",
    b"\r",
    b"\t",
    b";",
    b",",
    b"\x00",
    b"\xff\xfe",
    b"[",
    b"{",
    b"sep=",
    b"PK",
    b"<",
)
WORDS = (
    *(
        "Wo ist",
        "die Straße",
        "?",
        "5 €",
        "“so”",
        "🦊",
        "é",
        "\u202e",
        "x, y;",
        "z | a",
        "a\tb",
        "'q'",
    ),
    *('"r"', "line\nbreak", '27"', '\\"', "1 = 1", ""),
)


def fuzz_files(folder: Path, count: int, seed: int) -> Counter[str]:
    """Make and read so many files; how many were read, read in part, and refused. Raises what is not documented."""
    ends: Counter[str] = Counter()
    for number in range(count):
        chance = Random(seed * 1_000_003 + number)
        path = folder / "questions"
        questions, content = made(chance)
        is_whole = chance.random() < 0.2
        path.write_bytes(content if is_whole else broken(content, chance))
        start = perf_counter()
        try:
            end, rows = _read(path)
            if is_whole:
                assert (end, rows) == ("read", questions)
        except Exception as error:
            kept = path.replace(folder / f"wrong-{number}")
            raise AssertionError(
                f"file {number} of seed {seed}, kept as {kept}: {error!r}"
            ) from error
        if perf_counter() - start > MAX_SECONDS:
            raise AssertionError(f"file {number} of seed {seed} took more than {MAX_SECONDS} s")
        ends[end] += 1
    return ends


def _read(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """How reading a file ends, by the page's look at its beginning and its end and by the reader; and the good rows."""
    content = path.read_bytes()
    for size in (len(content), 10**9):
        with suppress(SameaskError):
            preview("questions", size, content[:SAMPLE_BYTES], content[-SAMPLE_BYTES:])
    bad = 0
    good: list[tuple[str, str]] = []
    with suppress(SameaskError):
        file = TableFile(path, "questions")
        for row, problem in checked_questions(file, COLUMNS, MAX_CHARACTERS):
            assert row.line > 0
            if problem is None:
                good.append((row.values[0], row.values[1]))
            else:
                bad += 1
        return "read in part" if bad else "read", good
    return "refused", good


def made(chance: Random) -> tuple[list[tuple[str, str]], bytes]:
    """Some questions, and a whole file of them: of any kind, any encoding, and packed or not."""
    questions = [
        (str(number), " ".join(chance.choices(WORDS, k=chance.randrange(1, 12))) + " ?")
        for number in range(chance.randrange(1, 30))
    ]
    return questions, chance.choice(WRITERS)(questions, chance)


def _delimited(questions: Questions, chance: Random) -> bytes:
    out = io.StringIO()
    delimiter = chance.choice(",;\t|")
    quoting: Literal[0, 1] = chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    line_end = chance.choice(("\n", "\r\n"))
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    writer.writerows([COLUMNS, *questions])
    return _packed(_encoded(out.getvalue(), chance), chance)


def _json_lines(questions: Questions, chance: Random) -> bytes:
    lines = [
        json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) for row in questions
    ]
    return _packed(_encoded("\n".join(lines), chance), chance)


def _json_array(questions: Questions, chance: Random) -> bytes:
    items = [{"id": n, "text": text, "by": {"login": "x"}} for n, (_, text) in enumerate(questions)]
    text = json.dumps(items, indent=chance.choice((None, 2)), ensure_ascii=False)
    return _packed(_encoded(text, chance), chance)


def _workbook(questions: Questions, chance: Random) -> bytes:
    del chance
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [COLUMNS, *questions]:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _parquet(questions: Questions, chance: Random) -> bytes:
    out = io.BytesIO()
    ids, texts = zip(*questions, strict=True)
    compression = chance.choice(("none", "snappy", "zstd"))
    parquet.write_table(
        pa.table({"id": ids, "text": texts}),
        out,
        compression=compression,
        row_group_size=chance.choice((3, 1000)),
    )
    return out.getvalue()


WRITERS: Sequence[Callable[[Questions, Random], bytes]] = (
    _delimited,
    _delimited,
    _json_lines,
    _json_array,
    _workbook,
    _parquet,
)


def _encoded(text: str, chance: Random) -> bytes:
    return text.encode(chance.choice(("utf-8", "utf-8-sig", "utf-16", "utf-8", "utf-8")))


def _packed(content: bytes, chance: Random) -> bytes:
    how = chance.randrange(6)
    if how == 0:
        return gzip.compress(content)
    if how == 1:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("questions", content)
        return out.getvalue()
    return content


def broken(content: bytes, chance: Random) -> bytes:
    """The file with bytes changed, cut out, doubled or put in; now and then packed whole after that."""
    file = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(file) + 1)
        end = min(len(file), place + chance.choice((1, 2, 8, 100)))
        match chance.randrange(5):
            case 0:
                del file[place:end]
            case 1:
                file[place:place] = chance.choice(PIECES)
            case 2:
                file[place:end] = bytes(chance.randrange(256) for _ in range(end - place))
            case 3:
                file[place:place] = file[place:end]
            case 4 if chance.random() < 0.3:
                del file[place:]
    return gzip.compress(bytes(file)) if chance.random() < 0.05 else bytes(file)
