"""Hooks of MkDocs: a link to a file outside docs/ becomes the file's path, since no page of the site holds it."""

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)]*)\)")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """The page's text, its links out of docs/ as `path`."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent
    return LINK.sub(lambda match: _replaced(match, folder), markdown)


def _replaced(match: re.Match[str], folder: PurePosixPath) -> str:
    parts: list[str] = []
    for part in (folder / match[2]).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    if parts[0] == "docs":
        return match[0]
    return f"{match[1]} (`{'/'.join(parts)}`)"
