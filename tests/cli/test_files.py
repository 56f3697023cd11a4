"""Files as people have them, through the command: every kind, every fault, and what docs/files.md shows."""

import codecs
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.cli.commands import COMMAND, ROOT, Sameask, assert_one_line, stored
from tests.peoples_files import BROKEN, CSV, FILES, QUESTIONS, REFUSED
from tests.serving import served

PAGE = ROOT / "docs" / "files.md"


def saved(folder: Path, content: bytes, name: str = "questions") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """What comes to commands."""
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    return stream


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Iterator[str]:
    """Address of a server for all of these tests: each has a collection of its own there."""
    folder = tmp_path_factory.mktemp("files")
    settings = Settings(data_dir=folder / "data", release=tiny_release.path, device="cpu")
    with served(create_app(settings)) as url:
        yield url


@pytest.fixture
def there(service: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options for a new collection on that server."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    return "--collection", name, "--url", service


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_is_imported(
    sameask: Sameask, tmp_path: Path, there: tuple[str, ...], kind: str
) -> None:
    imported = sameask("import", saved(tmp_path, FILES[kind]), "--create", *there)
    assert (imported.code, imported.out) == (0, "3 added, 0 updated, 0 unchanged\n")
    assert stored(sameask, *there) == QUESTIONS


def test_a_guess_of_the_encoding_is_told(
    sameask: Sameask, tmp_path: Path, there: tuple[str, ...]
) -> None:
    file = saved(tmp_path, FILES["semicolon, cp1252, Windows"])
    guessed = sameask("import", file, "--create", *there)
    assert (
        guessed.err.splitlines()[0]
        == f"{file} is no UTF-8, and read as cp1252; --encoding names another"
    )
    assert "cp1252" not in sameask("import", file, "--encoding", "cp1252", *there).err


@pytest.mark.parametrize("fault", REFUSED)
def test_a_file_of_which_nothing_can_be_read_is_one_line(
    sameask: Sameask, tmp_path: Path, fault: str
) -> None:
    content, words = REFUSED[fault]
    file = saved(tmp_path, content)
    assert_one_line(sameask("import", file), words, str(file))


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_rows_are_named_and_written_and_the_others_imported(
    sameask: Sameask, tmp_path: Path, there: tuple[str, ...], fault: str
) -> None:
    content, problems, good = BROKEN[fault]
    file, rejected = saved(tmp_path, content), tmp_path / "rejected.csv"
    refused = sameask("import", file, "--rejected", rejected)
    assert refused.code == 1
    shown = [line.removeprefix(f"{file}:") for line in refused.err.splitlines()[:-1]]
    starts = [f"{line}: {problem}" for line, problem in problems]
    assert [line[: len(start)] for line, start in zip(shown, starts, strict=True)] == starts
    assert rejected.read_bytes().startswith(codecs.BOM_UTF8)
    header, *rows = csv.reader(io.StringIO(rejected.read_text("utf-8-sig"), newline=""))
    assert header == ["line", "why", "id", "text", "row"]
    assert [int(row[0]) for row in rows] == [line for line, _ in problems]
    skipped = sameask("import", file, "--skip-bad", "--create", *there)
    assert f"{len(problems)} broken row" in skipped.out
    assert [id_ for id_, _ in stored(sameask, *there)] == good


def test_rejected_rows_are_whole(sameask: Sameask, tmp_path: Path) -> None:
    content, _, _ = BROKEN["a quote that is not doubled"]
    rejected = tmp_path / "rejected.csv"
    refused = sameask("import", saved(tmp_path, content), "--rejected", rejected)
    assert refused.err.splitlines()[-1].startswith("sameask: 1 broken row (3 lines) in ")
    *_, row = csv.reader(io.StringIO(rejected.read_text("utf-8-sig"), newline=""))
    assert row[-1] == '1,"He said \\"hi\\" to me\nhello,why did he?\nbye"\n'


def test_rejected_rows_hold_no_unicode_as_escapes(sameask: Sameask, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.csv"
    content = "id,text\n1,Où?\n2,O".encode() + b"\xf9?\n3,Three?\n"
    file = saved(tmp_path, content)
    imported = sameask("import", file, "--skip-bad", "--rejected", rejected)
    assert (imported.code, imported.out.splitlines()[-1]) == (
        0,
        "2 added, 0 updated, 0 unchanged, 1 broken row skipped",
    )
    assert rejected.read_text("utf-8-sig").splitlines() == [
        "line,why,id,text,row",
        "3,text must be a text of whole Unicode characters,2,O\\udcf9?,",
    ]


@pytest.mark.parametrize("command", [("import",), ("labels", "import")])
@pytest.mark.parametrize("name", ["questions", "link", "./questions"])
def test_rejected_rows_never_take_the_place_of_the_file_that_is_read(
    sameask: Sameask, tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    file = saved(tmp_path, CSV.encode())
    (tmp_path / "link").symlink_to(file)
    assert_one_line(sameask(*command, file, "--rejected", name), "--rejected", "is the file")
    assert file.read_bytes() == CSV.encode()


def test_rejected_rows_never_take_the_place_of_standard_input(tmp_path: Path) -> None:
    file = saved(tmp_path, CSV.encode())
    command = [*COMMAND, "import", "-", "--rejected", str(file)]
    with file.open("rb") as read:
        refused = subprocess.run(command, stdin=read, cwd=tmp_path, capture_output=True)
    assert refused.returncode == 1
    assert file.read_bytes() == CSV.encode()


def test_a_file_that_cannot_be_read_leaves_the_rejected_rows_of_an_earlier_one(
    sameask: Sameask, tmp_path: Path
) -> None:
    file, rejected = saved(tmp_path, b"other,columns\n1,2\n"), saved(tmp_path, b"old", "rejected")
    assert sameask("import", file, "--rejected", rejected).code == 1
    assert rejected.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} >= {"questions", "rejected"}
    assert not list(tmp_path.glob(".*"))


def test_rejected_rows_go_through_a_link_and_to_what_is_no_file(
    sameask: Sameask, tmp_path: Path
) -> None:
    file, rejected = saved(tmp_path, b"id,text\n1,\n"), saved(tmp_path, b"old", "rejected")
    (tmp_path / "link").symlink_to(rejected)
    sameask("import", file, "--rejected", "link")
    assert (tmp_path / "link").is_symlink()
    assert b"why" in rejected.read_bytes()
    assert sameask("import", file, "--rejected", "/dev/null").err.count("\n") == 2


def test_rejected_rows_and_what_is_told_go_into_the_file_that_takes_the_output(
    tmp_path: Path,
) -> None:
    file = saved(tmp_path, b"id,text\n1,\n2,Where is it?\n")
    out = tmp_path / "out"
    with out.open("wb") as output:
        command = [*COMMAND, "import", str(file), "--rejected", "/dev/stdout"]
        before = os.fstat(output.fileno()).st_ino
        subprocess.run(command, stdout=output, cwd=tmp_path, check=False)
    assert b"why" in out.read_bytes()
    assert out.stat().st_ino == before


def test_every_row_that_a_quote_takes_is_told(sameask: Sameask, tmp_path: Path) -> None:
    lines = "".join(f"{number},Question {number}?\n" for number in range(2, 20_001))
    file = saved(tmp_path, f'id,text\n1,"One?\n{lines}'.encode())
    refused = sameask("import", file)
    assert (
        f"{file}:2: has a quote, opened on line 2, that is never closed: it takes 20,000"
        in refused.err
    )
    assert "1 broken row (20,000 lines)" in refused.err


def test_an_import_says_what_may_surprise_later(sameask: Sameask, tmp_path: Path) -> None:
    rows = [
        ("a", "Why?"),
        ("b", "why\u200b?"),
        ("c", " Why? "),
        ("d", "long " * 600),
        ("e", "🦊 ?"),
    ]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in rows))
    said = sameask("import", file).err.splitlines()
    assert said[-3:-1] == [
        f"1 texts stand in {file} before",
        "1 texts are longer than the model reads, and cut",
    ]
    assert re.fullmatch(r"\d\.\d\d% of the tokens are unknown to the model", said[-1])


def test_standard_input_is_a_file(sameask: Sameask, standard_input: io.BytesIO) -> None:
    standard_input.write(FILES["gzip"])
    standard_input.seek(0)
    assert sameask("import", "-").out == "3 added, 0 updated, 0 unchanged\n"
    assert stored(sameask) == QUESTIONS


def test_standard_input_is_named_in_messages(sameask: Sameask, standard_input: io.BytesIO) -> None:
    standard_input.write(b"id,text\n1,\n")
    standard_input.seek(0)
    assert "standard input:2: text must not be empty" in sameask("import", "-").err


def test_a_pipe_is_read_as_a_file_is(sameask: Sameask, tmp_path: Path) -> None:
    with subprocess.Popen(
        ["/bin/cat", saved(tmp_path, CSV.encode())], stdout=subprocess.PIPE
    ) as cat:
        assert cat.stdout
        pipe = f"/dev/fd/{cat.stdout.fileno()}"
        assert sameask("import", pipe).out == "3 added, 0 updated, 0 unchanged\n"


def test_delimiter_and_encoding_can_be_given(sameask: Sameask, tmp_path: Path) -> None:
    file = saved(tmp_path, "id^text\n1^Где, моя; посылка?\n".encode("koi8-r"))
    arguments = ("import", file, "--delimiter", "^", "--encoding", "koi8-r")
    assert sameask(*arguments).out == "1 added, 0 updated, 0 unchanged\n"
    assert stored(sameask) == [("1", "Где, моя; посылка?")]
    tabs = saved(tmp_path, b"id;a\ttext\n1\t1?\n")
    named = ("--delimiter", "tab", "--id-column", "id;a")
    assert sameask("import", tabs, *named).out == "0 added, 1 updated, 0 unchanged\n"
    assert_one_line(
        sameask("import", tabs, "--delimiter", "::"), "--delimiter must be one character"
    )
    assert_one_line(
        sameask("import", tabs, "--encoding", "latin17"), "'latin17', which is no encoding"
    )


def test_a_column_that_is_not_there_is_told_with_the_options(
    sameask: Sameask, tmp_path: Path
) -> None:
    refused = sameask("import", saved(tmp_path, b"number,title\n1,One?\n"))
    assert_one_line(refused, "has no column 'id'", "--id-column and --text-column name others")


def test_labels_and_mining_read_the_same_files(sameask: Sameask, tmp_path: Path) -> None:
    labels = "question1;question2;is_duplicate;by\nWo ist die Tür?;Où?;0;anna\n"
    file = saved(tmp_path, labels.encode("cp1252"), "labels")
    assert sameask("labels", "import", file).out == "1 added, 0 replaced, 0 unchanged\n"
    pairs = tmp_path / "pairs.ndjson"
    file = saved(tmp_path, b'[{"id": 1, "text": "Why?"}, {"id": 2, "text": "why ?"}]')
    assert sameask("mine", file, "-o", pairs, "--similarity", "0.5").code == 0
    (line,) = pairs.read_text().splitlines()
    assert json.loads(line)["id1"] in ("1", ["1"]) or "1" in json.loads(line)["ids1"]


# docs/files.md and the pages that it leads to

RECIPES = [PAGE.parent / "how-to" / name for name in ("github-issues.md", "forum.md")]
ISSUES = [
    {"number": 7, "title": "It doesn't start", "url": "https://github.example/a/b/issues/7"},
    {"number": 8, "title": "How do I start it?", "url": "https://github.example/a/b/issues/8"},
]
REST = [{**issue, "user": {"login": "x"}, "labels": [{"name": "bug"}]} for issue in ISSUES]
TOPICS = 'id,title\n12,How do I start it?\n13,"It doesn\'t, why?"\n'


@pytest.mark.parametrize("issues", [ISSUES, REST])
def test_the_recipes_of_the_pages_work(
    sameask: Sameask, tmp_path: Path, url: str, issues: list[dict[str, object]]
) -> None:
    (tmp_path / "issues.json").write_text(json.dumps(issues))
    (tmp_path / "topics.csv").write_text(TOPICS)
    pages = "".join(page.read_text("utf-8") for page in RECIPES)
    commands = re.findall(r"^sameask (import .*) --url \$URL$", pages, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        imported = sameask(*command.split(), "--url", url)
        assert (imported.code, imported.out) == (0, "2 added, 0 updated, 0 unchanged\n")
    assert stored(sameask, "-c", "issues", "--url", url) == [
        ("7", "It doesn't start"),
        ("8", "How do I start it?"),
    ]
    assert stored(sameask, "-c", "forum", "--url", url) == [
        ("12", "How do I start it?"),
        ("13", "It doesn't, why?"),
    ]
    again = sameask(*commands[0].split(), "--url", url)
    assert again.out == "0 added, 0 updated, 2 unchanged\n"


def test_the_page_shows_a_message_as_it_is(sameask: Sameask, tmp_path: Path) -> None:
    content, _, _ = BROKEN["a quote that is not doubled"]
    saved(tmp_path, content, "questions.csv")
    assert sameask("import", "questions.csv").err.splitlines()[0] in PAGE.read_text("utf-8")
