"""What docs/client.md and the client's README show is what happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.engine.rows import read_rows
from app.main import create_app
from app.settings import Settings
from sameask_client import Client
from tests.serving import served

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "client.md"
README = ROOT / "README.md"
CLIENT_README = ROOT / "sameask-client" / "README.md"

PRINTED = """duplicate faq-1
1200 0 0
1200
different anna
422 {'questions.1': 'must not be blank'}
collection 'default' holds no question with id 'faq-9'
alive
['faq-1', 'faq-2']
['duplicate', 'new']
tiny live
"""


def blocks(page: Path) -> list[str]:
    """The Python of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Where an empty service answers."""
    with served(create_app(settings)) as url:
        yield url


def test_the_page_s_blocks_run_in_their_order(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"url": url}
    for block in blocks(PAGE):
        exec(block, names)
    assert capsys.readouterr().out == PRINTED


def test_the_readme_s_lines_work_against_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data_dir=tmp_path, release=ROOT / Settings().release, device="cpu")
    (block,) = blocks(CLIENT_README)
    rows = read_rows(ROOT / "examples" / "questions.csv", ("id", "text"))
    with served(create_app(settings)) as url:
        with Client(url, key="") as client:
            client.import_questions((row.values[0], row.values[1]) for row in rows)
        exec(block.replace("http://127.0.0.1:8000", url), {})
    printed = capsys.readouterr().out
    assert f"`{printed.strip()}` is what it prints" in CLIENT_README.read_text("utf-8")
    assert len(block.strip().splitlines()) == 4  # three, and a blank one
    assert blocks(README) == [block]
