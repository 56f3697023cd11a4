"""What commands print where the text, the terminal or the file is hostile."""

import csv
import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from app.cli.terminal import as_json, visible
from tests.cli.commands import COMMAND, ROOT, Sameask, assert_one_line, question_file, stored
from tests.serving import PATIENCE_SECONDS

TITLE = "Do I own \x1b]0;title\x07 this \x9b31mterminal?"
SHOWN = "Do I own \\x1b]0;title\\x07 this \\x9b31mterminal?"
TURNED = "Who is \u202eadmin\u202c?"


def _on_a_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a command on a terminal of its own, and what the terminal gets."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end has closed
            break
        if not part:
            break
        received += part
    os.close(ours)
    return process.wait(PATIENCE_SECONDS), received.decode(environment.get("ENCODING", "utf-8"))


def test_characters_that_steer_a_terminal_are_shown_as_escapes() -> None:
    assert visible(TITLE) == SHOWN
    assert visible(TURNED) == "Who is \\u202eadmin\\u202c?"
    assert visible("One\nline\tand ümläuts 日本 🦊") == "One\nline\tand ümläuts 日本 🦊"
    assert json.loads(as_json([TITLE, TURNED])) == [TITLE, TURNED]
    assert "\x9b" not in as_json([TITLE])
    assert "\u202e" not in as_json([TURNED])


def test_a_stored_text_does_not_steer_the_terminal(sameask: Sameask, tmp_path: Path) -> None:
    file = question_file(tmp_path, ".jsonl", rows=[("a", TITLE)])
    assert sameask("import", file).code == 0
    found = sameask("find", TITLE)
    assert SHOWN in found.out
    assert "\x1b" not in found.out
    assert "\x9b" not in sameask("find", TITLE, "--json").out


def test_export_gives_texts_as_they_are_to_files_and_steers_no_terminal(
    sameask: Sameask, tmp_path: Path
) -> None:
    sameask("import", question_file(tmp_path, ".jsonl", rows=[("a", TITLE)]))
    exported = sameask("export").out
    assert list(csv.reader(io.StringIO(exported, newline="")))[1] == ["a", TITLE]
    assert stored(sameask) == [("a", TITLE)]
    code, shown = _on_a_terminal("export")
    assert (code, SHOWN in shown, "\x1b]0;" in shown) == (0, True, False)


def test_a_terminal_that_lacks_a_character_gets_an_escape(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path, rows=[("a", "日本 ümläut?")]))
    code, shown = _on_a_terminal(
        "find", "日本 ümläut?", PYTHONIOENCODING="latin-1", ENCODING="latin-1"
    )
    assert (code, "Traceback" in shown) == (0, False)
    assert "\\u65e5\\u672c ümläut?" in shown


def test_a_file_is_utf_8_whatever_the_locale(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path, rows=[("a", "日本 ümläut?")]))
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [*COMMAND, "export"]
    exported = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE_SECONDS
    )
    assert exported.stdout.decode("utf-8") == "id,text\r\na,日本 ümläut?\r\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("find", "Caf\udce9?"),
        ("pair", "One?", "Caf\udce9?"),
        ("export", "-c", "caf\udce9"),
        ("releases", "activate", "caf\udce9"),
    ],
)
def test_an_argument_that_is_not_utf_8_is_named(
    sameask: Sameask, arguments: tuple[str, ...]
) -> None:
    refused = sameask(*arguments)
    assert_one_line(refused, "not text in UTF-8", r"\udce9")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_can_not_be_written_is_one_line(sameask: Sameask) -> None:
    assert sameask("export").code == 0
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*COMMAND, "export"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "sameask: No space left on device"
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize(
    ("out_file", "words"), [("a-file/pairs.ndjson", "is no folder"), (".", "it is a folder")]
)
def test_a_file_of_pairs_that_can_not_be_written_is_one_line(
    sameask: Sameask, tmp_path: Path, out_file: str, words: str
) -> None:
    (tmp_path / "a-file").write_text("in its place")
    mined = sameask("mine", question_file(tmp_path), "--out", tmp_path / out_file)
    assert_one_line(mined, f"can't write {tmp_path / out_file}", words)
