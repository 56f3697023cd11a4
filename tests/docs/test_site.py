"""The site that `make docs` builds: every page is in it, every link holds, nothing comes from another host."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import DOCS, ROOT

CONFIGURATION = ROOT / "mkdocs.yml"
PARTS = ["Sameask", "Tutorial", "How-to", "Reference", "Explanation"]  # https://diataxis.fr
# What a page loads by itself: scripts, styles, pictures, frames; and what styles load.
LOADED = (
    re.compile(r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=\"?([^\s\">]+)"),
    re.compile(
        r"<link\b(?=[^>]*\brel=\"?(?!canonical|next|prev|alternate))[^>]*\bhref=\"?([^\s\">]+)"
    ),
    re.compile(r"(?:url\(|@import )[\"']?([^\"')\s]+)"),
)


def _configuration() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    return document


def _in_nav(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for part in (
        entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else []
    ):
        yield from _in_nav(part)


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    wanted = sorted(page for page in pages if not page.startswith("decisions/"))
    assert sorted(_in_nav(_configuration()["nav"])) == wanted


def test_the_navigation_has_the_four_parts() -> None:
    assert [name for part in _configuration()["nav"] for name in part] == PARTS


def test_no_font_comes_from_another_host() -> None:
    assert _configuration()["theme"]["font"] is False


def test_what_is_loaded_from_another_host_would_be_seen() -> None:
    page = (
        '<link rel="stylesheet" href="https://a.example/x.css"><link rel=canonical href="https://b.example">'
        '<script async src="//c.example/x.js"></script><a href="https://d.example">d</a><img alt="" src="img/x.png">'
        "<style>@import 'https://e.example/x.css'; a{background:url(data:image/png;base64,AA)}</style>"
    )
    assert sorted(_foreign(page)) == [
        "//c.example/x.js",
        "https://a.example/x.css",
        "https://e.example/x.css",
    ]


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    files = [file for ending in ("*.html", "*.css") for file in tmp_path.rglob(ending)]
    assert len(files) > len(list(DOCS.rglob("*.md")))
    foreign = {file.name: _foreign(file.read_text("utf-8")) for file in files}
    assert {name: found for name, found in foreign.items() if found} == {}
    assert not any(
        'class="mermaid"' in file.read_text("utf-8") for file in files
    )  # it loads a script


def _foreign(text: str) -> list[str]:
    loaded = [target for pattern in LOADED for target in pattern.findall(text)]
    return [target for target in loaded if re.match(r"(?:https?:)?//", target)]
