"""The `sameask` command: what it prints, what it writes, and how it ends."""

import asyncio
import csv
import gzip
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import httpx
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.cli import keys as key_commands
from app.cli import main as commands
from app.cli import releases as release_commands
from app.cli import training_runs as run_commands
from app.cli.main import main
from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.serving import PATIENCE_SECONDS, served, wait_until
from training.pairs import LabelledPair, read_pairs

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


@pytest.fixture
def sameask(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Sameask:
    """Runs a command inside this process, over the tiny release and an empty data directory."""
    for name in ("release", "data_dir", "device"):
        monkeypatch.setenv(f"SAMEASK_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("COLUMNS", "200")
    for console in (
        commands.out,
        key_commands.out,
        release_commands.out,
        run_commands.out,
    ):  # these took their width at import, from wherever that was
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sameask", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return run


@dataclass(frozen=True)
class Server:
    """A `sameask serve` of its own process."""

    process: "subprocess.Popen[bytes]"
    url: str
    data_dir: Path
    log: Path


@contextmanager
def _serving(folder: Path, release: Release) -> Iterator[Server]:
    """`sameask serve` on a free port, ready."""
    port = _free_port()
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
        wait_until(lambda: process.poll() is not None or _is_ready(server.url))
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Iterator[Server]:
    """One server in a process of its own, for several tests."""
    with _serving(tmp_path_factory.mktemp("server"), tiny_release) as server:
        yield server


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Address of a server inside this process, with a data directory of its own."""
    own = settings.model_copy(update={"data_dir": settings.data_dir.with_name("served")})
    with served(create_app(own)) as url:
        yield url


def _write_csv(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def _write_tsv(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), "utf-8")


def _write_jsonl(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    path.write_text(
        "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows), "utf-8"
    )


def _write_parquet(path: Path, columns: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    values = zip(*rows, strict=True)
    parquet.write_table(pa.table(dict(zip(columns, map(list, values), strict=True))), path)


WRITERS = {".csv": _write_csv, ".tsv": _write_tsv, ".jsonl": _write_jsonl, ".ndjson": _write_jsonl}
WRITERS[".parquet"] = _write_parquet


def _file(
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


def _stored(sameask: Sameask, *options: object) -> list[tuple[str, str]]:
    """What `export` prints of a collection."""
    exported = sameask("export", "--json", *options)
    assert exported.code == 0, exported.err
    questions = [json.loads(line) for line in exported.out.split("\n") if line]
    return [(question["id"], question["text"]) for question in questions]


def _assert_one_line(outcome: Outcome, *words: str) -> None:
    """The command has failed, and said why in one line on standard error."""
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("sameask: ")
    assert outcome.err.count("\n") == 1
    for word in words:
        assert word in outcome.err


def _assert_broken(sameask: Sameask, file: Path, *problems: str) -> None:
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
    assert (
        last
        == f"sameask: {len(problems)} broken rows in {file}: nothing was imported; --skip-bad imports the others"
    )
    assert _stored(sameask) == []


# What loads, and what does not


def _heavy_modules(*arguments: str) -> list[str]:
    """Which of the heavy modules a command has loaded in a fresh process when it ends well."""
    script = (
        "import atexit, sys; from app.cli.main import main; sys.argv = ['sameask', *sys.argv[1:]]\n"
        "heavy = {'torch', 'faiss', 'transformers', 'sentence_transformers', 'sqlalchemy'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    return ended.stdout.rpartition("loaded:")[2].split()


def test_the_command_is_installed_by_its_name() -> None:
    (entry,) = entry_points(group="console_scripts", name="sameask")
    assert entry.value == "app.cli.main:main"


def test_help_loads_no_model_library() -> None:
    assert _heavy_modules("--help") == []


def test_a_command_to_a_server_loads_no_model_library(server: Server) -> None:
    assert _heavy_modules("find", "Can I cancel my order?", "--url", server.url) == []


def test_keys_are_made_without_the_model(sameask: Sameask) -> None:
    assert sameask("keys", "create", "--scope", "read").code == 0
    assert _heavy_modules("keys", "list") == ["sqlalchemy"]


def test_help_names_every_command(sameask: Sameask) -> None:
    shown = sameask("--help")
    assert shown.code == 0
    for command in ("serve", "import", "find", "pair", "export", "labels", "keys", "releases"):
        assert f" {command} " in shown.out


# import


@pytest.mark.parametrize(
    "ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz"]
)
def test_a_file_is_imported_and_importing_it_again_changes_nothing(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    file = _file(tmp_path, ending)
    first, again = sameask("import", file), sameask("import", file)
    assert (first.code, first.out) == (0, "3 added, 0 updated, 0 unchanged\n")
    assert (again.code, again.out) == (0, "0 added, 0 updated, 3 unchanged\n")
    assert _stored(sameask) == ROWS


def test_a_changed_row_is_updated(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", _file(tmp_path))
    changed = [*ROWS[:2], ("c", "Where is the street?"), ("d", "Now what?")]
    assert (
        sameask("import", _file(tmp_path, rows=changed)).out == "1 added, 1 updated, 2 unchanged\n"
    )
    assert _stored(sameask) == changed


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_have_the_names_that_the_options_say(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    file = _file(tmp_path, ending, columns=("key", "the question"))
    imported = sameask("import", file, "--id-column", "key", "--text-column", "the question")
    assert imported.out == "3 added, 0 updated, 0 unchanged\n"
    assert _stored(sameask) == ROWS


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_column_that_is_not_there_is_named(sameask: Sameask, tmp_path: Path, ending: str) -> None:
    imported = sameask("import", _file(tmp_path, ending), "--text-column", "question")
    _assert_one_line(imported, "has no column 'question'", "'id', 'text'")
    assert _stored(sameask) == []


def test_a_file_of_another_kind_is_refused(sameask: Sameask, tmp_path: Path) -> None:
    file = tmp_path / "questions.xlsx"
    file.write_bytes(b"PK")
    _assert_one_line(
        sameask("import", file), "questions.xlsx", ".csv, .tsv, .jsonl, .ndjson, .parquet"
    )


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"questions{ending}"
    file.write_text("id,text\na,One?\n")
    _assert_one_line(sameask("import", file), f"can't read {file}")


def test_a_file_that_is_not_there_is_named(sameask: Sameask, tmp_path: Path) -> None:
    imported = sameask("import", tmp_path / "nowhere.csv")
    assert imported.code == 2
    assert "nowhere.csv" in imported.err


@pytest.mark.parametrize(
    ("row", "line", "problem"),
    [
        (b"b", 3, "has 1 columns, the header has 2"),
        (b"b,Two?,Too?", 3, "has 3 columns, the header has 2"),
        (b'b,"Over\ntwo lines?"\nc,', 5, "text String should have at least 1 character"),
        (b"b,  ", 3, "text must not be blank"),
        (b",Two?", 3, "id String should have at least 1 character"),
        (b"..,Two?", 3, "id must not be blank, '.' or '..'"),
        (b"a,Two?", 3, "id stands on line 2 already"),
        (b"b,Two\xff?", 3, "text Input should be a valid string"),
        (b"b,Two\x00?", 3, "text must not contain a NUL character"),
        (
            b"b," + b"x" * 10_001,
            3,
            "text has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
        ),
        (b'b,"Two" too?', 3, "',' expected after '\"'"),
    ],
)
def test_a_broken_row_of_csv_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path, row: bytes, line: int, problem: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id,text\na,One?\n" + row + b"\nz,Last?\n")
    _assert_broken(sameask, file, f"{file}:{line}: {problem}")


@pytest.mark.parametrize(
    ("row", "line", "problem"),
    [
        (b'{"id": "b"', 2, "is not JSON"),
        (b"[" * 100_000, 2, "is not JSON"),
        (b'\n{"id": "b"}', 3, "is not an object with 'id' and 'text'"),
        (b'["b", "Two?"]', 2, "is not an object with 'id' and 'text'"),
        (b"7", 2, "is not an object with 'id' and 'text'"),
        (b'{"id": "b", "text": 2}', 2, "text Input should be a valid string"),
        (b'{"id": 2, "text": "Two?"}', 2, "id Input should be a valid string"),
        (b'{"id": "b", "text": null}', 2, "text Input should be a valid string"),
        (b'{"id": "b", "text": "\\ud800"}', 2, "text Input should be a valid string"),
        (b'{"id": "b", "text": "Two\xff?"}', 2, "text Input should be a valid string"),
        (b'{"id": "a", "text": "Two?"}', 2, "id stands on line 1 already"),
    ],
)
def test_a_broken_line_of_jsonl_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path, row: bytes, line: int, problem: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"id": "a", "text": "One?"}\n' + row + b'\n{"id": "z", "text": "Last?"}\n')
    _assert_broken(sameask, file, f"{file}:{line}: {problem}")


def test_a_broken_line_of_tsv_is_named_by_file_and_line_and_nothing_is_imported(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = tmp_path / "a.tsv"
    file.write_text(
        'id\ttext\na\t"One?\nb\tTwo?\tToo?\nc\tThree?\n'
    )  # a quotation mark means nothing here
    _assert_broken(sameask, file, f"{file}:3: has 3 columns, the header has 2")


def test_a_broken_row_of_a_parquet_file_is_named_by_its_number(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = _file(tmp_path, ".parquet", rows=[*ROWS, ("d", " ")])
    _assert_broken(sameask, file, f"{file}:4: text must not be blank")


def test_skip_bad_imports_the_good_rows(sameask: Sameask, tmp_path: Path) -> None:
    file = _file(
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
    assert _stored(sameask) == ROWS


def test_of_many_broken_rows_twenty_are_shown_and_all_are_counted(
    sameask: Sameask, tmp_path: Path
) -> None:
    refused = sameask("import", _file(tmp_path, rows=[(str(n), "") for n in range(1001)]))
    *shown, last = refused.err.splitlines()
    assert [line.split(": ")[0].rpartition(":")[2] for line in shown] == [
        str(n) for n in range(2, 22)
    ]
    assert "1,001 broken rows" in last


def test_an_import_into_an_unknown_collection_says_so(sameask: Sameask, tmp_path: Path) -> None:
    imported = sameask("import", _file(tmp_path), "--collection", "nowhere")
    assert imported.code == 1
    assert "sameask: Collection not found: there is no collection 'nowhere'" in imported.err
    assert "Traceback" not in imported.err


def test_an_import_of_more_than_one_request_is_whole(sameask: Sameask, tmp_path: Path) -> None:
    rows = [(f"{number:04}", f"What is {number} times two?") for number in range(1234)]
    assert (
        sameask("import", _file(tmp_path, rows=rows)).out == "1,234 added, 0 updated, 0 unchanged\n"
    )
    assert _stored(sameask) == rows  # more than one page, too


def test_texts_as_long_as_allowed_are_imported(sameask: Sameask, tmp_path: Path) -> None:
    rows = [
        (f"{number:03}", "🦊" * 9_990 + f"{number:03}") for number in range(110)
    ]  # 4.4 MB: more than a body may have
    assert (
        sameask("import", _file(tmp_path, rows=rows)).out == "110 added, 0 updated, 0 unchanged\n"
    )


def test_import_and_export_keep_within_the_limits_set(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_MAX_UPSERT", "2")
    monkeypatch.setenv("SAMEASK_MAX_PAGE", "2")
    assert sameask("import", _file(tmp_path)).out == "3 added, 0 updated, 0 unchanged\n"
    assert _stored(sameask) == ROWS


def test_an_import_goes_to_the_server_at_the_url(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    httpx.put(f"{url}/collections/support")
    arguments = ("import", _file(tmp_path), "-c", "support", "--url", url)
    assert sameask(*arguments).out == "3 added, 0 updated, 0 unchanged\n"
    assert sameask(*arguments).out == "0 added, 0 updated, 3 unchanged\n"
    assert _stored(sameask, "-c", "support", "--url", url) == ROWS
    assert httpx.get(f"{url}/collections/support").json()["questions"] == 3
    assert _stored(sameask) == []  # nothing in place


# export


def test_export_prints_csv_with_a_header(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", _file(tmp_path))
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
    sameask("import", _file(tmp_path, ".jsonl", ODD_ROWS))
    exported = sameask("export", *options)
    file = tmp_path / f"exported{ending}"
    file.write_bytes(exported.out.encode())
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "another"))
    assert sameask("import", file).out == f"{len(ODD_ROWS)} added, 0 updated, 0 unchanged\n"
    assert _stored(sameask) == sorted(ODD_ROWS)
    assert sameask("export", *options).out == exported.out


def test_an_empty_collection_exports_its_header_alone(sameask: Sameask) -> None:
    assert sameask("export").out == "id,text\r\n"
    assert sameask("export", "--json").out == ""


# find and pair


def test_find_as_json_is_the_answer_of_the_http_contract(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    asked = "Can I cancel an order?"
    sameask("import", _file(tmp_path), "--url", url)
    sameask("import", _file(tmp_path))
    answer = httpx.post(f"{url}/duplicates", json={"questions": [asked], "top_k": 2}).json()
    remote, in_place = (
        sameask("find", asked, "--top-k", 2, "--json", "--url", url),
        sameask("find", asked, "--top-k", 2, "--json"),
    )
    assert json.loads(remote.out) == answer
    assert json.loads(in_place.out) == answer
    assert answer["results"][0]["candidates"][0]["id"] == "a"


def test_pair_as_json_is_the_answer_of_the_http_contract(sameask: Sameask, url: str) -> None:
    pair = ("Can I cancel an order?", "Can I cancel my order?")
    body = {"pairs": [{"question1": pair[0], "question2": pair[1]}]}
    answer = httpx.post(f"{url}/pair-score", json=body).json()
    assert json.loads(sameask("pair", *pair, "--json", "--url", url).out) == answer
    assert json.loads(sameask("pair", *pair, "--json").out) == answer
    assert answer["scores"][0]["verdict"] == "duplicate"


def test_find_prints_a_table_of_candidates(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", _file(tmp_path))
    found = sameask("find", "CAN i cancel my order?")
    assert found.code == 0
    assert "verdict: duplicate" in found.out
    (line,) = [line for line in found.out.splitlines() if "Can I cancel" in line]
    assert line.strip("│ ").split() == [
        "duplicate",
        "│",
        "1.000",
        "│",
        "1.000",
        "│",
        "a",
        "│",
        *ROWS[0][1].split(),
    ]


@pytest.mark.parametrize(
    "text", ["Why does [/b] fail?", "What is [red]this[/red]?", "What means :smile: in a text?"]
)
def test_find_prints_a_text_as_it_stands(sameask: Sameask, tmp_path: Path, text: str) -> None:
    sameask("import", _file(tmp_path, rows=[("[id]", text)]))
    found = sameask("find", text)
    assert text in found.out
    assert "[id]" in found.out


def test_pair_prints_a_table(sameask: Sameask) -> None:
    shown = sameask("pair", "Same?", "same?")
    assert shown.code == 0
    assert [line.strip("│ ").split() for line in shown.out.splitlines() if "1.000" in line] == [
        ["duplicate", "│", "1.000", "│", "1.000"]
    ]


def test_a_problem_document_is_printed_in_its_words(sameask: Sameask) -> None:
    refused = sameask("find", "One?", "--top-k", 101)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.splitlines() == [
        "sameask: Invalid request: the request breaks a rule; nothing was done",
        "  top_k: is 101; at most 100 (SAMEASK_MAX_TOP_K)",
    ]


def test_an_unknown_collection_is_one_line(sameask: Sameask) -> None:
    _assert_one_line(sameask("find", "One?", "-c", "nowhere"), "there is no collection 'nowhere'")


# labels


LABELS = [
    ("Can I cancel my order?", "How do I cancel an order?", "1", "anna", "the same"),
    ("Can I cancel my order?", "Where is my order?", "0", "anna", ""),
    ('He said "why?"', "First\nsecond?", "0", "bob", "a, b"),
]
LABEL_HEADER = ("question1", "question2", "is_duplicate", "by", "note")


def _label_file(
    path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = LABEL_HEADER
) -> Path:
    WRITERS[path.suffix](path, cast(Any, header), cast(Any, rows))
    return path


def _labelled(sameask: Sameask, *options: object) -> list[tuple[str, ...]]:
    """What `labels export` prints of a collection, header aside."""
    exported = sameask("labels", "export", *options)
    assert exported.code == 0, exported.err
    header, *rows = csv.reader(io.StringIO(exported.out, newline=""))
    assert tuple(header) == LABEL_HEADER
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_labels_are_imported_and_importing_them_again_changes_nothing(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    rows = cast(list[tuple[str, ...]], LABELS[:2] if ending == ".tsv" else LABELS)
    file = _label_file(tmp_path / f"labels{ending}", rows)
    first, again = sameask("labels", "import", file), sameask("labels", "import", file)
    assert (first.code, first.out) == (0, f"{len(rows)} added, 0 replaced, 0 unchanged\n")
    assert (again.code, again.out) == (0, f"0 added, 0 replaced, {len(rows)} unchanged\n")
    assert _labelled(sameask) == rows
    changed = [(*rows[0][:2], "0", "anna", ""), *rows[1:]]
    assert (
        "1 replaced"
        in sameask("labels", "import", _label_file(tmp_path / f"changed{ending}", changed)).out
    )
    assert sorted(_labelled(sameask)) == sorted([(*rows[0][:2], "0", "anna", ""), *rows[1:]])


@pytest.mark.parametrize(("options", "ending"), [((), ".csv"), (("--json",), ".jsonl")])
def test_exported_labels_are_imported_again_as_they_were_and_training_reads_them(
    sameask: Sameask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    ending: str,
) -> None:
    sameask("labels", "import", _label_file(tmp_path / "labels.jsonl", cast(Any, LABELS)))
    exported = sameask("labels", "export", *options)
    file = tmp_path / f"exported{ending}"
    file.write_bytes(exported.out.encode())
    assert read_pairs(file) == [
        LabelledPair(one, other, said == "1") for one, other, said, *_ in LABELS
    ]
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "another"))
    assert sameask("labels", "import", file).out == "3 added, 0 replaced, 0 unchanged\n"
    assert sameask("labels", "export", *options).out == exported.out


def test_labels_of_a_file_without_names_are_those_of_the_one_who_imports_it(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    file = _label_file(
        tmp_path / "pairs.tsv", [("One?", "Two?", "1"), ("One?", "Three?", "0")], LABEL_HEADER[:3]
    )
    _assert_one_line(sameask("labels", "import", file), "has no column 'by'")
    httpx.put(f"{url}/collections/support")
    arguments = ("labels", "import", file, "--by", "carl", "-c", "support", "--url", url)
    assert sameask(*arguments).out == "2 added, 0 replaced, 0 unchanged\n"
    assert _labelled(sameask, "-c", "support", "--url", url) == [
        ("One?", "Two?", "1", "carl", ""),
        ("One?", "Three?", "0", "carl", ""),
    ]
    assert _labelled(sameask) == []  # nothing in place


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("One?,,1,anna,", "question2 String should have at least 1 character"),
        ("One?,Two?,2,anna,", "is_duplicate must be 0 or 1"),
        ("One?,Two?,1,,", "by String should have at least 1 character"),
        ("One?,Two?,1,anna", "has 4 columns, the header has 5"),
        ("One?, ONE? ,1,anna,", "is a pair of a question with itself"),
        ("first?,FIRST OTHER?,0,anna,", "says otherwise than line 2 of the same pair"),
        (
            f"One?,Two?,1,anna,{'x' * 10_001}",
            "note has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
        ),
    ],
)
def test_a_broken_row_of_labels_is_named_by_file_and_line(
    sameask: Sameask, tmp_path: Path, row: str, problem: str
) -> None:
    file = tmp_path / "labels.csv"
    header = ",".join(LABEL_HEADER)
    file.write_text(f"{header}\nfirst other?,First?,1,anna,\n{row}\nfirst?,first other?,0,bob,\n")
    refused = sameask("labels", "import", file)
    assert (refused.code, refused.err.splitlines()) == (
        1,
        [
            f"{file}:3: {problem}",
            f"sameask: 1 broken rows in {file}: nothing was imported; --skip-bad imports the others",
        ],
    )
    assert _labelled(sameask) == []
    assert sameask("labels", "import", file, "--skip-bad").out == (
        "2 added, 0 replaced, 0 unchanged, 1 broken rows skipped\n"
    )


def test_labels_of_more_than_one_request_and_page_are_whole(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_MAX_LABELS", "3")
    monkeypatch.setenv("SAMEASK_MAX_PAGE", "2")
    rows = cast(
        list[tuple[str, ...]], [(f"One {n}?", f"Other {n}?", "1", "anna", "") for n in range(10)]
    )
    assert sameask("labels", "import", _label_file(tmp_path / "a.csv", rows)).out.startswith(
        "10 added"
    )
    assert sorted(_labelled(sameask)) == rows


def test_find_and_pair_say_whose_word_the_verdict_is(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", _file(tmp_path))
    both = [("Who?", ROWS[0][1], "1", "anna", ""), ("Who?", ROWS[1][1], "0", "anna", "")]
    sameask("labels", "import", _label_file(tmp_path / "a.csv", cast(Any, both)))
    sameask("labels", "import", _label_file(tmp_path / "b.csv", [(*both[1][:2], "1", "[bob]", "")]))
    shown = sameask("find", "Who?").out
    (line,) = [line for line in shown.splitlines() if ROWS[0][1] in line]
    assert "duplicate, says anna" in line
    assert "review, people disagree" in shown
    assert "duplicate, says anna" in sameask("pair", ROWS[0][1], "who?").out


# keys


@dataclass(frozen=True)
class Made:
    """A key that the command made."""

    id: str
    key: str


def _make(sameask: Sameask, *options: str) -> Made:
    made = sameask("keys", "create", *options)
    assert made.code == 0, made.err
    assert re.fullmatch(r"sameask_[0-9a-f]{16}_[0-9a-f]{64}\n", made.out)
    key = made.out.strip()
    assert key not in made.err
    return Made(key.split("_")[1], key)


def _listed(sameask: Sameask) -> list[dict[str, Any]]:
    return list(json.loads(sameask("keys", "list", "--json").out))


def _status(url: str, key: str | None = None, path: str = "/collections") -> int:
    return httpx.get(
        url + path, headers={"Authorization": f"Bearer {key}"} if key else {}
    ).status_code


@pytest.fixture
def beside(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Address of a server whose data directory is the one that commands work on in place."""
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(settings.data_dir.with_name("served")))
    return url


def test_a_key_is_made_listed_and_revoked(sameask: Sameask) -> None:
    assert _listed(sameask) == []
    one = _make(sameask, "--scope", "read")
    two = _make(
        sameask, "--scope", "label", "--scope", "read", "--scope", "label", "--name", "Grüße [b]🦊"
    )
    listed = {key["id"]: key for key in _listed(sameask)}
    first, second = (
        listed[one.id],
        listed[two.id],
    )  # made in the same second, they stand in any order
    assert {**first, "created_at": ""} == {
        "id": one.id,
        "scopes": ["read"],
        "name": "",
        "created_at": "",
        "revoked_at": None,
    }
    assert (second["id"], second["scopes"], second["name"]) == (
        two.id,
        ["read", "label"],
        "Grüße [b]🦊",
    )
    revoked = sameask("keys", "revoke", one.id)
    assert (revoked.code, revoked.out.split(" at ")[0]) == (0, f"key {one.id} was revoked")
    assert {key["id"]: key["revoked_at"] is None for key in _listed(sameask)} == {
        one.id: False,
        two.id: True,
    }
    table = sameask("keys", "list").out
    assert all(word in table for word in (one.id, two.id, "Grüße [b]🦊", first["created_at"]))
    assert not any(made.key.rpartition("_")[2] in table for made in (one, two))


def test_keys_are_made_and_revoked_beside_a_server_which_heeds_it_at_once(
    sameask: Sameask, beside: str
) -> None:
    assert _status(beside) == 200
    made = _make(sameask, "--scope", "read")
    assert (_status(beside), _status(beside, made.key)) == (401, 200)
    other = _make(sameask, "--scope", "write")
    assert (_status(beside, other.key), _status(beside, made.key)) == (403, 200)
    assert sameask("keys", "revoke", made.id).code == 0
    assert (_status(beside, made.key), _status(beside, other.key), _status(beside)) == (
        401,
        403,
        401,
    )


@pytest.mark.parametrize("way", ["SAMEASK_KEY", "--key-file"])
def test_a_command_sends_its_key(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str, way: str
) -> None:
    made = _make(sameask, "--scope", "read", "--scope", "write", "--scope", "label")
    options: tuple[object, ...] = ("--url", beside)
    _assert_one_line(sameask("find", "One?", *options), "Key missing", "SAMEASK_KEY", "--key-file")
    if way == "SAMEASK_KEY":
        monkeypatch.setenv("SAMEASK_KEY", made.key)
    else:
        monkeypatch.setenv("SAMEASK_KEY", "another, which the file overrides")
        (tmp_path / "key").write_text(f"{made.key}\n")
        options += ("--key-file", tmp_path / "key")
    assert sameask("import", _file(tmp_path), *options).out == "3 added, 0 updated, 0 unchanged\n"
    assert _stored(sameask, *options) == ROWS
    assert sameask("pair", "One?", "one?", *options).code == 0
    labels = _label_file(tmp_path / "labels.csv", cast(Any, LABELS))
    assert sameask("labels", "import", labels, *options).out == "3 added, 0 replaced, 0 unchanged\n"
    assert _labelled(sameask, *options) == LABELS
    assert ROWS[0][1] in sameask("find", ROWS[0][1], *options).out
    assert sameask("keys", "revoke", made.id).code == 0
    refused = sameask("find", "One?", *options)
    _assert_one_line(refused, "Key refused: the key is unknown or revoked")
    assert made.key not in refused.err


def test_a_key_without_the_scope_is_one_line_that_names_it(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setenv("SAMEASK_KEY", _make(sameask, "--scope", "read").key)
    refused = sameask("import", _file(tmp_path), "--url", beside)
    assert refused.code == 1
    assert (
        refused.err.splitlines()[-1]
        == "sameask: Scope missing: this needs a key with the scope 'write'"
    )


def test_in_place_no_key_is_needed(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(sameask, "--scope", "read")
    monkeypatch.setenv("SAMEASK_HOST", "0.0.0.0")
    assert sameask("import", _file(tmp_path)).out == "3 added, 0 updated, 0 unchanged\n"


@pytest.mark.parametrize("secret", ["xyzzy\nxyzzy", "xyzzy xyzzy", "xyzzy é", "xyzzy\x7f"])
def test_what_can_not_be_a_key_is_not_sent_and_not_printed(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    (tmp_path / "key").write_text(secret, "utf-8")
    for options, place in (((), "SAMEASK_KEY"), (("--key-file", "key"), "what key holds")):
        monkeypatch.setenv("SAMEASK_KEY", secret)
        refused = sameask("find", "One?", "--url", "http://127.0.0.1:1", *options)
        _assert_one_line(refused, "is no key", place)
        assert "xyzzy" not in refused.err


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_key_file_that_holds_none_is_named(
    sameask: Sameask, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    _assert_one_line(
        sameask("find", "One?", "--url", "http://127.0.0.1:1", "--key-file", "key"), "key"
    )


def test_an_id_that_is_none_is_one_line(sameask: Sameask) -> None:
    made = _make(sameask, "--scope", "read")
    _assert_one_line(sameask("keys", "revoke", "0" * 16), f"there is no key with id '{'0' * 16}'")
    pasted = sameask("keys", "revoke", made.key)
    _assert_one_line(pasted, "an id is 16 characters")
    assert made.key not in pasted.err
    assert [key["revoked_at"] for key in _listed(sameask)] == [None]


@pytest.mark.parametrize(
    "options",
    [(), ("--scope", "everything"), ("--scope", "READ,WRITE"), ("--scope", "read", "--scope", "")],
)
def test_a_key_is_made_for_scopes_that_exist(sameask: Sameask, options: tuple[str, ...]) -> None:
    assert sameask("keys", "create", *options).code == 2
    assert _listed(sameask) == []


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\x1b[31mred", "\udcff"])
def test_a_name_that_can_not_be_shown_is_refused(sameask: Sameask, name: str) -> None:
    _assert_one_line(sameask("keys", "create", "--scope", "read", "--name", name), "--name", "100")
    assert _listed(sameask) == []


def _serve_refused(tmp_path: Path, **settings: str) -> Outcome:
    """How `sameask serve` ends, in a process of its own, over an empty data directory."""
    settings |= {"SAMEASK_DATA_DIR": str(tmp_path / "data"), "SAMEASK_PORT": str(_free_port())}
    ended = subprocess.run(
        [*COMMAND, "serve"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def test_serve_refuses_an_address_that_others_reach_until_there_is_a_key(tmp_path: Path) -> None:
    refused = _serve_refused(tmp_path, SAMEASK_HOST="0.0.0.0")
    _assert_one_line(
        refused, "'0.0.0.0'", "sameask keys create --scope admin", "SAMEASK_ADMIN_KEY_FILE"
    )


def test_serve_refuses_a_first_admin_key_that_is_too_short_and_does_not_print_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("xyzzy")
    refused = _serve_refused(tmp_path, SAMEASK_ADMIN_KEY_FILE=str(tmp_path / "secret"))
    _assert_one_line(refused, "SAMEASK_ADMIN_KEY_FILE", "32")
    assert "xyzzy" not in refused.err


# runs


def _shown(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))


def test_a_run_is_started_listed_shown_and_cancelled(sameask: Sameask, tmp_path: Path) -> None:
    _assert_one_line(sameask("runs", "start"), "Nothing to learn", "POST /labels")
    assert (
        sameask("labels", "import", _label_file(tmp_path / "labels.csv", cast(Any, LABELS))).code
        == 0
    )
    started = _shown(sameask("runs", "start", "--recipe", "calibration", "--json"))
    assert (started["state"], started["recipe"], started["target_precision"]) == (
        "queued",
        "calibration",
        "0.90",
    )
    _assert_one_line(
        sameask("runs", "start"), "Training is running", f"training run {started['id']} "
    )
    assert json.loads(sameask("runs", "list", "--json").out) == [started]
    assert "queued" in sameask("runs", "list").out
    assert _shown(sameask("runs", "show", started["id"], "--json")) == started
    cancelled = sameask("runs", "cancel", started["id"]).out
    assert "cancelled" in cancelled
    assert "calibration" in cancelled
    _assert_one_line(sameask("runs", "resume", started["id"]), "is cancelled: it can't be resumed")
    watched = sameask("runs", "watch", started["id"], "--json")
    assert (watched.code, json.loads(watched.out)["state"]) == (1, "cancelled")
    assert (
        watched.err.splitlines()[-1]
        == f"sameask: training run {started['id']} has ended: cancelled"
    )


def test_a_run_that_is_watched_says_how_far_it_is_until_it_is_over(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = {"phase": "training", "step": 1500, "steps": 9000, "loss": 0.25, "eta_seconds": 61.4}
    run = {
        "id": 3,
        "collection": "default",
        "recipe": "both",
        "cancelling": False,
        "release": None,
        "error": None,
    }
    gate = {"outcome": "not enough evidence", "reasons": ["40 more labels"]}
    answers = iter(
        [
            {**run, "state": "queued", "progress": None, "gate": None},
            {**run, "state": "running", "progress": progress, "gate": None},
            {**run, "state": "running", "progress": progress, "gate": None},
            {**run, "state": "succeeded", "progress": progress, "gate": gate},
        ]
    )

    async def answer(_: Request) -> Response:
        return JSONResponse(next(answers))

    monkeypatch.setattr(run_commands, "LOOK_SECONDS", 0.0)
    with served(Starlette(routes=[Route("/admin/training-runs/3", answer)])) as url:  # type: ignore[arg-type]
        watched = sameask("runs", "watch", 3, "--url", url)
    assert watched.code == 0
    assert watched.err.splitlines() == [
        "queued",
        "running  training 1,500/9,000, loss 0.250, 61 s left",
    ]
    assert "not enough evidence" in watched.out
    assert "40 more labels" in watched.out


# mine


def test_a_collection_and_a_file_are_mined_to_the_same_pairs(
    sameask: Sameask, tmp_path: Path
) -> None:
    texts = ["Can I cancel my order?", "Can I cancel  MY order?", "Who pays?", "Who may pay?"]
    file = _file(tmp_path, rows=list(zip("abcd", texts, strict=True)))
    labels = _label_file(tmp_path / "labels.csv", [(*texts[2:], "1", "anna", "")])
    assert sameask("import", file).code == 0
    assert sameask("labels", "import", labels).code == 0
    assert (
        "pairs in of_file.ndjson"
        in sameask("mine", file, "--out", "of_file.ndjson", "--similarity", 0.2).out
    )
    assert (
        sameask("mine", "-c", "default", "--out", "of_collection.ndjson", "--similarity", 0.2).code
        == 0
    )
    pairs = {
        name: {
            (p["id1"], p["id2"]): p
            for p in map(json.loads, (tmp_path / f"{name}.ndjson").read_text().splitlines())
        }
        for name in ("of_file", "of_collection")
    }
    assert pairs["of_file"].keys() == pairs["of_collection"].keys() >= {("a", "b"), ("c", "d")}
    assert {p["a", "b"]["verdict"] for p in pairs.values()} == {"duplicate"}
    assert pairs["of_collection"]["c", "d"]["verdict"] == "duplicate"  # a label says so


def test_mining_is_refused_for_what_it_can_not_do(sameask: Sameask, tmp_path: Path) -> None:
    _assert_one_line(sameask("mine", "--out", "pairs.ndjson"), "either a FILE or a --collection")
    assert (
        sameask("mine", "-c", "default", "--out", "pairs.ndjson").err.strip()
        == "sameask: there are no questions to mine"
    )
    assert (
        "there is no collection 'none'"
        in sameask("mine", "-c", "none", "--out", "pairs.ndjson").err
    )
    for bound in ("--similarity", "--probability"):
        _assert_one_line(
            sameask("mine", "-c", "default", "--out", "p.ndjson", bound, 1.5),
            f"{bound} must be above 0",
        )
    (tmp_path / "there.ndjson").write_text("precious")
    assert sameask("import", _file(tmp_path)).code == 0
    refused = sameask("mine", "-c", "default", "--out", "there.ndjson")
    assert (refused.code, "exists: --overwrite replaces it" in refused.err) == (1, True)
    assert (tmp_path / "there.ndjson").read_text() == "precious"


# releases


def test_a_release_is_made_live_and_taken_back(
    sameask: Sameask, settings: Settings, wide_release: Release
) -> None:
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    listed = json.loads(sameask("releases", "list", "--json").out)["releases"]
    assert [(one["name"], one["state"]) for one in listed] == [("tiny", "live"), ("wide", "ready")]
    assert sameask("releases", "shadow", "wide").out == "wide has caught up\n"
    assert sameask("releases", "activate", "wide", "--reason", "a test").out == "wide is live\n"
    assert json.loads(sameask("find", "Why?", "--json").out)["release"] == "wide"
    refused = sameask("releases", "remove", "wide")
    assert (refused.code, "Release is protected" in refused.err) == (1, True)
    assert sameask("releases", "rollback").out == "tiny is live\n"
    assert json.loads(sameask("find", "Why?", "--json").out)["release"] == "tiny"
    assert "Shadow not ready" in sameask("releases", "diff", "wide").err
    assert "there is no release 'none'" in sameask("releases", "activate", "none").err


# Servers that are not there, or not what they should be


@pytest.mark.parametrize(
    "command",
    [
        ("find", "One?"),
        ("pair", "One?", "Two?"),
        ("export",),
        ("import", "FILE"),
        ("labels", "export"),
    ],
)
def test_a_server_that_does_not_answer_is_one_line(
    sameask: Sameask, tmp_path: Path, command: tuple[str, ...]
) -> None:
    arguments = [str(_file(tmp_path)) if argument == "FILE" else argument for argument in command]
    ended = sameask(*arguments, "--url", f"http://127.0.0.1:{_free_port()}")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("sameask: no answer from the server: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_an_address_that_is_none_is_one_line(sameask: Sameask, address: str) -> None:
    _assert_one_line(sameask("find", "One?", "--url", address))


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_server_of_another_kind_is_one_line(sameask: Sameask, status: int) -> None:
    async def page(_: Request) -> Response:
        return HTMLResponse("<html>Hello</html>", status)

    with served(Starlette(routes=[Route("/duplicates", page, methods=["POST"])])) as url:  # type: ignore[arg-type]
        _assert_one_line(sameask("find", "One?", "--url", url))


def test_a_busy_server_is_asked_again(sameask: Sameask) -> None:
    asked: list[bytes] = []

    async def busy_once(request: Request) -> Response:
        asked.append(await request.body())
        if len(asked) == 1:
            return JSONResponse({}, 429, {"Retry-After": "0"})
        return JSONResponse({"release": "r", "scores": []})

    with served(Starlette(routes=[Route("/pair-score", busy_once, methods=["POST"])])) as url:  # type: ignore[arg-type]
        answered = sameask("pair", "One?", "Two?", "--json", "--url", url)
    assert (answered.code, json.loads(answered.out)) == (0, {"release": "r", "scores": []})
    assert asked == 2 * [
        b'{"pairs":[{"question1":"One?","question2":"Two?"}],"collection":"default"}'
    ]


# What keeps a command from starting


def test_a_data_directory_in_use_is_one_line_that_names_url(
    sameask: Sameask, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(server.data_dir))
    _assert_one_line(
        sameask("find", "One?"), str(server.data_dir), "in use by another process", "--url"
    )


def test_a_port_in_use_is_one_line(server: Server, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SAMEASK_PORT": server.url.rpartition(":")[2],
        "SAMEASK_DATA_DIR": str(tmp_path / "data"),
    }
    command = [*COMMAND, "serve"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    _assert_one_line(
        Outcome(ended.returncode, ended.stdout, ended.stderr),
        "127.0.0.1:",
        "SAMEASK_PORT",
        "in use",
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("place", ["a-file", "a-file/data"])
def test_a_data_directory_that_can_not_be_made_is_one_line(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "a-file").write_text("in its place")
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / place))
    _assert_one_line(sameask("find", "One?"), f"can't use the data directory {tmp_path / place}")


def test_a_database_that_is_none_is_one_line(sameask: Sameask, settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "sameask.db").write_bytes(b"This is no database. " * 100)
    _assert_one_line(sameask("find", "One?"), str(settings.data_dir / "sameask.db"))


def test_a_release_that_is_not_there_is_one_line(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_RELEASE", str(tmp_path / "nowhere"))
    _assert_one_line(
        sameask("find", "One?"), str(tmp_path / "nowhere" / "manifest.json"), "No such file"
    )


def test_a_damaged_release_is_one_line_that_names_the_file(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_release: Release
) -> None:
    damaged = shutil.copytree(tiny_release.path, tmp_path / "damaged")
    (damaged / "calibration.json").write_text('{"weight": 1.0, "bias": 0.0}')
    monkeypatch.setenv("SAMEASK_RELEASE", str(damaged))
    _assert_one_line(sameask("find", "One?"), str(damaged / "calibration.json"), "sha256")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAMEASK_PORT", "http"),
        ("SAMEASK_PORT", "65536"),
        ("SAMEASK_DEVICE", "tpu"),
        ("SAMEASK_TARGET_PRECISION", "0.5"),
        ("SAMEASK_MAX_TOP_K", "0"),
        ("SAMEASK_MAX_BODY_BYTES", "many"),
        ("SAMEASK_MAX_WAITING_TEXTS", "3"),  # fewer than one request may have
    ],
)
def test_an_invalid_setting_is_one_line_that_names_it(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    _assert_one_line(sameask("find", "One?"), f"{name}: ")


def test_several_invalid_settings_are_named_at_once(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_PORT", "0")
    monkeypatch.setenv("SAMEASK_DEVICE", "tpu")
    _assert_one_line(sameask("find", "One?"), "SAMEASK_PORT: ", "SAMEASK_DEVICE: ")


# serve


def test_serve_says_where_it_answers_and_writes_no_text(server: Server) -> None:
    asked = "What does xyzzy mean?"
    for body in (
        {"questions": [asked]},
        {"questions": [asked], "top_k": 0},
        {"questions": [asked * 1000]},
    ):
        httpx.post(f"{server.url}/duplicates", json=body)
    log = server.log.read_text()
    assert f"Sameask answers at {server.url} (documentation: {server.url}/docs)\n" in log
    assert (
        "WARNING: app.keys: no key was ever made: whoever reaches 127.0.0.1, from this machine, may do"
        in log
    )
    assert "xyzzy" not in log


def test_sigterm_ends_serve_with_0_and_leaves_its_data_closed(
    sameask: Sameask, tmp_path: Path, tiny_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _serving(tmp_path, tiny_release) as server:
        sameask("import", _file(tmp_path), "--url", server.url)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in server.log.read_text()
    assert sorted(path.name for path in server.data_dir.glob("sameask.db*")) == [
        "sameask.db"
    ]  # no log left to fold in
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(server.data_dir))
    assert _stored(sameask) == ROWS


def test_answers_are_not_held_back_by_nagles_algorithm(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def no_delay() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(
                writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            )
            writer.close()

        listening = commands._listen(settings.model_copy(update={"port": port}))
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return await accepted

    assert asyncio.run(no_delay())
