"""What a dropped file is, by its beginning: its columns and first rows, or what it is instead."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from app.errors import UnreadableFile
from app.file_preview import SAMPLE_BYTES, Preview, kind_of, preview

CSV = b'id,text\n1,"One, or two?"\n2,Three?\n3,Four?\n4,Five?\n'


def seen(name: str, content: bytes) -> Preview:
    """The preview of a file with this content, by what a browser sends of it."""
    return preview(name, len(content), content[:SAMPLE_BYTES], content[-SAMPLE_BYTES:])


def test_a_table_shows_its_columns_and_first_rows() -> None:
    assert seen("a.csv", CSV) == Preview(
        ".csv", ["id", "text"], [["1", "One, or two?"], ["2", "Three?"], ["3", "Four?"]]
    )
    assert seen("A.TSV", b"id\ttext\n1\tOne?\n").rows == [["1", "One?"]]
    assert seen("a.csv", b"\xef\xbb\xbfid,text\n1,One?\n").columns == ["id", "text"]


def test_packed_files_are_looked_into() -> None:
    packed = gzip.compress(CSV)
    assert seen("a.csv.gz", packed).rows[1] == ["2", "Three?"]
    assert preview("a.csv.gz", 10**9, packed[:40], b"").columns == ["id", "text"]


def test_json_lines_show_the_names_of_their_first_objects() -> None:
    lines = b'{"id": 1, "text": "One?"}\n{"id": 2, "text": "Two?", "note": null}\n'
    assert seen("a.jsonl", lines) == Preview(
        ".jsonl", ["id", "text", "note"], [["1", "One?", ""], ["2", "Two?", ""]]
    )


def test_a_line_that_is_cut_off_is_left_out() -> None:
    long = b"id,text\n" + b"1,One?\n" * 2 + b"2," + b"x" * SAMPLE_BYTES
    assert seen("a.csv", long).rows == [["1", "One?"], ["1", "One?"]]


def test_parquet_is_known_by_both_its_ends() -> None:
    table = pa.table({"id": ["1", "2"], "text": ["One?", "Two?"]})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    content = buffer.getvalue()
    assert seen("a.parquet", content) == Preview(
        ".parquet", ["id", "text"], [["1", "One?"], ["2", "Two?"]]
    )
    far = pa.table({"text": [str(i) * 40 for i in range(20_000)]})
    buffer = io.BytesIO()
    parquet.write_table(far, buffer, compression="none", use_dictionary=False)
    assert seen("a.parquet", buffer.getvalue()).columns == ["text"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pdf", b"%PDF-1.7", "its name ends in '.pdf'"),
        ("a", b"id,text\n", "its name ends in 'nothing'"),
        ("a.csv", b"%PDF-1.7", "so it is a PDF"),
        ("a.csv", b"PK\x03\x04....", "so it is a ZIP, as spreadsheets"),
        ("a.csv", b"\x89PNG\r\n", "so it is a picture"),
        ("a.csv", b"\x1f\x8b\x08\x00", "so it is packed by gzip"),
        ("a.csv", b"PAR1....PAR1", "so it is Parquet"),
        ("a.csv.gz", CSV, "does not begin as such a file does"),
        ("a.csv.gz", b"\x1f\x8bnonsense", "can't be unpacked"),
        ("a.parquet", CSV, "does not begin as such a file does"),
        ("a.parquet", b"PAR1 and nothing more", "its end is not one of Parquet"),
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"id,text\n1,caf\xe9\n", "line 2 is not UTF-8"),
        ("a.csv", "id,text\n".encode("utf-16"), "zero bytes"),
        ("a.csv", b"one line", "one line and one column"),
        ("a.jsonl", b"id,text\n1,One?\n", "its lines are not JSON"),
        ("a.jsonl", b"[1]\n", "but no objects"),
    ],
)
def test_what_is_no_file_of_questions_is_refused_by_what_it_is(
    name: str, content: bytes, why: str
) -> None:
    with pytest.raises(UnreadableFile) as refusal:
        seen(name, content)
    assert why in str(refusal.value)


def test_the_kind_is_what_the_name_says() -> None:
    assert kind_of("Tickets.of.May.CSV") == ".csv"
    assert kind_of("a.jsonl.gz") == ".jsonl.gz"


def test_likely_columns_are_guessed() -> None:
    table = Preview(".csv", ["Ticket_ID", "Subject"], [])
    assert table.guess("text", "subject") == "Subject"
    assert table.guess("id", "ticket_id") == "Ticket_ID"
    assert table.guess("nothing") is None
