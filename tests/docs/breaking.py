"""A plugin of pytest: every test is run once for each block of a page, with that block broken. Each is to fail.

The page is named by the variable BROKEN_PAGE. So it is seen whether a test really runs the blocks that it is said to.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT, Block, blocks, is_run

PAGE = ROOT / os.environ["BROKEN_PAGE"]
ERROR = "a broken block was run"


@pytest.fixture(autouse=True, params=[one for one in blocks(PAGE) if is_run(one)], ids=str)
def broken_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page as it is read: one block does nothing but fail."""
    block: Block = request.param
    read_text = Path.read_text

    def read_broken(file: Path, *arguments: Any, **options: Any) -> str:
        text = read_text(file, *arguments, **options)
        if file.resolve() != PAGE:
            return text
        assert block.text in text
        return text.replace(block.text, f'raise AssertionError("{ERROR}")\n')

    monkeypatch.setattr(Path, "read_text", read_broken)
