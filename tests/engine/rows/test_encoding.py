"""Encodings, found and given, by value."""

import gzip
from pathlib import Path

import pytest

from app.engine.rows import Row, TableFile, read_columns, read_rows
from app.errors import UnreadableFile

TEXT = "id;text\n1;Où est la clé – ici?\n2;Wo ist die Straße, 5 € weit?\n"
ROWS = [["1", "Où est la clé – ici?"], ["2", "Wo ist die Straße, 5 € weit?"]]
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32")


def read(path: Path, content: bytes, encoding: str | None = None) -> list[Row]:
    path.write_bytes(content)
    return list(read_rows(TableFile(path, "q", encoding=encoding), ("id", "text")))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", *WIDE])
def test_the_encoding_is_found(tmp_path: Path, encoding: str, packed: bool) -> None:
    content = TEXT.encode(encoding)
    rows = read(tmp_path / "q", gzip.compress(content) if packed else content)
    assert [row.values for row in rows] == ROWS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_json_may_be_in_it_too(tmp_path: Path, encoding: str) -> None:
    for content in ('{"id": 1, "text": "clé"}\n', '[{"id": 1, "text": "clé"}]'):
        assert read(tmp_path / "q", content.encode(encoding)) == [Row(1, [1, "clé"])]


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "shift_jis", "gb18030"])
def test_another_one_is_asked_for_and_read_where_it_is_given(tmp_path: Path, encoding: str) -> None:
    text = (
        "日本語の質問ですか" if encoding in ("shift_jis", "gb18030") else "Где моя посылка и ключ"
    )
    content = f"id,text\n1,{text}\n".encode(encoding)
    with pytest.raises(
        UnreadableFile, match=r"^q is text in an encoding that can't be told: .*--encoding"
    ):
        read(tmp_path / "q", content)
    assert read(tmp_path / "q", content, encoding) == [Row(2, ["1", text])]


@pytest.mark.parametrize("given", ["utf-8", "UTF8", "utf_8_sig"])
def test_a_mark_is_no_text_where_utf_8_is_given(tmp_path: Path, given: str) -> None:
    assert read(tmp_path / "q", "\ufeffid,text\n1,é\n".encode(), given) == [Row(2, ["1", "é"])]


@pytest.mark.parametrize("given", ["latin17", "base64", "", "\x00"])
def test_what_is_no_encoding_is_refused(tmp_path: Path, given: str) -> None:
    if given:
        with pytest.raises(UnreadableFile, match="which is no encoding"):
            read(tmp_path / "q", TEXT.encode(), given)
    else:
        assert [row.values for row in read(tmp_path / "q", TEXT.encode(), given)] == ROWS


def test_bytes_of_no_given_encoding_are_in_their_row(tmp_path: Path) -> None:
    rows = read(tmp_path / "q", b"id,text\n1,caf\xe9\n2,b\n", "utf-8")
    assert rows == [Row(2, ["1", "caf\udce9"]), Row(3, ["2", "b"])]


def test_broken_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="can't read q"):
        read(tmp_path / "q", TEXT.encode("utf-16") + b"\x00\xd8x")


def test_the_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(TEXT.encode("cp1252"))
    assert read_columns(tmp_path / "q") == (
        "CSV, separated by semicolons in cp1252",
        ["id", "text"],
    )
