"""Rows of CSV, TSV, JSONL and Parquet files, by value and by line, while the file streams past."""

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from app.engine.rows import Row, read_rows, truth
from app.engine.rows.parquet_pages import pages
from app.errors import UnreadableFile

ROOT = Path(__file__).parents[3]

Write = Callable[[str, bytes], Path]

QUESTIONS = [
    ("1", "How do I learn Python?"),
    ("2", 'Who said "to be, or not to be"?'),
    ("3", "是什么意思？"),
]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a file of these bytes, compressed where its name says so."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def values(path: Path, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row.values) for row in read_rows(path, columns)]


def error_lines(path: Path, *columns: str) -> list[tuple[int, str | None]]:
    return [(row.line, row.error) for row in read_rows(path, columns) if row.error]


def comma_separated() -> bytes:
    lines = [
        "id,text",
        *(f'{id_},"{text.replace(chr(34), chr(34) * 2)}"' for id_, text in QUESTIONS),
    ]
    return "\n".join(lines).encode()


def tab_separated() -> bytes:
    return "\n".join(["id\ttext", *(f"{id_}\t{text}" for id_, text in QUESTIONS)]).encode()


def json_lines() -> bytes:
    return "\n".join(
        json.dumps({"text": text, "other": [1], "id": id_}) for id_, text in QUESTIONS
    ).encode()


KINDS = {
    ".csv": comma_separated,
    ".tsv": tab_separated,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
}


# Every kind


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_wanted_columns_of_each_row(write: Write, kind: str, packed: str, end: str) -> None:
    path = write(f"questions{kind}{packed}", KINDS[kind]() + end.encode())
    assert values(path, "id", "text") == QUESTIONS
    assert values(path, "text") == [(text,) for _, text in QUESTIONS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_is_no_part_of_the_first_column(write: Write, kind: str) -> None:
    assert (
        values(write(f"questions{kind}", b"\xef\xbb\xbf" + KINDS[kind]()), "id", "text")
        == QUESTIONS
    )


@pytest.mark.parametrize("kind", KINDS)
def test_lines_may_end_as_on_windows(write: Write, kind: str) -> None:
    content = KINDS[kind]().replace(b"\n", b"\r\n") + b"\r\n"
    assert values(write(f"questions{kind}", content), "id", "text") == QUESTIONS


@pytest.mark.parametrize(("kind", "first"), [(".csv", 2), (".tsv", 2), (".jsonl", 1)])
def test_each_row_has_its_line(write: Write, kind: str, first: int) -> None:
    rows = read_rows(write(f"questions{kind}", KINDS[kind]()), ["id"])
    assert list(rows) == [Row(first, ["1"]), Row(first + 1, ["2"]), Row(first + 2, ["3"])]


@pytest.mark.parametrize("kind", KINDS)
def test_empty_lines_are_passed_over_but_counted(write: Write, kind: str) -> None:
    lines = KINDS[kind]().split(b"\n")
    rows = list(read_rows(write(f"questions{kind}", b"\n\n".join(lines)), ["id", "text"]))
    assert [tuple(row.values) for row in rows] == QUESTIONS
    assert [row.line for row in rows] == [1 + 2 * i for i in range(len(lines))][-3:]


@pytest.mark.parametrize("name", ["QUESTIONS.CSV", "questions.xlsx", "questions", "q.parquet.bak"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_tell_the_kind_whatever_the_name(write: Write, kind: str, name: str) -> None:
    assert values(write(name, KINDS[kind]()), "id", "text") == QUESTIONS


@pytest.mark.parametrize("name", ["q.CSV.GZ", "q.Gz", "q"])
def test_gzip_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(comma_separated()))
    assert values(path, "id", "text") == QUESTIONS


@pytest.mark.parametrize("kind", [".csv", ".tsv"])
def test_a_missing_column_is_named_with_those_there_are(write: Write, kind: str) -> None:
    with pytest.raises(UnreadableFile, match=r"has no column 'question'; it has 'id', 'text'"):
        list(read_rows(write(f"questions{kind}", KINDS[kind]()), ["id", "question"]))


@pytest.mark.parametrize("kind", [".csv", ".tsv"])
def test_a_file_without_a_header_is_refused(write: Write, kind: str) -> None:
    with pytest.raises(UnreadableFile, match="is empty"):
        list(read_rows(write(f"questions{kind}", b""), ["id"]))
    with pytest.raises(UnreadableFile, match="has no line that names its columns"):
        list(read_rows(write(f"questions{kind}", b"\n \n"), ["id"]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"questions\.csv is not there"):
        list(read_rows(tmp_path / "questions.csv", ["id"]))


# CSV


def test_csv_quotes_hold_commas_quotes_and_newlines(write: Write) -> None:
    path = write(
        "questions.csv", b'id,text\n1,"a, b"\n2,"say ""hi"""\n3,"two\nlines"\n4,plain\n5,""\n'
    )
    assert values(path, "id", "text") == [
        ("1", "a, b"),
        ("2", 'say "hi"'),
        ("3", "two\nlines"),
        ("4", "plain"),
        ("5", ""),
    ]


def test_a_row_of_csv_has_the_line_on_which_it_begins(write: Write) -> None:
    path = write("questions.csv", b'id,text\n1,"a\nb\n\nc"\n2,d\n3,e,too many\n')
    assert [(row.line, row.lines) for row in read_rows(path, ["id"])] == [(2, 4), (6, 1), (7, 1)]
    assert error_lines(path, "id") == [(7, "has 3 columns, the header has 2")]


def test_broken_csv_lines_are_told_and_the_others_read(write: Write) -> None:
    path = write("questions.csv", b"id,text\n1,a\n2\n3,b,c\n5,d\n")
    rows = list(read_rows(path, ["text"]))
    assert [tuple(row.values) for row in rows if not row.error] == [("a",), ("d",)]
    assert error_lines(path, "text") == [
        (3, "has 1 column, the header has 2"),
        (4, "has 3 columns, the header has 2"),
    ]
    assert [row.raw for row in rows if row.error] == ["2\n", "3,b,c\n"]


def test_a_broken_csv_header_is_refused(write: Write) -> None:
    with pytest.raises(UnreadableFile, match=r"questions\.csv"):
        list(read_rows(write("questions.csv", b'"id"x,text\n1,a\n'), ["text"]))


def test_a_csv_field_may_be_long(write: Write) -> None:
    text = "x" * 300_000  # the csv module's own limit is 131,072
    assert values(write("questions.csv", f"id,text\n1,{text}\n".encode()), "text") == [(text,)]


# TSV


def test_tsv_quotes_are_text(write: Write) -> None:
    path = write("questions.tsv", b'id\ttext\n1\t"a\n2\tb" c\n3\t"d"\n')
    assert values(path, "id", "text") == [("1", '"a'), ("2", 'b" c'), ("3", '"d"')]


def test_broken_tsv_lines_are_told_and_the_others_read(write: Write) -> None:
    path = write("questions.tsv", b"id\ttext\n1\ta\n2\n3\tb\tc\n4\td\n")
    assert error_lines(path, "text") == [
        (3, "has 1 column, the header has 2"),
        (4, "has 3 columns, the header has 2"),
    ]
    assert [tuple(row.values) for row in read_rows(path, ["text"]) if not row.error] == [
        ("a",),
        ("d",),
    ]


# JSONL


def test_json_values_keep_their_types(write: Write) -> None:
    path = write("rows.jsonl", b'{"v": 1}\n{"v": null}\n{"v": [1, "a"]}\n{"v": "\\u00e9\\n"}\n')
    assert values(path, "v") == [(1,), (None,), ([1, "a"],), ("é\n",)]


@pytest.mark.parametrize(
    "line", [b"{", b"nonsense", b'{"text": "a"} {"text": "b"}', b"[" * 100_000, b"9" * 10_000]
)
def test_a_line_that_is_not_json_is_told_and_the_others_read(write: Write, line: bytes) -> None:
    path = write("rows.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "c"}\n')
    assert list(read_rows(path, ["text"])) == [
        Row(1, ["a"]),
        Row(2, (), "is not JSON"),
        Row(3, ["c"]),
    ]


@pytest.mark.parametrize("line", [b'{"id": "1"}', b'["id", "text"]', b'"id text"', b"7", b"null"])
def test_json_that_is_no_such_object_is_told_and_the_others_read(write: Write, line: bytes) -> None:
    path = write(
        "rows.jsonl", b'{"id": "1", "text": "a"}\n' + line + b'\n{"id": "3", "text": "c"}\n'
    )
    error = "is not an object with 'id' and 'text'"
    assert list(read_rows(path, ["id", "text"])) == [
        Row(1, ["1", "a"]),
        Row(2, (), error),
        Row(3, ["3", "c"]),
    ]


# Bytes that are not UTF-8, where others are


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (".csv", b"id,text\n1,\xc3\xa9\n2,caf\xe9\n3,c\n"),
        (".tsv", b"id\ttext\n1\t\xc3\xa9\n2\tcaf\xe9\n3\tc\n"),
        (".jsonl", b'\n{"text": "\xc3\xa9"}\n{"text": "caf\xe9"}\n{"text": "c"}\n'),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_bytes_that_are_not_utf8_become_lone_surrogates_on_their_line(
    write: Write, kind: str, content: bytes, packed: str
) -> None:
    rows = list(read_rows(write(f"latin1{kind}{packed}", content), ["text"]))
    assert rows == [Row(2, ["é"]), Row(3, ["caf\udce9"]), Row(4, ["c"])]


# Compressed files


def noise(rows: int) -> bytes:
    chance = random.Random(0)
    return b"id,text\n" + b"".join(b"%d,%d\n" % (i, chance.randrange(10**12)) for i in range(rows))


def test_a_compressed_file_cut_short_is_refused_before_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(noise(20_000))[:-20_000])
    with pytest.raises(UnreadableFile, match=r"can't read .*cut\.csv\.gz"):
        next(read_rows(path, ["id"]))


@pytest.mark.parametrize("place", [100, 50_000, -4])
def test_a_damaged_compressed_file_is_refused(tmp_path: Path, place: int) -> None:
    content = bytearray(gzip.compress(noise(20_000)))
    content[place] ^= 0xFF
    content[place + 1] ^= 0xFF
    path = tmp_path / "damaged.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="can't read"):
        list(read_rows(path, ["id"]))


# Parquet


def parquet_file(path: Path, **columns: object) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_rows_are_numbered_from_one(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "q.parquet", other=[1, 2], text=["a", None], id=["x", "y"])
    assert list(read_rows(path, ["id", "text"])) == [Row(1, ["x", "a"]), Row(2, ["y", None])]


def test_parquet_rows_go_on_from_batch_to_batch(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "q.parquet", id=list(range(3000)))
    assert [(row.line, row.values) for row in read_rows(path, ["id"])] == [
        (i + 1, [i]) for i in range(3000)
    ]


def test_a_parquet_value_that_no_calendar_has_is_an_error_of_its_row(tmp_path: Path) -> None:
    days = pa.array([10**7, 0], pa.date32())
    path = parquet_file(tmp_path / "q.parquet", id=days, text=["a", "b"])
    first, second = read_rows(path, ["id", "text"])
    assert first == Row(1, (), "has a value that can't be read")
    assert (str(second.values[0]), second.values[1]) == ("1970-01-01", "b")


def test_a_missing_parquet_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "q.parquet", id=["1"], text=["a"])
    with pytest.raises(UnreadableFile, match=r"has no column 'question'; it has 'id', 'text'"):
        list(read_rows(path, ["question"]))


@pytest.mark.parametrize("content", [b"PAR1" + bytes(9) + b"PAR1", b"PAR1 and nothing more"])
def test_what_is_no_parquet_file_is_refused(write: Write, content: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"can't read .*q\.parquet"):
        list(read_rows(write("q.parquet", content), ["id"]))


def test_a_compressed_parquet_file_is_refused(tmp_path: Path, write: Write) -> None:
    content = parquet_file(tmp_path / "q.parquet", id=["1"]).read_bytes()
    with pytest.raises(
        UnreadableFile, match=r"holds, packed by gzip, a file that is packed itself"
    ):
        list(read_rows(write("q.parquet.gz", content), ["id"]))


def test_a_parquet_file_with_strings_that_are_not_utf8_is_refused(tmp_path: Path) -> None:
    text = pa.array([b"a", b"caf\xe9", b"c"], type=pa.binary()).view(pa.string())
    path = parquet_file(tmp_path / "q.parquet", text=text)
    with pytest.raises(UnreadableFile, match=r"can't read .*q\.parquet"):
        list(read_rows(path, ["text"]))


# Columns that a file may lack, and cells that say yes or no


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.jsonl", "q.parquet"])
def test_optional_columns_come_last_and_are_none_where_there_are_none(
    write: Write, tmp_path: Path, name: str
) -> None:
    if name == "q.parquet":
        path = tmp_path / name
        parquet.write_table(
            pa.table({"id": ["1", "2", "3"], "text": [text for _, text in QUESTIONS]}), path
        )
    else:
        path = write(name, KINDS[Path(name).suffix]())
    found = [tuple(row.values) for row in read_rows(path, ["id"], ["note", "text"])]
    assert found == [(id_, None, text) for id_, text in QUESTIONS]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        *[(cell, True) for cell in (1, "1", 1.0, "1.0", True, "true", " TRUE ")],
        *[(cell, False) for cell in (0, "0", 0.0, False, "False")],
        *[(cell, None) for cell in (2, "", None, "yes", "nan", [1])],
    ],
)
def test_a_cell_says_yes_or_no_or_neither(cell: object, said: bool | None) -> None:
    assert truth(cell) is said


# Parquet whose pages are not what its footer says


def test_parquet_with_a_broken_page_is_refused_before_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    numbers = pa.array([random.Random(i).getrandbits(60) for i in range(50_000)])
    parquet.write_table(pa.table({"id": numbers}), path, row_group_size=1024, use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50_000] = bytes(50_000)  # the metadata, at the very end, stays whole
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="has a page of Parquet that is broken"):
        next(read_rows(path, ["id"]))


# Files that unpack to far more than they are


def _peak_bytes(file: Path) -> tuple[int, str]:
    """What a process of its own needs at most to read a file, beside what it needs anyway; and how that ended."""
    script = (
        "import resource, sys; from pathlib import Path; from app.engine.rows import read_rows\n"
        "from app.errors import UnreadableFile\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, ending = peak(), 'read'\n"
        "try:\n"
        "    for row in read_rows(Path(sys.argv[1]), ('id', 'text')): pass\n"
        "except UnreadableFile as error: ending = str(error)\n"
        "print(peak() - before, ending)"
    )
    command = [sys.executable, "-c", script, str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kilobytes, _, ending = ended.stdout.strip().partition(" ")
    return int(kilobytes) * 1024, ending


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv.gz", ".jsonl.gz"])
def test_a_line_that_unpacks_to_hundreds_of_megabytes_is_refused(
    tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"bomb{ending}"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(b"id\ttext\na\t" if ending == ".tsv.gz" else b"id,text\na,")
        for _ in range(256):
            packed.write(b"x" * 2**20)
    peak_bytes, words = _peak_bytes(file)
    assert "unpacks to more than 100 times its packed size" in words
    assert peak_bytes < 64 * 2**20


def test_a_quoted_cell_without_end_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb.csv.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        packed.write(b'id,text\na,"')
        for _ in range(256):
            packed.write((b"x" * 1023 + b"\n") * 1024)
    peak_bytes, words = _peak_bytes(file)
    assert "unpacks to more than 100 times its packed size" in words
    assert peak_bytes < 64 * 2**20


def test_a_text_that_many_rows_of_parquet_share_is_held_once(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["y" * 2**20])
    table = pa.table({"id": [str(number) for number in range(5000)], "text": texts})
    parquet.write_table(table, file, compression="zstd")
    assert file.stat().st_size < 100_000
    peak_bytes, words = _peak_bytes(file)
    assert (words, peak_bytes < 64 * 2**20) == ("read", True)


def test_a_column_of_parquet_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    table = pa.table({"id": ["a"], "text": ["z" * (65 * 2**20)]})
    parquet.write_table(table, file, compression="zstd", use_dictionary=False)
    peak_bytes, words = _peak_bytes(file)
    assert "has a column 'text' that unpacks to 68,157," in words
    assert peak_bytes < 64 * 2**20


def _varint(number: int, length: int = 0) -> bytes:
    """A number of Thrift's compact protocol, in at least so many bytes."""
    number *= 2  # zigzag
    content = bytearray()
    while number > 127 or len(content) < length - 1:
        content.append(number & 127 | 128)
        number >>= 7
    return bytes([*content, number])


def test_a_page_of_parquet_that_unpacks_to_far_more_than_its_footer_says_is_refused(
    tmp_path: Path,
) -> None:
    file = parquet_file(tmp_path / "bomb.parquet", id=["a"], text=["z" * (65 * 2**20)])
    parquet.write_table(parquet.read_table(file), file, compression="zstd", use_dictionary=False)
    content = file.read_bytes()
    stated = parquet.read_metadata(file).row_group(0).column(1).total_uncompressed_size
    before, after = content[:-4000], content[-4000:]
    lying = _varint(1000, len(_varint(stated)))
    assert after.count(_varint(stated)) == 1
    file.write_bytes(before + after.replace(_varint(stated), lying))
    assert parquet.read_metadata(file).row_group(0).column(1).total_uncompressed_size == 1000
    peak_bytes, words = _peak_bytes(file)
    assert "has a column 'text' that unpacks to 68,157," in words
    assert peak_bytes < 64 * 2**20


def test_texts_of_parquet_that_begin_alike_are_held_a_few_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "q.parquet"
    texts = ["y" * 2**18 + str(number) for number in range(50)]
    table = pa.table({"text": texts})
    encoding = {"text": "DELTA_BYTE_ARRAY"}
    parquet.write_table(table, file, use_dictionary=False, column_encoding=encoding)
    (page,) = pages(file, parquet.read_metadata(file).row_group(0).column(0))
    assert (page.shares_beginnings, page.unpacked_bytes < 2**19) == (True, True)
    assert values(file, "text") == [(text,) for text in texts]


def test_a_file_of_any_size_takes_the_same_memory(tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    rows = b"".join(b'%d,"What, in the end, is %d?"\n' % (n, n) for n in range(300_000))
    file.write_bytes(b"id,text\n" + rows)
    peak_bytes, words = _peak_bytes(file)
    assert (words, peak_bytes < 8 * 2**20) == ("read", True)
