"""Sentences of prose, and how many words each has. `python -m tests.docs.sentences` lists the long ones."""

import ast
import re
import sys
from collections.abc import Iterator

from tests.docs.blocks import ROOT, pages, prose

MOST_WORDS = 25
SOURCES = ("app", "training", "sameask-client/src", "benchmarks", "examples", "tests")
TABLE = re.compile(r"^ *\|.*$", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
CODE = re.compile(r"``?[^`]+``?")
AT_LINE_START = re.compile(r"^(?:#+ |[-*] |\d+\. |> )")
BESIDE = re.compile(r"\([^()]*\)")  # what stands in brackets is beside the sentence
END = re.compile(r"(?<=[.!?:;])[\"')”*]*\s+(?=[\"'(“*]*[A-Z0-9`…–-]|$)|(?<=[:;])\s+")
LIST = re.compile(r"(?:[^,·]{1,40}[,·] ){4,}")  # a list of names


def sentences(text: str) -> Iterator[str]:
    """The sentences of Markdown without blocks and tables. A colon or a semicolon ends one as a full stop does."""
    text = CODE.sub("X", TABLE.sub("", text))
    text = LINK.sub(r"\1", COMMENT.sub("", text))
    for paragraph in re.split(r"\n\s*\n|\n(?= *(?:[-*] |\d+\. ))", text):
        line = " ".join(AT_LINE_START.sub("", part.strip()) for part in paragraph.splitlines())
        while BESIDE.search(line):
            line = BESIDE.sub("", line)
        yield from (found.strip() for found in END.split(line) if found and found.strip())


def long_sentences(text: str) -> Iterator[str]:
    """Those with more words than a reader keeps in mind, lists of names left out."""
    for sentence in sentences(text):
        if words(sentence) > MOST_WORDS and not LIST.search(sentence):
            yield sentence


def words(sentence: str) -> int:
    """How many words a sentence has."""
    return len(re.findall(r"[\w'’…/%.-]*\w[\w'’…/%.-]*", sentence))


def docstrings() -> Iterator[tuple[str, str]]:
    """The docstring of each module of our own, by its path."""
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            docstring = ast.get_docstring(ast.parse(file.read_text("utf-8")))
            if docstring:
                yield str(file.relative_to(ROOT)), _without_drawings(docstring)


def _without_drawings(docstring: str) -> str:
    """A docstring without indented or aligned lines, which are drawings and tables."""
    lines = docstring.splitlines()
    return "\n".join(line for line in lines if not re.search(r"^    |\w {3,}\w", line))


def long_ones() -> dict[str, list[str]]:
    """The long sentences of each page and module, where there are any."""
    texts = [
        (str(page.relative_to(ROOT)), prose(page)) for page in [*pages(), ROOT / "CONTRIBUTING.md"]
    ]
    found = {name: list(long_sentences(text)) for name, text in [*texts, *docstrings()]}
    return {name: long for name, long in found.items() if long}


if __name__ == "__main__":
    for place, found in long_ones().items():
        for one in found:
            sys.stdout.write(f"{place}: {words(one)}: {one}\n")
