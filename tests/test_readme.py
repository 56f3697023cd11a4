"""What the README shows is what happens. `make settings` renews the table of docs/settings.md by this module."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.rows import read_rows
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "settings.md"
MOST_LINES = 120
BEGIN, END = (
    "<!-- settings: made by `make settings` from app/settings.py -->\n",
    "<!-- end of settings -->",
)


def settings_table() -> str:
    """Every setting with its default, as Markdown."""
    rows = [
        f"| `SAMEASK_{name.upper()}` | {'' if field.default is None else f'`{field.default}`'} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | is |", "|---|---|---|", *rows]) + "\n"


def test_settings_table_is_current() -> None:
    assert SETTINGS.read_text("utf-8").split(BEGIN)[1].split(END)[0] == settings_table()


def test_curl_answers_as_printed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, release=ROOT / Settings().release, device="cpu")
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        rows = [
            row.values for row in read_rows(ROOT / "examples" / "questions.csv", ("id", "text"))
        ]
        body = {"questions": [{"id": id_, "text": text} for id_, text in rows]}
        assert client.post("/questions", json=body).json()["added"] == len(rows)
        answer = client.post("/duplicates", json=json.loads(_fenced("sh", "-d '(.*?)'"))).json()
    _assert_alike(answer, json.loads(_fenced("json", "(.*)")))


def test_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"\bmake (\w+)", README.read_text("utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_it_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    pages = [README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    linked = {page: _links(page) for page in pages}
    missing = [link for links in linked.values() for link in links if not link.exists()]
    assert missing == []
    assert [page for page in pages[1:] if page.resolve() not in linked[README]] == []


def _links(page: Path) -> set[Path]:
    """The files of the repository that a page links to."""
    targets = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_number_of_example_questions_is_current() -> None:
    (stated,) = re.findall(r"loads (\d+) example questions", README.read_text("utf-8"))
    assert int(stated) == sum(1 for _ in read_rows(ROOT / "examples" / "questions.csv", ("id",)))


def _fenced(language: str, pattern: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    found = (re.search(pattern, block, re.DOTALL) for block in blocks)
    return next(match.group(1) for match in found if match)


def _assert_alike(answer: Any, printed: Any) -> None:
    """Equal, but for rounding that differs between processors."""
    if isinstance(printed, dict):
        assert answer.keys() == printed.keys()
        for key in printed:
            _assert_alike(answer[key], printed[key])
    elif isinstance(printed, list):
        for one, other in zip(answer, printed, strict=True):
            _assert_alike(one, other)
    elif isinstance(printed, float):
        assert answer == pytest.approx(printed, abs=1e-4)
    else:
        assert answer == printed


def _renew() -> None:
    head, rest = SETTINGS.read_text("utf-8").split(BEGIN)
    SETTINGS.write_text(head + BEGIN + settings_table() + END + rest.split(END)[1], "utf-8")


if __name__ == "__main__":
    _renew()
