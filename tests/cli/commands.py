"""What tests of commands share: a command's outcome, a server of its own process, files to import."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pyarrow as pa
import pyarrow.parquet as parquet

from app.engine.release import Release
from tests.serving import free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-c", "from app.cli.main import main; main()")

ROWS = [
    ("a", "Can I cancel my order?"),
    ("b", 'He said "why?", and then: "why not?"'),
    ("c", "Wo ist die Straße? 🦊"),
]

ODD_ROWS = [
    ("comma,id", "One, two, and three?"),
    ("quo\"te'id", '"Quoted", \'quoted\' and ""twice""?'),
    ("lines", "First\nsecond\r\nthird\rfourth?\n"),
    ("spaces", "  leading and trailing?  "),
    ("unicode", "日本語で？ 🦊 e\u0301 \u202eright to left\u202c \ufeffBOM"),
    (
        "separators",
        "line\u2028separator, paragraph\u2029separator, next\x85line, file\x1cseparator?",
    ),
    ("formula", "=1+1"),
    ("tabs", "a\tb\tc?"),
    ("slash/and space", "\\n is not a line feed, nor is %0A or &#10;"),
    ("a" * 256, "null"),
]


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Sameask = Callable[..., Outcome]


@dataclass(frozen=True)
class Server:
    """A `sameask serve` of its own process."""

    process: "subprocess.Popen[bytes]"
    url: str
    data_dir: Path
    log: Path


@contextmanager
def serving(folder: Path, release: Release) -> Iterator[Server]:
    """`sameask serve` on a free port, ready."""
    port = free_port()
    settings = {"RELEASE": release.path, "DATA_DIR": folder / "data", "DEVICE": "cpu", "PORT": port}
    environment = {
        **os.environ,
        **{f"SAMEASK_{name}": str(value) for name, value in settings.items()},
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "serve"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        server = Server(process, f"http://127.0.0.1:{port}", folder / "data", log)
        wait_until(lambda: process.poll() is not None or is_ready(server.url))
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.kill()
        process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def write_csv(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_tsv(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), "utf-8")


def write_jsonl(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    path.write_text(
        "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows), "utf-8"
    )


def write_parquet(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    values = zip(*rows, strict=True)
    parquet.write_table(pa.table(dict(zip(columns, map(list, values), strict=True))), path)


WRITERS = {".csv": write_csv, ".tsv": write_tsv, ".jsonl": write_jsonl, ".ndjson": write_jsonl}
WRITERS[".parquet"] = write_parquet


def question_file(
    tmp_path: Path,
    ending: str = ".csv",
    rows: list[tuple[str, str]] = ROWS,
    columns: Any = ("id", "text"),
) -> Path:
    path = tmp_path / f"questions{ending.removesuffix('.gz')}"
    WRITERS[path.suffix](path, columns, rows)
    if ending.endswith(".gz"):
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        return packed
    return path


def stored(sameask: Sameask, *options: object) -> list[tuple[str, str]]:
    """What `export` prints of a collection."""
    exported = sameask("export", "--json", *options)
    assert exported.code == 0, exported.err
    questions = [json.loads(line) for line in exported.out.split("\n") if line]
    return [(question["id"], question["text"]) for question in questions]


def assert_one_line(outcome: Outcome, *words: str) -> None:
    """The command has failed, and said why in one line on standard error."""
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("sameask: ")
    assert outcome.err.count("\n") == 1
    for word in words:
        assert word in outcome.err


def assert_broken(sameask: Sameask, file: Path, *problems: str) -> None:
    """An import fails, starts its words with these, and has imported nothing."""
    refused = sameask("import", file)
    *shown, last = refused.err.splitlines()
    assert (
        refused.code,
        [line[: len(problem)] for line, problem in zip(shown, problems, strict=True)],
    ) == (
        1,
        list(problems),
    )
    assert last.startswith(f"sameask: {rows_of(len(problems))} ")
    assert last.endswith(f"in {file}: nothing was imported; --skip-bad imports the others")
    assert stored(sameask) == []


def rows_of(broken: int) -> str:
    return f"{broken} broken {'row' if broken == 1 else 'rows'}"


LABELS = [
    ("Can I cancel my order?", "How do I cancel an order?", "1", "anna", "the same"),
    ("Can I cancel my order?", "Where is my order?", "0", "anna", ""),
    ('He said "why?"', "First\nsecond?", "0", "bob", "a, b"),
]
LABEL_HEADER = ("question1", "question2", "is_duplicate", "by", "note")


def label_file(
    path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = LABEL_HEADER
) -> Path:
    WRITERS[path.suffix](path, cast(Any, header), cast(Any, rows))
    return path


def labelled(sameask: Sameask, *options: object) -> list[tuple[str, ...]]:
    """What `labels export` prints of a collection, header aside."""
    exported = sameask("labels", "export", *options)
    assert exported.code == 0, exported.err
    header, *rows = csv.reader(io.StringIO(exported.out, newline=""))
    assert tuple(header) == LABEL_HEADER
    return [tuple(row) for row in rows]
