"""What commands print where the text, the terminal or the file is hostile."""

import csv
import io
import json
import os
import pty
import subprocess
from pathlib import Path
from typing import IO

import httpx
import pytest

from app.cli.terminal import as_json, visible
from tests.cli.commands import COMMAND, ROOT, Sameask, assert_one_line, question_file, stored
from tests.serving import PATIENCE_SECONDS, free_port

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


def _store(url: str, text: str) -> None:
    questions = [{"id": "a", "text": text}]
    assert httpx.post(f"{url}/questions", json={"questions": questions}).status_code == 200


def test_a_stored_text_does_not_steer_the_terminal(sameask: Sameask, url: str) -> None:
    _store(url, TITLE)
    found = sameask("find", TITLE, "--url", url)
    assert SHOWN in found.out
    assert "\x1b" not in found.out
    assert "\x9b" not in sameask("find", TITLE, "--json", "--url", url).out


def test_export_gives_texts_as_they_are_to_files_and_steers_no_terminal(
    sameask: Sameask, url: str
) -> None:
    _store(url, TITLE)
    exported = sameask("export", "--url", url).out
    assert list(csv.reader(io.StringIO(exported, newline="")))[1] == ["a", TITLE]
    assert stored(sameask, "--url", url) == [("a", TITLE)]
    code, shown = _on_a_terminal("export", "--url", url)
    assert (code, SHOWN in shown, "\x1b]0;" in shown) == (0, True, False)


def test_a_terminal_that_lacks_a_character_gets_an_escape(url: str) -> None:
    _store(url, "日本 ümläut?")
    code, shown = _on_a_terminal(
        "find", "日本 ümläut?", "--url", url, PYTHONIOENCODING="latin-1", ENCODING="latin-1"
    )
    assert (code, "Traceback" in shown) == (0, False)
    assert "\\u65e5\\u672c ümläut?" in shown


def _into(output: IO[bytes], *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code of a command that prints into a file, and what it says beside that."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_a_file_is_utf_8_whatever_the_locale(url: str, tmp_path: Path) -> None:
    _store(url, "日本 ümläut?")
    file = tmp_path / "exported.csv"
    with file.open("wb") as output:
        assert _into(output, "export", "--url", url, PYTHONIOENCODING="latin-1") == (0, "")
    assert file.read_bytes().decode("utf-8") == "id,text\r\na,日本 ümläut?\r\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_can_not_be_written_is_one_line(url: str) -> None:
    with Path("/dev/full").open("wb") as full:
        ending = _into(full, "export", "--url", url)
    assert ending == (1, "sameask: No space left on device\n")


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
    refused = sameask(*arguments, "--url", f"http://127.0.0.1:{free_port()}")
    assert_one_line(refused, "not text in UTF-8", r"\udce9")


@pytest.mark.parametrize(
    ("out_file", "words"), [("a-file/pairs.ndjson", "is no folder"), (".", "it is a folder")]
)
def test_a_file_of_pairs_that_can_not_be_written_is_one_line(
    sameask: Sameask, tmp_path: Path, out_file: str, words: str
) -> None:
    (tmp_path / "a-file").write_text("in its place")
    mined = sameask("mine", question_file(tmp_path), "--out", tmp_path / out_file)
    assert_one_line(mined, f"can't write {tmp_path / out_file}", words)
