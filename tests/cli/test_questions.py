"""`sameask import` and `sameask export`, by value."""

import csv
import io
from pathlib import Path

import httpx
import pytest

from tests.cli.commands import (
    ODD_ROWS,
    ROWS,
    Sameask,
    assert_broken,
    assert_one_line,
    question_file,
    stored,
)

# import


@pytest.mark.parametrize(
    "ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz"]
)
def test_a_file_is_imported_and_importing_it_again_changes_nothing(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    file = question_file(tmp_path, ending)
    first, again = sameask("import", file), sameask("import", file)
    assert (first.code, first.out) == (0, "3 added, 0 updated, 0 unchanged\n")
    assert (again.code, again.out) == (0, "0 added, 0 updated, 3 unchanged\n")
    assert stored(sameask) == ROWS


def test_a_changed_row_is_updated(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path))
    changed = [*ROWS[:2], ("c", "Where is the street?"), ("d", "Now what?")]
    assert (
        sameask("import", question_file(tmp_path, rows=changed)).out
        == "1 added, 1 updated, 2 unchanged\n"
    )
    assert stored(sameask) == changed


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_have_the_names_that_the_options_say(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    file = question_file(tmp_path, ending, columns=("key", "the question"))
    imported = sameask("import", file, "--id-column", "key", "--text-column", "the question")
    assert imported.out == "3 added, 0 updated, 0 unchanged\n"
    assert stored(sameask) == ROWS


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_column_that_is_not_there_is_named(sameask: Sameask, tmp_path: Path, ending: str) -> None:
    imported = sameask("import", question_file(tmp_path, ending), "--text-column", "question")
    assert_one_line(imported, "has no column 'question'", "'id', 'text'")
    assert stored(sameask) == []


def test_a_file_of_another_kind_is_refused(sameask: Sameask, tmp_path: Path) -> None:
    file = tmp_path / "questions.csv"
    file.write_bytes(b"%PDF-1.7")
    assert_one_line(
        sameask("import", file), f"{file} is a PDF; CSV, TSV, JSON, .xlsx and Parquet are read"
    )


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet", ".xlsx"])
def test_the_bytes_of_a_file_tell_its_kind(sameask: Sameask, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"questions{ending}"
    file.write_text("id,text\na,One?\n")
    assert sameask("import", file).out == "1 added, 0 updated, 0 unchanged\n"


def test_a_file_that_is_not_there_is_named(sameask: Sameask, tmp_path: Path) -> None:
    imported = sameask("import", tmp_path / "nowhere.csv")
    assert imported.code == 2
    assert "nowhere.csv" in imported.err


@pytest.mark.parametrize(
    ("row", "line", "problem"),
    [
        (b"b", 3, "has 1 column, the header has 2"),
        (b"b,Two?,Too?", 3, "has 3 columns, the header has 2"),
        (b'b,"Over\ntwo lines?"\nc,', 5, "text must not be empty"),
        (b'b," \n "', 3, "text must not be blank; it takes 2 lines, to line 4"),
        (b"b,  ", 3, "text must not be blank"),
        (b",Two?", 3, "id must not be empty"),
        (b"..,Two?", 3, "id must not be blank, '.' or '..'"),
        (b"a,Two?", 3, "id stands on line 2 already"),
        (b"b,\xc3\xa9 Two\xff?", 3, "text must be a text of whole Unicode characters"),
        (b"b,Two\x00?", 3, "text must not contain a NUL character"),
        (
            b"b," + b"x" * 10_001,
            3,
            "text has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
        ),
        (b'b,"Two" too?', 3, "has a quote that neither closes its cell nor is doubled: it takes 2"),
    ],
)
def test_a_broken_row_of_csv_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path, row: bytes, line: int, problem: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id,text\na,One?\n" + row + b"\nz,Last?\n")
    assert_broken(sameask, file, f"{file}:{line}: {problem}")


@pytest.mark.parametrize(
    ("row", "line", "problem"),
    [
        (b'{"id": "b"', 2, "is not JSON"),
        (b"[" * 100_000, 2, "is not JSON"),
        (b'\n{"id": "b"}', 3, "is not an object with 'id' and 'text'"),
        (b'["b", "Two?"]', 2, "is not an object with 'id' and 'text'"),
        (b"7", 2, "is not an object with 'id' and 'text'"),
        (b'{"id": "b", "text": 2}', 2, "text must be a text"),
        (b'{"id": 2.0, "text": "Two?"}', 2, "id must be a text or a whole number"),
        (b'{"id": true, "text": "Two?"}', 2, "id must be a text or a whole number"),
        (b'{"id": "b", "text": null}', 2, "text must be a text"),
        (b'{"id": "b", "text": "\\ud800"}', 2, "text must be a text of whole Unicode characters"),
        (
            b'{"id": "b", "text": "\xc3\xa9 Two\xff?"}',
            2,
            "text must be a text of whole Unicode characters",
        ),
        (b'{"id": "a", "text": "Two?"}', 2, "id stands on line 1 already"),
    ],
)
def test_a_broken_line_of_jsonl_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path, row: bytes, line: int, problem: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"id": "a", "text": "One?"}\n' + row + b'\n{"id": "z", "text": "Last?"}\n')
    assert_broken(sameask, file, f"{file}:{line}: {problem}")


def test_a_broken_line_of_tsv_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = tmp_path / "a.tsv"
    file.write_text(
        'id\ttext\na\t"One?\nb\tTwo?\tToo?\nc\tThree?\n'
    )  # a quotation mark means nothing here
    assert_broken(sameask, file, f"{file}:3: has 3 columns, the header has 2")


def test_a_broken_row_of_a_parquet_file_is_named_by_its_number(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = question_file(tmp_path, ".parquet", rows=[*ROWS, ("d", " ")])
    assert_broken(sameask, file, f"{file}:4: text must not be blank")


def test_skip_bad_imports_the_good_rows(sameask: Sameask, tmp_path: Path) -> None:
    file = question_file(
        tmp_path, rows=[("x", ""), ROWS[0], ("", "No id?"), ROWS[1], ROWS[2], ("a", "Again?")]
    )
    imported = sameask("import", file, "--skip-bad")
    assert (imported.code, imported.out) == (
        0,
        "3 added, 0 updated, 0 unchanged, 3 broken rows skipped\n",
    )
    assert [line.split(": ")[0] for line in imported.err.splitlines()[:3]] == [
        f"{file}:{n}" for n in (2, 4, 7)
    ]
    assert stored(sameask) == ROWS


def test_of_many_broken_rows_twenty_are_shown_and_all_are_counted(
    sameask: Sameask, tmp_path: Path
) -> None:
    refused = sameask("import", question_file(tmp_path, rows=[(str(n), "") for n in range(1001)]))
    *shown, last = refused.err.splitlines()
    assert [line.split(": ")[0].rpartition(":")[2] for line in shown] == [
        str(n) for n in range(2, 22)
    ]
    assert "1,001 broken rows" in last


def test_an_import_into_an_unknown_collection_says_so(sameask: Sameask, tmp_path: Path) -> None:
    imported = sameask("import", question_file(tmp_path), "--collection", "nowhere")
    assert imported.code == 1
    assert "sameask: Collection not found: there is no collection 'nowhere'" in imported.err
    assert "Traceback" not in imported.err


def test_an_import_of_more_than_one_request_is_whole(sameask: Sameask, tmp_path: Path) -> None:
    rows = [(f"{number:04}", f"What is {number} times two?") for number in range(1234)]
    assert (
        sameask("import", question_file(tmp_path, rows=rows)).out
        == "1,234 added, 0 updated, 0 unchanged\n"
    )
    assert stored(sameask) == rows  # more than one page, too


def test_texts_as_long_as_allowed_are_imported(sameask: Sameask, tmp_path: Path) -> None:
    rows = [
        (f"{number:03}", "🦊" * 9_990 + f"{number:03}") for number in range(110)
    ]  # 4.4 MB: more than a body may have
    assert (
        sameask("import", question_file(tmp_path, rows=rows)).out
        == "110 added, 0 updated, 0 unchanged\n"
    )


def test_import_and_export_keep_within_the_limits_set(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_MAX_UPSERT", "2")
    monkeypatch.setenv("SAMEASK_MAX_PAGE", "2")
    assert sameask("import", question_file(tmp_path)).out == "3 added, 0 updated, 0 unchanged\n"
    assert stored(sameask) == ROWS


def test_an_import_goes_to_the_server_at_the_url(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    httpx.put(f"{url}/collections/support")
    arguments = ("import", question_file(tmp_path), "-c", "support", "--url", url)
    assert sameask(*arguments).out == "3 added, 0 updated, 0 unchanged\n"
    assert sameask(*arguments).out == "0 added, 0 updated, 3 unchanged\n"
    assert stored(sameask, "-c", "support", "--url", url) == ROWS
    assert httpx.get(f"{url}/collections/support").json()["questions"] == 3
    assert stored(sameask) == []  # nothing in place


# export


def test_export_prints_csv_with_a_header(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path))
    exported = sameask("export")
    assert exported.code == 0
    assert list(csv.reader(io.StringIO(exported.out, newline=""))) == [
        ["id", "text"],
        *map(list, ROWS),
    ]


@pytest.mark.parametrize(("options", "ending"), [((), ".csv"), (("--json",), ".jsonl")])
def test_export_then_import_is_a_round_trip(
    sameask: Sameask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    ending: str,
) -> None:
    sameask("import", question_file(tmp_path, ".jsonl", ODD_ROWS))
    exported = sameask("export", *options)
    file = tmp_path / f"exported{ending}"
    file.write_bytes(exported.out.encode())
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "another"))
    assert sameask("import", file).out == f"{len(ODD_ROWS)} added, 0 updated, 0 unchanged\n"
    assert stored(sameask) == sorted(ODD_ROWS)
    assert sameask("export", *options).out == exported.out


def test_an_empty_collection_exports_its_header_alone(sameask: Sameask) -> None:
    assert sameask("export").out == "id,text\r\n"
    assert sameask("export", "--json").out == ""


def test_an_import_says_where_it_makes_a_data_directory(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMEASK_DATA_DIR")
    first, again = (sameask("import", question_file(tmp_path)) for _ in range(2))
    place = tmp_path / "data"
    said = f"making the data directory {place} (set SAMEASK_DATA_DIR for another)\n"
    assert said in first.err
    assert said not in again.err


def test_an_import_says_that_a_data_directory_is_the_one_that_was_named(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(named))
    said = f"making the data directory {named} (SAMEASK_DATA_DIR names it)\n"
    assert said in sameask("import", question_file(tmp_path)).err
