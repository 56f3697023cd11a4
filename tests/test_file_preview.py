"""What a dropped file is, by its beginning: its columns and first rows, or what it is instead."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from app.errors import UnreadableFile
from app.file_preview import SAMPLE_BYTES, Preview, preview
from tests.engine.rows.test_content import zipped
from tests.engine.rows.test_spreadsheet import content_of, workbook

CSV = b'id,text\n1,"One, or two?"\n2,Three?\n3,Four?\n4,Five?\n'


def seen(name: str, content: bytes) -> Preview:
    """The preview of a file with this content, by what a browser sends of it."""
    return preview(name, len(content), content[:SAMPLE_BYTES], content[-SAMPLE_BYTES:])


def test_a_table_shows_its_columns_and_first_rows() -> None:
    assert seen("a.csv", CSV) == Preview(
        "CSV", ["id", "text"], [["1", "One, or two?"], ["2", "Three?"], ["3", "Four?"]]
    )
    assert seen("a", b"id\ttext\n1\tOne?\n").rows == [["1", "One?"]]
    assert seen("a", b"id;text\n1;caf\xe9\n") == Preview(
        "CSV, separated by semicolons in cp1252", ["id", "text"], [["1", "café"]]
    )
    assert seen("a", "id,text\n1,é\n".encode("utf-16")).rows == [["1", "é"]]
    assert seen("a.csv", b"\xef\xbb\xbfid,text\n1,One?\n").columns == ["id", "text"]


def test_packed_files_are_looked_into() -> None:
    packed = gzip.compress(CSV)
    assert seen("a.csv.gz", packed).rows[1] == ["2", "Three?"]
    assert preview("a.csv.gz", 10**9, packed[:40], b"").columns == ["id", "text"]
    assert seen("a.zip", zipped(("a.csv", CSV))).rows[1] == ["2", "Three?"]


def test_a_workbook_is_looked_into_where_all_of_it_is_there() -> None:
    content = content_of(workbook(("id", "text", "", ""), (7, "One?")))
    assert seen("a.xlsx", content) == Preview("Excel workbook", ["id", "text"], [["7", "One?"]])
    unseen = preview("a.xlsx", 10**9, content, content)
    assert unseen == Preview("ZIP or Excel workbook", [], [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
def test_an_array_that_is_cut_off_shows_its_first_objects(encoding: str) -> None:
    text = '[{"id": 1, "text": "One?"},\n' * 2 + '{"id": 3, "text": "' + "x" * SAMPLE_BYTES
    shown = preview("a.json", 10**9, text.replace("\n[", "\n").encode(encoding)[:SAMPLE_BYTES], b"")
    assert shown == Preview("JSON array", ["id", "text"], [["1", "One?"], ["1", "One?"]])


def test_json_lines_show_the_names_of_their_first_objects() -> None:
    lines = b'{"id": 1, "text": "One?"}\n{"id": 2, "text": "Two?", "note": null}\n'
    assert seen("a.jsonl", lines) == Preview(
        "JSON lines", ["id", "text", "note"], [["1", "One?", ""], ["2", "Two?", ""]]
    )


def test_a_line_that_is_cut_off_is_left_out() -> None:
    long = b"id,text\n" + b"1,One?\n" * 2 + b"2," + b"x" * SAMPLE_BYTES
    assert preview("a.csv", 10**9, long[:SAMPLE_BYTES], b"").rows == [["1", "One?"], ["1", "One?"]]


def test_parquet_is_known_by_both_its_ends() -> None:
    table = pa.table({"id": ["1", "2"], "text": ["One?", "Two?"]})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    content = buffer.getvalue()
    assert seen("a.parquet", content) == Preview(
        "Parquet", ["id", "text"], [["1", "One?"], ["2", "Two?"]]
    )
    far = pa.table({"text": [str(i) * 40 for i in range(20_000)]})
    buffer = io.BytesIO()
    parquet.write_table(far, buffer, compression="none", use_dictionary=False)
    assert seen("a.parquet", buffer.getvalue()).columns == ["text"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", b"%PDF-1.7", "a.csv is a PDF"),
        ("a.csv", b"\x89PNG\r\n", "a.csv is a picture"),
        ("a.csv.gz", b"\x1f\x8bnonsense", "can't read a.csv.gz: "),
        ("a.parquet", b"PAR1 and nothing more", "can't read a.parquet: "),
        ("a.csv", b"", "a.csv is empty"),
        ("a.jsonl", b"{nonsense}\n", "a.jsonl has lines that are not JSON"),
        ("a.json", b"[1]\n", "a.json is JSON, but not of objects"),
    ],
)
def test_what_is_no_file_of_questions_is_refused_by_what_it_is(
    name: str, content: bytes, why: str
) -> None:
    with pytest.raises(UnreadableFile) as refusal:
        seen(name, content)
    assert why in str(refusal.value)


def test_likely_columns_are_guessed() -> None:
    table = Preview(".csv", ["Ticket_ID", "Subject"], [])
    assert table.guess("text", "subject") == "Subject"
    assert table.guess("id", "ticket_id") == "Ticket_ID"
    assert table.guess("nothing") is None
