"""CSV and its like: delimiters found, quotes that hold, and quotes that are broken."""

import csv
import io
from pathlib import Path

import pytest

from app.engine.rows import Row, TableFile, read_columns, read_rows
from app.errors import ColumnNotFound, UnreadableFile

QUORA = (
    "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    "0\t1\t2\tWhat is love?\tWhat is love, and why?\t0\n"
    '1\t3\t4\t"What does ""carpe diem"" mean?"\t"Who said ""carpe diem""?"\t0\n'
    '2\t5\t6\t"Which of these\n\nis better?"\tWhich is better?\t1\n'
    '3\t7\t8\t"Is it" so?\tIs "it" so?\t1\n'
    "4\t9\t10\t\tWhat is blank?\t0\n"
    '5\t11\t12\t"The Matrix"\tWhat is "The Matrix"?\t0\n'
)
QUORA_PAIRS = [
    ("What is love?", "What is love, and why?"),
    ('What does "carpe diem" mean?', 'Who said "carpe diem"?'),
    ("Which of these\n\nis better?", "Which is better?"),
    ('"Is it" so?', 'Is "it" so?'),
    ("", "What is blank?"),
    ('"The Matrix"', 'What is "The Matrix"?'),
]


def file_of(folder: Path, content: str) -> Path:
    path = folder / "q"
    path.write_text(content, "utf-8", newline="")
    return path


def read(
    folder: Path,
    content: str,
    columns: tuple[str, ...] = ("id", "text"),
    delimiter: str | None = None,
) -> list[Row]:
    return list(read_rows(TableFile(file_of(folder, content), "q", delimiter), columns))


def told(rows: list[Row]) -> list[object]:
    """The values of good rows; line, number of lines and first words of broken ones."""
    return [
        (row.line, row.lines, row.error.split(":")[0]) if row.error else tuple(row.values)
        for row in rows
    ]


# Delimiters


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    content = f"note{delimiter}id{delimiter}text\nx{delimiter}1{delimiter}One?\n"
    assert told(read(tmp_path, content)) == [("1", "One?")]


def test_a_delimiter_of_other_columns_names_does_not_mislead(tmp_path: Path) -> None:
    assert told(read(tmp_path, "id;text;seen, read, done\n1;One, two?;x\n")) == [("1", "One, two?")]


@pytest.mark.parametrize(
    ("first", "delimiter"), [("sep=^", "^"), ("\ufeffSEP=;", ";"), ("sep=,", ",")]
)
def test_a_first_line_for_excel_tells_the_delimiter(
    tmp_path: Path, first: str, delimiter: str
) -> None:
    content = f"{first}\r\nid{delimiter}text\r\n1{delimiter}One?\r\n"
    assert read(tmp_path, content) == [Row(3, ["1", "One?"])]


def test_a_given_delimiter_holds(tmp_path: Path) -> None:
    assert told(read(tmp_path, "id~text\n1~One, two; three?\n", delimiter="~")) == [
        ("1", "One, two; three?")
    ]


def test_a_file_of_one_column_has_no_delimiter(tmp_path: Path) -> None:
    content = 'text\nOne, two?\n"Three,\nfour?"\n\nFive; six\tseven?\n'
    assert told(read(tmp_path, content, ("text",))) == [
        ("One, two?",),
        ("Three,\nfour?",),
        ("Five; six\tseven?",),
    ]


@pytest.mark.parametrize("header", [" id , text ", '"id"," text"', "\ufeffid,text", "\n\nid,text"])
def test_spaces_around_names_make_no_difference(tmp_path: Path, header: str) -> None:
    rows = read(tmp_path, f"{header}\n1,One?\n", ("id ", "text"))
    assert [tuple(row.values) for row in rows] == [("1", "One?")]


def test_two_columns_of_a_wanted_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ColumnNotFound, match=r"^q has 2 columns 'text': which one is meant\?$"):
        read(tmp_path, "id,text,text \n1,One?,Two?\n")
    assert told(read(tmp_path, "id,text,note,note\n1,One?,a,b\n")) == [("1", "One?")]


def test_lines_of_delimiters_alone_are_blank(tmp_path: Path) -> None:
    assert told(read(tmp_path, "id;text\n1;One?\n;\n;\n")) == [("1", "One?")]


def test_kind_and_columns_are_told(tmp_path: Path) -> None:
    assert read_columns(file_of(tmp_path, "id ; text\n")) == (
        "CSV, separated by semicolons",
        ["id", "text"],
    )
    assert read_columns(file_of(tmp_path, QUORA))[0] == "TSV"
    assert read_columns(file_of(tmp_path, "text\n")) == ("one column", ["text"])


# Quotes that are broken

MEANT = 'id,text\n1,"He said \\"hi\\" to me\nhello,why did he?\nbye"\n2,Two?\n'


def test_nothing_of_a_broken_cell_is_taken_for_rows(tmp_path: Path) -> None:
    rows = read(tmp_path, MEANT)
    assert told(rows) == [
        (2, 3, "has a quote that neither closes its cell nor is doubled"),
        ("2", "Two?"),
    ]
    assert rows[0].raw == MEANT[8:-7]


def test_a_quote_that_is_never_closed_names_its_line_and_what_it_takes(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        'id,text\n0,Zero?\n1,"One?\n' + "".join(f"{n},Word {n}\n" for n in range(2, 20_001)),
    )
    assert [row.error for row in rows] == [
        None,
        "has a quote, opened on line 3, that is never closed: it takes 20,000 lines, to line 20,002 (a quote that is"
        " text must be doubled, in a cell in quotes)",
    ]
    assert rows[1].lines == 20_000


@pytest.mark.parametrize(
    "content",
    [
        'id,text\n1,"One\n2,Two?\n3,27"\n4,Four?\n',
        'id,n,text\n1,x,"One\n2,y,Two?\n3,z,27"\n4,v,Four?\n',
    ],
)
def test_a_quote_that_a_later_row_closes_is_no_text_of_many_lines(
    tmp_path: Path, content: str
) -> None:
    assert told(read(tmp_path, content)) == [
        (2, 3, "has a quote that closes only after lines that look like rows"),
        ("4", "Four?"),
    ]


@pytest.mark.parametrize(
    "text", ["Which?\n\nThis, or that?", "One,\ntwo", "a\nb, c\nd", "1.\n2.\n3.", 'x "y"\n2;3']
)
def test_texts_of_many_lines_are_read_as_they_were_written(tmp_path: Path, text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([("id", "text"), ("7", text), ("8", "Next?")])
    assert told(read(tmp_path, out.getvalue())) == [("7", text), ("8", "Next?")]


def test_a_quote_inside_a_cell_without_quotes_is_text(tmp_path: Path) -> None:
    assert told(read(tmp_path, 'id,text\n1,the "so-called" cloud\n2,27"\n')) == [
        ("1", 'the "so-called" cloud'),
        ("2", '27"'),
    ]


def test_a_row_that_is_longer_than_any_need_is_counted_and_not_kept(tmp_path: Path) -> None:
    lines = ("x" * 1023 + "\n") * 5000
    rows = read(tmp_path, f'id,text\n1,"{lines}"\n2,Two?\n')
    assert told(rows) == [(2, 5001, "has more than 4,194,304 characters"), ("2", "Two?")]


def test_a_header_with_a_broken_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="has a header, on line 1, with a quote"):
        read(tmp_path, '"id"x,text\n1,a\n')


# TSV, as Quora's own file


def test_quoras_own_file_reads_as_it_comes(tmp_path: Path) -> None:
    columns = ("question1", "question2")
    rows = read(tmp_path, QUORA, columns)
    assert [tuple(row.values) for row in rows] == QUORA_PAIRS
    assert [(row.line, row.lines) for row in rows] == [
        (2, 1),
        (3, 1),
        (4, 3),
        (7, 1),
        (8, 1),
        (9, 1),
    ]


def test_a_text_of_many_lines_may_stand_last(tmp_path: Path) -> None:
    out = io.StringIO()
    rows = [("1", "One\n\ntwo"), ("2", 'say "a\tb"'), ("3", '"half'), ("4", "Four?")]
    csv.writer(out, "excel-tab").writerows([("id", "text"), *rows])
    assert told(read(tmp_path, out.getvalue())) == rows


def test_a_broken_row_of_tsv_takes_no_other(tmp_path: Path) -> None:
    content = 'id\tq\ttext\n1\t"a\n2\tb\tTwo?\n3\t"c\td"\tThree?\tx\n4\te\tFour?\n'
    assert told(read(tmp_path, content)) == [
        (2, 1, "has 2 columns, the header has 3"),
        ("2", "Two?"),
        (4, 1, "has 5 columns, the header has 3"),
        ("4", "Four?"),
    ]


def test_a_quote_that_opens_too_long_a_row_of_tsv_takes_no_line(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"One?\n' + ("x" * 1023 + "\n") * 5000 + "2\tTwo?\n"
    rows = read(tmp_path, content)
    assert [row.line for row in rows] == list(range(2, 5004))
    assert (rows[0].values, rows[-1].values) == (["1", '"One?'], ["2", "Two?"])


def test_where_the_header_of_tsv_is_quoted_every_cell_is(tmp_path: Path) -> None:
    content = '"id"\t"text"\n"1"\t"One?"\n"2"\t"Two\nlines?"\n'
    assert told(read(tmp_path, content)) == [("1", "One?"), ("2", "Two\nlines?")]
