"""The same three questions in every kind of file, and files with a fault each: read by the command and over HTTP."""

import gzip
import io
import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.engine.rows.test_content import zipped
from tests.engine.rows.test_spreadsheet import content_of, workbook

QUESTIONS = [("1", "Où est la clé?"), ("2", 'Who said "hi", and why?'), ("3", "Two\nlines?")]
CSV = 'id,text\n1,Où est la clé?\n2,"Who said ""hi"", and why?"\n3,"Two\nlines?"\n'
TSV = CSV.replace("1,", "1\t").replace("id,", "id\t").replace("2,", "2\t").replace("3,", "3\t")
ITEMS = [{"id": int(id_), "text": text, "more": {"x": [1]}} for id_, text in QUESTIONS]


def _parquet() -> bytes:
    out = io.BytesIO()
    ids, texts = zip(*QUESTIONS, strict=True)
    parquet.write_table(pa.table({"id": [int(id_) for id_ in ids], "text": texts}), out)
    return out.getvalue()


FILES: Mapping[str, bytes] = {
    "comma": CSV.encode(),
    "semicolon, cp1252, Windows": CSV.replace("id,", "id;")
    .replace("1,", "1;")
    .replace("2,", "2;")
    .replace("3,", "3;")
    .encode("cp1252"),
    "sep=, UTF-8 with its mark": b"sep=,\n" + CSV.encode("utf-8"),
    "UTF-8 with its mark": CSV.encode("utf-8-sig"),
    "UTF-16": CSV.encode("utf-16"),
    "tabs": TSV.encode(),
    "spaces around names": CSV.replace("id,text", " id , text ").encode(),
    "JSON lines": "\n".join(json.dumps(item) for item in ITEMS).encode(),
    "JSON array": json.dumps(ITEMS, ensure_ascii=False, indent=2).encode(),
    "Excel": content_of(workbook(("id", "text"), *((int(id_), text) for id_, text in QUESTIONS))),
    "Parquet": _parquet(),
    "gzip": gzip.compress(CSV.encode(), mtime=0),
    "ZIP": zipped(("questions.csv", CSV.encode())),
}

# Files of which nothing is read, and what is said of each beside its name.
REFUSED: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "a PDF": (b"%PDF-1.7", "is a PDF"),
    "two columns of a name": (
        b"id,text,text\n1,a,b\n",
        "has 2 columns 'text': which one is meant?",
    ),
    "no such column": (b"id,title\n1,a\n", "has no column 'text'; it has 'id', 'title'"),
    "Cyrillic": (
        "id,text\n1,Где моя посылка?\n".encode("cp1251"),
        "is text in an encoding that can't be told",
    ),
    "an array that breaks off": (b'[{"id": 1, "text": "a"}, {"id"', "is no JSON in item 2"),
    "two files in a ZIP": (
        zipped(("a", b"x"), ("b", b"y")),
        "is a ZIP of 2 files; one of one file is read",
    ),
    "gzip that breaks off": (gzip.compress(CSV.encode(), mtime=0)[:-9], "can't read "),
    "a trap": (
        gzip.compress(b"id,text\n" + b" " * (70 * 2**20), 1),
        "unpacks to more than 100 times",
    ),
    "a workbook that breaks off": (FILES["Excel"][:-40], "begins as a ZIP, and has not its end"),
    "Parquet that breaks off": (FILES["Parquet"][:-40], "can't read "),
}

# Files with rows that can't be taken: for each such row its line and what is wrong with it, and the ids that are good.
BROKEN: Mapping[str, tuple[bytes, list[tuple[int, str]], list[str]]] = {
    "a quote that is not doubled": (
        b'id,text\n1,"He said \\"hi\\" to me\nhello,why did he?\nbye"\n2,Two?\n',
        [
            (
                2,
                "has a quote that neither closes its cell nor is doubled: it takes 3 lines, to line 4",
            )
        ],
        ["2"],
    ),
    "a quote that is never closed": (
        b'id,text\n1,One?\n2,"Two?\n3,Three?\n4,Four?\n',
        [(3, "has a quote, opened on line 3, that is never closed: it takes 3 lines, to line 5")],
        ["1"],
    ),
    "a quote that a later row closes": (
        b'id;text\n1;"One\n2;Two?\n3;27"\n4;Four?\n',
        [
            (
                2,
                "has a quote that closes only after lines that look like rows: it takes 3 lines, to line 4",
            )
        ],
        ["4"],
    ),
    "fractions for ids": (
        b'{"id": 1.0, "text": "One?"}\n{"id": 2, "text": "Two?"}\n',
        [(1, "id must be a text or a whole number")],
        ["2"],
    ),
    "an item that is no object": (
        b'[{"id": 1, "text": "One?"}, [2], {"id": "1", "text": "Again?"}]',
        [(2, "is not an object with 'id' and 'text'"), (3, "id stands on line 1 already")],
        ["1"],
    ),
    "cells of other kinds": (
        content_of(workbook(("id", "text"), (1, 7), (2, "Two?"), (3, None))),
        [(2, "text must be a text"), (4, "text must not be empty")],
        ["2"],
    ),
}
