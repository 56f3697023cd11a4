"""The fenced blocks of the documentation, and which of them can't be run here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
CLIENT_README = ROOT / "sameask-client" / "README.md"

PROGRAMS = {"sh", "python"}
LANGUAGES = PROGRAMS | {"", "text", "json", "yaml", "sql", "nginx", "caddyfile"}

FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block. `why`: why it is not run; None for one that is."""

    page: str  # its path in the repository
    line: int
    language: str
    text: str
    why: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The pages whose blocks are run."""
    return [README, CLIENT_README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    return list(blocks_of(str(page.relative_to(ROOT)), page.read_text("utf-8")))


def blocks_of(name: str, text: str) -> Iterator[Block]:
    """The blocks of a text."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("indent")) + 1
        yield Block(name, line, match["language"], match["text"], match["why"])


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in pages() for block in blocks(page)]


def is_run(block: Block) -> bool:
    """Whether it is a program that a test is to run."""
    return block.language in PROGRAMS and not block.why


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page.read_text("utf-8"))
