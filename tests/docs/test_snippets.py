"""The blocks of the documentation, run in their order against a real server over a folder of their own."""

import contextlib
import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.engine.release import Release
from app.engine.rows import read_rows
from app.main import create_app
from app.settings import Settings
from tests.docs.blocks import PROGRAMS, ROOT, Block, blocks, is_run, pages
from tests.serving import served

# Pages whose blocks another test runs, because it compares more of what they print.
CLIENT = "tests/client/test_docs.py"
WEBHOOK = "tests/webhook/test_webhook.py"
ELSEWHERE = {
    "docs/client.md": f"{CLIENT}::test_the_page_s_blocks_run_in_their_order",
    "sameask-client/README.md": f"{CLIENT}::test_the_readme_s_lines_work_against_the_demo",
    "docs/webhook.md": f"{WEBHOOK}::test_the_documented_receiver_takes_what_is_sent_and_nothing_else",
}
PROCESS = re.compile(r"(?:^|[\s/|$(])sameask [a-z]|^python ", re.MULTILINE)  # each starts one
TUTORIAL = "docs/tutorial.md"  # a newcomer's walk, in every test run
PLACES = ("examples", "releases", "app", "constraints.txt", "docs")
ISSUES = (
    '[{"number": 7, "title": "App crashes when I turn my phone", "url": "https://x.example/7"},\n'
    ' {"number": 12, "title": "App crashes when I rotate the screen", "url": "https://x.example/12"}]'
)
PREAMBLE = """set -euo pipefail
[ ! -e .state ] || . ./.state
set -o allexport
curl() { command curl --fail-with-body --max-time 60 "$@"; }
"""
SECOND = "minilm-questions"
LABELLED = {"docs/retraining.md"}  # pages that need a label to begin with
LABEL = {"questions": ["One?", "Two?"], "is_duplicate": True, "by": "anna"}


@dataclass(frozen=True)
class Desk:
    """A server with the example questions, and a folder that looks like a clone of the repository."""

    url: str
    folder: Path

    def run(self, block: Block) -> str:
        """What a block prints. Fails with it where the block fails."""
        host = self.url.removeprefix("http://")
        text = re.sub(r"(?:127\.0\.0\.1|localhost):8000", host, block.text)
        return (
            self._run_python(text) if block.language == "python" else self._run_shell(block, text)
        )

    def _run_python(self, text: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(text, {"url": self.url})
        return printed.getvalue()

    def _run_shell(self, block: Block, text: str) -> str:
        """Variables stay for the blocks behind it."""
        script = f"{PREAMBLE}{text}\nexport -p > .state\n"
        path = f"{self.folder / '.venv' / 'bin'}:{os.environ['PATH']}"
        kept = {
            name: value for name, value in os.environ.items() if name != "SAMEASK_ALLOWED_HOSTS"
        }
        environment = kept | {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}:\n{done.stdout}"
        return done.stdout


@pytest.fixture
def desk(page: Path, tmp_path: Path, tiny_release: Release) -> Iterator[Desk]:
    """The demo: a server whose data directory is `demo-data`, with a second release in it.

    Pages that start processes have the release that ships, others a tiny one.
    """
    for name in PLACES:
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").touch()
    _write_program(programs / "sameask", '-c "from app.cli.main import main; main()"')
    _write_program(programs / "python", "")
    _write_program(programs / "python3", "")
    gh = programs / "gh"
    gh.write_text(f"#!/bin/sh\ncat <<'EOF'\n{ISSUES}\nEOF\n", "utf-8")
    gh.chmod(0o755)
    data_dir = tmp_path / "demo-data"
    data_dir.mkdir(mode=0o700)
    shutil.copytree(ROOT / "releases" / SECOND, data_dir / "releases" / SECOND)
    settings = Settings(
        data_dir=data_dir,
        release=ROOT / Settings().release if _starts_processes(page) else tiny_release.path,
        device="cpu",
        training_worker=False,
        diff_questions=20,
    )
    with served(create_app(settings)) as url:
        rows = read_rows(ROOT / "examples" / "questions.csv", ("id", "text"))
        body = {"questions": [{"id": row.values[0], "text": row.values[1]} for row in rows]}
        httpx.post(f"{url}/questions", json=body, timeout=300).raise_for_status()
        yield Desk(url, tmp_path)


def _write_program(path: Path, arguments: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore {arguments} "$@"\n', "utf-8")
    path.chmod(0o755)


def _runs() -> Iterator[object]:
    """Each page with blocks to run; most that start a process for each command are slow."""
    for page in pages():
        name = str(page.relative_to(ROOT))
        if any(map(is_run, blocks(page))) and name not in ELSEWHERE:
            marks = [pytest.mark.slow] if _starts_processes(page) and name != TUTORIAL else []
            yield pytest.param(page, id=name, marks=marks)


def _starts_processes(page: Path) -> bool:
    shell = [block for block in blocks(page) if block.language == "sh" and not block.why]
    return any(PROCESS.search(block.text) for block in shell)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", list(_runs()))
def test_the_blocks_of_a_page_run_and_print_what_it_shows(page: Path, desk: Desk) -> None:
    printed: str | None = None
    if str(page.relative_to(ROOT)) in LABELLED:
        httpx.post(f"{desk.url}/labels", json={"labels": [LABEL]}).raise_for_status()
    for block in blocks(page):
        if block.language in PROGRAMS:
            printed = None if block.why else desk.run(block)
        elif block.language == "text" and printed is not None:
            missing = [
                line for line in block.text.splitlines() if _alike(line) not in _alike(printed)
            ]
            assert missing == [], f"{block}, of what was printed:\n{printed}"


def _alike(printed: str) -> str:
    """What is printed, but for figures, which differ between processors, and for the widths of a table's columns."""
    without_figures = re.sub(r"\d\.\d{3}\b", "0.000", printed)
    plain_edges = without_figures.replace("┃", "│")
    return re.sub(r"([ ━─])\1+", r"\1", plain_edges)


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_test_that_runs_a_page_elsewhere_exists(page: str) -> None:
    file, name = ELSEWHERE[page].split("::")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert inspect.isfunction(getattr(module, name))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", ELSEWHERE)
def test_what_is_run_elsewhere_is(page: str) -> None:
    """The test that is named fails for each block that is broken."""
    broken = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.docs.breaking",
            "-q",
            "-rf",
            "--tb=no",
            ELSEWHERE[page],
        ],
        cwd=ROOT,
        env=os.environ | {"BROKEN_PAGE": page, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    failed = [line for line in broken.stdout.splitlines() if line.startswith("FAILED ")]
    seen = {
        re.search(r"\[(.+)\] - AssertionError: a broken block was run", line) for line in failed
    }
    wanted = {str(block) for block in blocks(ROOT / page) if is_run(block)}
    assert {found and found[1] for found in seen} == wanted, broken.stdout + broken.stderr
    assert " passed" not in broken.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_a_block_that_fails_would_be_seen(tmp_path: Path) -> None:
    desk = Desk("http://127.0.0.1:9", tmp_path)
    with pytest.raises(AssertionError, match="no such place"):
        desk.run(Block("page", 1, "sh", "echo no such place; false | cat\necho on", None))


def test_variables_stay_for_later_blocks(tmp_path: Path) -> None:
    desk = Desk("http://127.0.0.1:9", tmp_path)
    desk.run(Block("page", 1, "sh", "A='one two'\n", None))
    assert desk.run(Block("page", 2, "sh", 'echo "$A"', None)) == "one two\n"


def test_figures_and_widths_of_columns_may_differ_and_words_may_not() -> None:
    printed = _alike(
        "┃ verdict   ┃ probability ┃\n│ review    │ 0.279       │ How do I change it?  │"
    )
    assert _alike("│ review │ 0.301 │ How do I change it?") in printed
    assert _alike("│ review │ 0.301 │ How do I change this?") not in printed
    assert _alike("│ duplicate │ 0.279 │") not in printed
